import { Agent, buildConnector, type Dispatcher, ProxyAgent } from 'undici';
import { USER_AGENT } from '../../core/product.ts';
import type { DialGuard, DialLimit } from './dial.ts';
import { normalising } from './normalising.ts';
import { isSocks, throughSocks } from './socks.ts';

export interface AgentOptions {
  /** The maximum number of connections per origin. */
  readonly connections: number;
  readonly connectTimeoutMs: number;
  readonly guard: DialGuard;
}

/** The properties of a request's connection; requests that differ here never share a connection. */
export interface Route {
  readonly reach: DialLimit;
  /** Whether an invalid certificate is accepted. */
  readonly unverified: boolean;
  /** The URL of the proxy. */
  readonly proxy: string | undefined;
  /** Whether responses are normalised before they are parsed. */
  readonly isLenient: boolean;
}

/** The limit for response headers; undici's default of 16 KiB is too small for some registries' Content-Security-Policy. */
export const MAX_HEADER_BYTES = 256 * 1024;

/** Undici's agents, one per route, created on first use; connections with different limits must not share a pool. */
export class Agents {
  readonly #options: AgentOptions;
  readonly #agents = new Map<string, Dispatcher>();

  constructor(options: AgentOptions) {
    this.#options = options;
  }

  for(route: Route): Dispatcher {
    // The proxy resolves the names and connects.
    const reach = route.proxy === undefined ? route.reach : 'own';
    const key = `${reach} ${route.unverified} ${route.isLenient} ${route.proxy}`;
    const agent = this.#agents.get(key) ?? this.#make({ ...route, reach });
    this.#agents.set(key, agent);
    return agent;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.destroy()));
  }

  #make({ reach, unverified, proxy, isLenient }: Route): Dispatcher {
    const { connections, connectTimeoutMs, guard } = this.#options;
    // Nothing is verified, so OpenSSL need not load the certificate authorities, which takes 12 ms.
    const tls = unverified ? { rejectUnauthorized: false, ca: [] } : {};
    const options = {
      connections,
      maxHeaderSize: MAX_HEADER_BYTES,
      // With HTTP/2, all ranges of a blob would share one connection, its bandwidth and its packet losses.
      allowH2: false,
      pipelining: 1,
      // The exchange has its own timers, because undici's may be late by a second.
      headersTimeout: 0,
      bodyTimeout: 0,
    };
    if (proxy !== undefined && isSocks(proxy)) {
      const connector = buildConnector({ timeout: connectTimeoutMs, ...tls, allowH2: false });
      return new Agent({ ...options, connect: throughSocks(proxy, connector, connectTimeoutMs) });
    }
    if (proxy !== undefined)
      return new ProxyAgent({
        ...options,
        uri: proxy,
        headers: { 'user-agent': USER_AGENT },
        connectTimeout: connectTimeoutMs,
        requestTls: tls,
      });
    const connect = { timeout: connectTimeoutMs, lookup: guard.lookup(reach), ...tls };
    if (!isLenient) return new Agent({ ...options, connect });
    return new Agent({ ...options, connect: normalising(buildConnector({ ...connect, allowH2: false })) });
  }
}
