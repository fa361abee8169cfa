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
import { realSleep, type RetryInfo } from './http/retry-wait.ts';
import type { Proxy } from './http/proxy.ts';
import { sendWithCredentials } from './http/redirects.ts';
import { RegistryRepository } from './repository.ts';
import type { Sources } from './source.ts';
import { Targets } from './targets.ts';
import { Tokens } from './auth/tokens.ts';
import { Wire } from './http/wire.ts';

/** An endpoint of a registry: a host or an origin, or an object with further settings. */
export type EndpointChoice =
  | string
  | {
      readonly host: string;
      /** `false` if it serves only content by digest, and other endpoints resolve tags. */
      readonly resolve?: boolean;
    };

export interface SourcesOptions {
  readonly credentials?: Credentials;
  /** Hosts from which invalid certificates and plain HTTP are accepted. */
  readonly insecure?: readonly string[];
  /**
   * Registries with public addresses whose redirects, token services and foreign layers may be in private networks (split
   * DNS, interface endpoints).
   */
  readonly privateAddresses?: readonly string[];
  /** The proxy for requests to other machines. Default: none. */
  readonly proxy?: Proxy | undefined;
  /** Per registry, a token service on another host that gets its credentials. */
  readonly tokenServices?: Readonly<Record<string, string>>;
  /** Per registry, its endpoints in order (`docker.io: [mirror.example, docker.io]`). At least one of them resolves tags. */
  readonly endpoints?: Readonly<Record<string, readonly EndpointChoice[]>>;
  /** The maximum number of concurrent requests and open bodies per host. Default: 8. */
  readonly connections?: number | ((host: string) => number);
  readonly retry?: RetryPolicy;
  /**
   * For a longer wait, in milliseconds, the failure is thrown with its full Retry-After. For Lambda functions, where a
   * queue waits at no cost. Default: no limit.
   */
  readonly longestWaitMs?: number;
  /** Hosts from which foreign layers may be fetched, such as `*.example.com`. Default: Microsoft's hosts. */
  readonly foreignHosts?: readonly string[] | undefined;
  /** A registry that accepts no requests for this many milliseconds has failed. Default: no limit. */
  readonly maxWaitMs?: number | undefined;
  /** Replaces the time limits of an exchange; for tests. */
  readonly limits?: Partial<TimeLimits>;
  /** Called before every wait. */
  readonly onRetry?: (info: RetryInfo) => void;
  readonly random?: () => number;
  readonly now?: () => number;
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

const CONNECTIONS = 8;

/** Per origin. The permits of the client limit the requests per host. */
const MAX_CONNECTIONS = 64;

/** Creates the sources for registries over HTTP, without connecting to them. */
// eslint-disable-next-line max-lines-per-function -- wires the parts that all clients share
export function createSources(options: SourcesOptions = {}): Sources {
  const { credentials = NO_CREDENTIALS, connections = CONNECTIONS, now = Date.now } = options;
  const connectionsTo = typeof connections === 'number' ? (): number => connections : connections;
  const privateAddresses = new Set(options.privateAddresses);
  const retry = {
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
    // Each host has its own connections, so that a slow host never delays another.
    const plain = new Wire({
      connections: MAX_CONNECTIONS,
      limits: options.limits,
      isInsecure,
      guard: new DialGuard({
        endpoints: origins,
        privateAddresses: privateAddresses.has(host),
      }),
      proxy: options.proxy,
    });
    wires.push(plain);
    const wire = new PacedWire(plain, { retry, now }, paces);
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
      targets,
      isForeignAllowed: (url) => isForeignAllowed(url, options.foreignHosts ?? FOREIGN_HOSTS, origins),
      retry,
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
