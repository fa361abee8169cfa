import { own } from '../core/own.ts';
import { PATIENT, type RetryPolicy } from '../core/retry.ts';
import { RegistryClient } from './client.ts';
import { NO_CREDENTIALS, type Credentials } from './auth/credentials.ts';
import { DialGuard } from './http/dial.ts';
import { Endpoint } from './endpoint.ts';
import type { TimeLimits } from './http/exchange.ts';
import { FOREIGN_HOSTS, isForeignAllowed } from './http/foreign-hosts.ts';
import { loopbackHosts, originsOf } from './http/hosts.ts';
import type { Pace } from './http/pace.ts';
import { PacedWire } from './http/paced-wire.ts';
import { realSleep, type RetryInfo } from './http/patience.ts';
import type { Proxy } from './http/proxy.ts';
import { sendWithCredentials } from './http/redirects.ts';
import { RegistryRepository } from './repository.ts';
import type { Sources } from './source.ts';
import { Targets } from './targets.ts';
import { Tokens } from './auth/tokens.ts';
import { Wire } from './http/wire.ts';

/** Where a registry can be reached: a host or an origin; as an object with what it is asked for. */
export type EndpointChoice =
  | string
  | {
      readonly host: string;
      /** `false`: it serves only content that a digest names, and other endpoints decide what a tag means. */
      readonly resolve?: boolean;
    };

export interface SourcesOptions {
  readonly credentials?: Credentials;
  /** Hosts whose certificates need not be valid, and that may be without TLS altogether. */
  readonly insecure?: readonly string[];
  /**
   * Registries whose redirects, token services and foreign layers may lead to private networks, though they themselves have
   * public addresses: split DNS, interface endpoints.
   */
  readonly privateAddresses?: readonly string[];
  /** What requests to other machines go through; nothing by default. */
  readonly proxy?: Proxy | undefined;
  /** Per host, the token service that gets its credentials although it is on another host. */
  readonly tokenServices?: Readonly<Record<string, string>>;
  /**
   * Per host, the whole list of where it is asked, in this order (`docker.io: [mirror.example, docker.io]`). At least one of
   * them resolves tags.
   */
  readonly endpoints?: Readonly<Record<string, readonly EndpointChoice[]>>;
  /** Connections per host, and so requests and open bodies at once; 8 unless told. */
  readonly connections?: number | ((host: string) => number);
  readonly retry?: RetryPolicy;
  /**
   * Waits that are longer, in milliseconds, are not sat out: what a registry asked for is then thrown, with its Retry-After
   * in full. For whoever pays for every second, and has a queue that waits for nothing; none unless told.
   */
  readonly longestWaitMs?: number;
  /** Hosts from which foreign layers may be fetched, such as `mcr.microsoft.com` or `*.example.com`; Microsoft's by default. */
  readonly foreignHosts?: readonly string[] | undefined;
  /** A registry that lets nothing through for longer, in milliseconds, has failed; no limit unless told. */
  readonly maxWaitMs?: number | undefined;
  /** How long a registry may be silent before the connection is given up, in milliseconds; 30,000 unless told. */
  readonly stallMs?: number;
  /** Replaces the other limits on the time of an exchange; for tests. */
  readonly limits?: Partial<TimeLimits>;
  /** Told before every wait. */
  readonly onRetry?: (info: RetryInfo) => void;
  readonly random?: () => number;
  readonly now?: () => number;
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

const CONNECTIONS = 8;

/** To one origin, whatever is asked for: what bounds a host is its client's permits. */
const MAX_CONNECTIONS = 64;
const STALL_MS = 30_000;

/** Registries over HTTP; nothing is connected to before it is asked. */
export function createSources(options: SourcesOptions = {}): Sources {
  const { credentials = NO_CREDENTIALS, connections = CONNECTIONS, now = Date.now } = options;
  const connectionsTo = typeof connections === 'number' ? (): number => connections : connections;
  const privateAddresses = new Set(options.privateAddresses);
  const patience = {
    policy: options.retry ?? PATIENT,
    random: options.random ?? Math.random,
    sleep: options.sleep ?? realSleep,
    onRetry: options.onRetry,
    longestMs: options.longestWaitMs,
    maxMs: options.maxWaitMs,
  };
  const paces = new Map<string, Pace>();
  const wires: Wire[] = [];
  const clients = new Map<string, RegistryClient>();
  const client = (host: string): RegistryClient => {
    const known = clients.get(host);
    if (known !== undefined) return known;
    const choices = (own(options.endpoints ?? {}, host) ?? [host]).map(asObject);
    const names = choices.map((choice) => choice.host);
    const insecure = new Set([...(options.insecure ?? []), ...loopbackHosts(names)]);
    const isInsecure = (each: string): boolean => insecure.has(each);
    const origins = names.flatMap((name) => originsOf(name, isInsecure));
    // Each host has connections of its own, so that one that is slow never waits for, or holds up, another.
    const plain = new Wire({
      connections: MAX_CONNECTIONS,
      stallMs: options.stallMs ?? STALL_MS,
      limits: options.limits,
      isInsecure,
      guard: new DialGuard({
        endpoints: origins,
        privateAddresses: privateAddresses.has(host),
      }),
      proxy: options.proxy,
    });
    wires.push(plain);
    const wire = new PacedWire(plain, { patience, now }, paces);
    const tokens = new Tokens({
      send: (request, signal) => sendWithCredentials(request, isInsecure, (each) => wire.send(each, signal)),
      now,
      rules: { isInsecure, tokenService: (registry) => own(options.tokenServices ?? {}, registry) },
    });
    const targets = new Targets({ wire, credentials, tokens, isInsecure });
    const common = { wire, credentials, tokens, targets, isInsecure };
    const endpoints = choices.map(({ host: name, resolve }) => new Endpoint({ ...common, name, resolves: resolve }));
    const made = new RegistryClient({
      host,
      endpoints,
      connections: connectionsTo(host),
      wire,
      targets,
      mayAskForeign: (url) => isForeignAllowed(url, options.foreignHosts ?? FOREIGN_HOSTS, origins),
      patience,
      now,
    });
    clients.set(host, made);
    return made;
  };
  return {
    repository: (name) => new RegistryRepository(client(name.host), name),
    connections: connectionsTo,
    close: async () => {
      await Promise.all(wires.map((wire) => wire.close()));
    },
  };
}

function asObject(choice: EndpointChoice): Exclude<EndpointChoice, string> {
  return typeof choice === 'string' ? { host: choice } : choice;
}
