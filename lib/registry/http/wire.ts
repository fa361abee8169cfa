import { Failure } from '../../core/failure.ts';
import { USER_AGENT } from '../../core/product.ts';
import { Lru } from '../../core/lru.ts';
import { Agents, type Route } from './agents.ts';
import type { DialGuard } from './dial.ts';
import { Exchange, type TimeLimits } from './exchange.ts';
import { isLoopback } from './addresses.ts';
import type { HttpRequest, Reply } from './message.ts';
import { proxyFor, proxyHost, type Proxy } from './proxy.ts';
import { isUnreadable, showsTls } from './transport.ts';

export interface WireOptions {
  /** The maximum number of connections per origin. */
  readonly connections: number;
  /** Replaces the time limits; for tests. */
  readonly limits?: Partial<TimeLimits> | undefined;
  /** Whether an invalid certificate and plain HTTP are accepted from this host. */
  readonly isInsecure: (host: string) => boolean;
  readonly guard: DialGuard;
  /** The proxy for requests to other machines. */
  readonly proxy?: Proxy | undefined;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** The number of remembered origins; a registry can name any number of them. */
const ORIGINS = 1000;

const TIME_LIMITS: TimeLimits = { stallMs: 30_000, shortBodyMs: 120_000, rate: { bytes: 60_000, overMs: 60_000 } };

/**
 * The headers of every request. Blobs are hashed as they are stored, so no coding is accepted; without `identity`, a server
 * may choose any coding (RFC 9110, section 12.5.3).
 */
const HEADERS = { 'user-agent': USER_AGENT, 'accept-encoding': 'identity' };

export class Wire {
  readonly #options: WireOptions;
  readonly #agents: Agents;
  readonly #limits: TimeLimits;
  /** The origins whose responses undici's parser refuses. */
  readonly #lenient = new Lru<string, true>(ORIGINS);
  /** The insecure hosts that have responded over TLS. */
  readonly #tls = new Set<string>();

  constructor(options: WireOptions) {
    this.#options = options;
    const { connections, guard } = options;
    this.#limits = { ...TIME_LIMITS, ...options.limits };
    const connectTimeoutMs = Math.min(CONNECT_TIMEOUT_MS, this.#limits.stallMs);
    this.#agents = new Agents({ connections, guard, connectTimeoutMs });
  }

  /**
   * Sends a request and waits for the headers. Every status is a reply, and redirects are not followed.
   *
   * @throws Failure `denied` for an address that may not be dialled
   */
  async send(request: HttpRequest, signal?: AbortSignal): Promise<Reply> {
    const { url, operation } = request;
    const reach = this.#options.guard.reach(request, operation);
    this.#refusePlain(request);
    const proxy = this.proxyTo(url);
    const unverified = this.#options.isInsecure(url.host);
    const isLenient = this.#lenient.get(url.origin) === true;
    try {
      return await this.#exchange(request, { reach, proxy, unverified, isLenient }, signal);
    } catch (thrown) {
      if (!isUnreadable(thrown) || isLenient || proxy !== undefined) throw thrown;
      this.#lenient.set(url.origin, true);
      return this.#exchange(request, { reach, proxy, unverified, isLenient: true }, signal);
    }
  }

  async #exchange(request: HttpRequest, route: Route, signal: AbortSignal | undefined): Promise<Reply> {
    const { url } = request;
    const { proxy, isLenient, unverified } = route;
    const isTls = url.protocol === 'https:' && unverified;
    const exchange = new Exchange(
      { ...request, headers: { ...HEADERS, ...request.headers } },
      {
        limits: this.#limits,
        proxy: proxy === undefined ? undefined : proxyHost(proxy),
        isLast: isLenient,
        signal,
        onInvalidFraming: () => {
          if (proxy === undefined) this.#lenient.set(url.origin, true);
        },
        onConnected: () => isTls && this.#tls.add(url.host),
      },
    );
    try {
      return await exchange.start(this.#agents.for(route));
    } catch (thrown) {
      if (isTls && thrown instanceof Failure && showsTls(thrown)) this.#tls.add(url.host);
      throw thrown;
    }
  }

  /** The proxy for a URL. Loopback addresses are always reached directly. */
  proxyTo(url: URL): string | undefined {
    const { proxy } = this.#options;
    return proxy === undefined || isLoopback(url.hostname) ? undefined : proxyFor(url, proxy);
  }

  /** Whether an insecure host has ever responded over TLS, even with a refused certificate. */
  speaksTls({ host }: URL): boolean {
    return this.#tls.has(host);
  }

  async close(): Promise<void> {
    await this.#agents.close();
  }

  /** Once an insecure host has responded over TLS, no redirect or realm can downgrade it to plain HTTP. */
  #refusePlain({ url, operation }: HttpRequest): void {
    if (url.protocol !== 'http:' || !this.speaksTls(url) || !this.#options.isInsecure(url.host)) return;
    const detail = `${url.host} speaks TLS, so plain HTTP is refused`;
    throw new Failure({ operation, side: 'source', code: 'denied', detail });
  }
}
