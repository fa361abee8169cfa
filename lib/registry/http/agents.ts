import { Agent, buildConnector, type Dispatcher, ProxyAgent } from 'undici';
import { USER_AGENT } from '../../core/product.ts';
import type { DialGuard, Reach } from './dial.ts';
import { normalising } from './normalising.ts';

export interface AgentOptions {
  /** The most connections to any one origin. */
  readonly connections: number;
  readonly connectTimeoutMs: number;
  readonly guard: DialGuard;
}

/** How a request is connected; requests that differ here never share a connection. */
export interface Way {
  readonly reach: Reach;
  /** Whether the certificate need not be valid. */
  readonly unverified: boolean;
  /** The URL of the proxy. */
  readonly proxy: string | undefined;
  /** Whether heads of responses are put right before they are parsed. */
  readonly isLenient: boolean;
}

/** Bytes of headers that an answer may have; undici's 16 KiB are fewer than some registries' Content-Security-Policy. */
export const MAX_HEADER_BYTES = 256 * 1024;

/** Undici's agents, made when they are first needed. */
export class Agents {
  readonly #options: AgentOptions;
  readonly #agents = new Map<string, Dispatcher>();

  constructor(options: AgentOptions) {
    this.#options = options;
  }

  for(way: Way): Dispatcher {
    // Only the proxy connects, and it resolves names itself.
    const reach = way.proxy === undefined ? way.reach : 'own';
    const key = `${reach} ${way.unverified} ${way.isLenient} ${way.proxy}`;
    const agent = this.#agents.get(key) ?? this.#make({ ...way, reach });
    this.#agents.set(key, agent);
    return agent;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.destroy()));
  }

  #make({ reach, unverified, proxy, isLenient }: Way): Dispatcher {
    const { connections, connectTimeoutMs, guard } = this.#options;
    const tls = unverified ? { rejectUnauthorized: false } : {};
    const options = {
      connections,
      maxHeaderSize: MAX_HEADER_BYTES,
      // HTTP/2 would put all ranges of a blob on one connection, whose bandwidth and losses they would share.
      allowH2: false,
      pipelining: 1,
      // Silence is timed by the exchange itself: undici's own timers may be late by a second.
      headersTimeout: 0,
      bodyTimeout: 0,
    };
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
