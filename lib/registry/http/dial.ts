import dns, { type LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { Failure } from '../../core/failure.ts';
import { Lru } from '../../core/lru.ts';
import { isLocalhost, isLoopback, isWithin, nearest, widest, zoneOf, zoneOfText, type Zone } from './addresses.ts';

/** The addresses that a connection may reach: an endpoint of the registry, or addresses up to a zone. */
export type DialLimit = 'own' | Exclude<Zone, 'metadata'>;

export interface DialOptions {
  /** The origins of the registry's endpoints, which the user has configured. */
  readonly endpoints: readonly URL[];
  /** Whether names and addresses from the registry may be in private networks (split DNS, interface endpoints). */
  readonly privateAddresses: boolean;
}

/** The number of hosts whose zones are remembered; a registry can name any number of hosts. */
const HOSTS = 1000;

/**
 * Decides whether an address may be dialled. Configured endpoints are always allowed, and metadata services never. All
 * other addresses come from remote text (redirects, token services, URLs of foreign layers). Such an address may not be in
 * a nearer zone than the host that names it, so that a registry cannot reach internal services through this process.
 *
 * A hostname is checked twice: its text before dialling, because literal addresses are not resolved, and each resolved
 * address when it is dialled. With a proxy only the text is checked, because the proxy resolves the name.
 */
export class DialGuard {
  readonly #options: DialOptions;
  readonly #own: ReadonlySet<string>;
  /** The widest zone of each host so far; a later DNS answer in a nearer zone gives the host no further rights. */
  readonly #found = new Lru<string, Zone>(HOSTS);

  constructor(options: DialOptions) {
    this.#options = options;
    this.#own = new Set(options.endpoints.map(({ origin }) => origin));
  }

  /**
   * @param namedBy the URL that named this one; a document of the registry if undefined
   * @throws Failure `denied` if the URL's text shows that the address is not allowed
   */
  reach({ url, namedBy }: { readonly url: URL; readonly namedBy?: URL | undefined }, operation: string): DialLimit {
    if (this.#own.has(url.origin)) return 'own';
    const namers = namedBy === undefined ? this.#options.endpoints : [namedBy];
    const limit = widest(namers.map((namer) => this.#zoneOf(namer)));
    const reach = limit === 'metadata' ? 'machine' : limit;
    const stated = zoneOfText(url.hostname);
    if (stated === undefined || namers.every((namer) => mayName(namer, url, stated, limit))) return reach;
    throw offLimits(operation, url, namers[0]);
  }

  /** For `net.connect`. */
  lookup(reach: DialLimit): LookupFunction {
    return (hostname, options, callback) => {
      resolve(hostname, options, (error, addresses = []) => {
        const zones = addresses.map(({ address }) => zoneOf(address));
        const isRefused = reach !== 'own' && !isWithin(nearest(zones), reach);
        if (error !== null || isRefused) {
          callback(error ?? new RefusedAddress(hostname), '');
          return;
        }
        this.#remember(hostname, widest(zones));
        const [first] = addresses;
        if (options.all === true) callback(null, addresses);
        else callback(null, first?.address ?? '', first?.family);
      });
    };
  }

  #zoneOf({ hostname }: URL): Zone {
    const zone = zoneOfText(hostname) ?? this.#found.get(hostname) ?? 'public';
    return this.#options.privateAddresses ? nearest([zone, 'network']) : zone;
  }

  #remember(hostname: string, zone: Zone): void {
    this.#found.set(hostname, widest([zone, this.#found.get(hostname) ?? zone]));
  }
}

/** A loopback address means another machine to each client, so only a registry with a loopback address may name one. */
function mayName(namer: URL, url: URL, stated: Zone, limit: Zone): boolean {
  if (stated === 'metadata') return false;
  if (url.hostname === namer.hostname) return true;
  return stated === 'machine' ? isLoopback(namer.hostname) : isWithin(stated, limit);
}

/** A name that resolves to an address that may not be dialled. */
export class RefusedAddress extends Error {
  constructor(hostname: string) {
    super(`${hostname} resolves to an address of this machine or a private network`);
  }
}

/** The failure for an address that may not be dialled. */
export function offLimits(operation: string, url: URL, namer: URL | undefined): Failure {
  const detail = `${namer?.host ?? 'the registry'} refers to ${url.host}, an address of this machine or a private network; to allow private networks, set privateAddresses: true for the registry`;
  return new Failure({ operation, side: 'source', code: 'denied', detail });
}

type Resolved = (error: NodeJS.ErrnoException | null, addresses?: LookupAddress[]) => void;

/** Resolvers are not required to know names below `localhost` (RFC 6761, section 6.3). */
function resolve(hostname: string, options: dns.LookupOptions, callback: Resolved): void {
  if (isLocalhost(hostname) && !/^localhost\.?$/i.test(hostname))
    callback(null, [
      { address: '127.0.0.1', family: 4 },
      { address: '::1', family: 6 },
    ]);
  else dns.lookup(hostname, { ...options, all: true }, callback);
}
