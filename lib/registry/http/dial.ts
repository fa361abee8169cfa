import dns, { type LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { Failure } from '../../core/failure.ts';
import { Lru } from '../../core/lru.ts';
import { isLocalhost, isLoopback, isWithin, nearest, widest, zoneOf, zoneOfText, type Zone } from './addresses.ts';

/** What one connection may reach: an endpoint of the registry itself, or addresses that are no nearer than a zone. */
export type Reach = 'own' | Exclude<Zone, 'metadata'>;

export interface DialOptions {
  /** The origins of the registry's own endpoints, which the user has named. */
  readonly endpoints: readonly URL[];
  /** Whether names and addresses that the registry gives may lie in private networks: split DNS, interface endpoints. */
  readonly privateAddresses: boolean;
}

/** Hosts whose zones are remembered; a registry can name any number of them. */
const HOSTS = 1000;

/**
 * The one place that decides whether an address may be dialled. The user's own endpoints may. All other addresses are
 * foreign text (redirects, token services, the URLs of foreign layers), and a stranger must not use this process to reach
 * what only this process can reach: it may lead no nearer than the host that names it. A metadata service is never dialled.
 *
 * A hostname is judged twice: its text before dialling, since literal addresses are not resolved, and every address that
 * it resolves to at the moment of dialling. Behind a proxy there is only its text: the proxy resolves it.
 */
export class DialGuard {
  readonly #options: DialOptions;
  readonly #own: ReadonlySet<string>;
  /** The widest zone that each host was ever found in, so that no later answer of its DNS entitles it to more. */
  readonly #found = new Lru<string, Zone>(HOSTS);
  readonly #lookups = new Map<Reach, LookupFunction>();

  constructor(options: DialOptions) {
    this.#options = options;
    this.#own = new Set(options.endpoints.map(({ origin }) => origin));
  }

  /**
   * @param namedBy who named the URL; the registry's own documents where nothing is given
   * @throws Failure `denied` where the URL's text shows that it is off limits
   */
  reach({ url, namedBy }: { readonly url: URL; readonly namedBy?: URL | undefined }, operation: string): Reach {
    if (this.#own.has(url.origin)) return 'own';
    const namers = namedBy === undefined ? this.#options.endpoints : [namedBy];
    const limit = widest(namers.map((namer) => this.#zoneOf(namer)));
    const reach = limit === 'metadata' ? 'machine' : limit;
    const stated = zoneOfText(url.hostname);
    if (stated === undefined || namers.every((namer) => mayName(namer, url, stated, limit))) return reach;
    throw offLimits(operation, url, namers[0]);
  }

  /** For `net.connect`; one function per reach, since connections of different reaches must not share a pool. */
  lookup(reach: Reach): LookupFunction {
    const known = this.#lookups.get(reach);
    if (known !== undefined) return known;
    const made: LookupFunction = (hostname, options, callback) => {
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
    this.#lookups.set(reach, made);
    return made;
  }

  #zoneOf({ hostname }: URL): Zone {
    const zone = zoneOfText(hostname) ?? this.#found.get(hostname) ?? 'public';
    return this.#options.privateAddresses ? nearest([zone, 'network']) : zone;
  }

  #remember(hostname: string, zone: Zone): void {
    this.#found.set(hostname, widest([zone, this.#found.get(hostname) ?? zone]));
  }
}

/**
 * A literal address of this machine means another machine to every other client, so only a registry that is itself called
 * by such an address may name one.
 */
function mayName(namer: URL, url: URL, stated: Zone, limit: Zone): boolean {
  if (stated === 'metadata') return false;
  if (url.hostname === namer.hostname) return true;
  return stated === 'machine' ? isLoopback(namer.hostname) : isWithin(stated, limit);
}

/** A name that resolves to an address that is off limits. */
export class RefusedAddress extends Error {
  constructor(hostname: string) {
    super(`${hostname} resolves to an address within this machine or network`);
  }
}

/** An address that a stranger names and that is not dialled. */
export function offLimits(operation: string, url: URL, namer: URL | undefined): Failure {
  const detail = `${namer?.host ?? 'the registry'} names ${url.host}, an address within this machine or network; it is not asked (privateAddresses: true in the registry’s settings allows private networks)`;
  return new Failure({ operation, side: 'source', code: 'denied', detail });
}

type Resolved = (error: NodeJS.ErrnoException | null, addresses?: LookupAddress[]) => void;

/** Resolvers need not know the names below `localhost` (RFC 6761, section 6.3). */
function resolve(hostname: string, options: dns.LookupOptions, callback: Resolved): void {
  if (isLocalhost(hostname) && !/^localhost\.?$/i.test(hostname))
    callback(null, [
      { address: '127.0.0.1', family: 4 },
      { address: '::1', family: 6 },
    ]);
  else dns.lookup(hostname, { ...options, all: true }, callback);
}
