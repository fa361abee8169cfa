import { Agent, type Dispatcher, EnvHttpProxyAgent } from 'undici';
import type { IncomingHttpHeaders } from 'undici/types/header.js';
import { Failure } from '../base/failure.ts';
import { stopped, transportFailure } from './errors.ts';
import { isLoopback } from './hosts.ts';
import type { Proxy } from './proxy.ts';

/** One HTTP exchange as it goes over the wire; it knows nothing of registries. */
export interface HttpRequest {
  /** What the exchange is for; names it in every error. */
  readonly operation: string;
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Where the reply came from, after redirects. */
  readonly url: URL;
  readonly body: ReplyBody;
}

/** A response body. Whoever has one either reads it to its end or cancels it: until then it holds a connection. */
export interface ReplyBody {
  /** The next piece, or nothing at the end; throws a `Failure` where the body breaks off. */
  read(): Promise<Buffer | undefined>;
  /** Gives the connection up, where the body has not ended. Harmless afterwards. */
  cancel(): void;
}

export interface WireOptions {
  /** The most connections to any one origin. */
  readonly connections: number;
  /** How long the other side may be silent (before the headers, and between two pieces of the body), in milliseconds. */
  readonly stallMs: number;
  /** Whether this host's certificate need not be valid. */
  readonly unverified: (host: string) => boolean;
  /** What requests to other machines go through. */
  readonly proxy?: Proxy | undefined;
}

/**
 * What one exchange buffers before it stops reading from its socket. Measured over loopback: below a few socket reads
 * (64 KiB each) pausing and resuming costs a quarter of the throughput; above, nothing is gained.
 */
const BUFFER_BYTES = 256 * 1024;

const CONNECT_TIMEOUT_MS = 10_000;

export class Wire {
  readonly #options: WireOptions;
  /** By whether certificates are verified, and whether a proxy is used; made when first needed. */
  readonly #agents = new Map<string, Dispatcher>();

  constructor(options: WireOptions) {
    this.#options = options;
  }

  /** Sends a request and waits for the headers. Any status is a reply; redirects are not followed. */
  send(request: HttpRequest, signal?: AbortSignal): Promise<Reply> {
    const exchange = new Exchange(request, this.#options.stallMs, signal);
    return exchange.start(this.#agentFor(request.url));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.destroy()));
  }

  #agentFor(url: URL): Dispatcher {
    const unverified = this.#options.unverified(url.host);
    // What is on this machine is never reached by way of another.
    const proxy = isLoopback(url.hostname) ? undefined : this.#options.proxy;
    const key = `${String(unverified)} ${String(proxy !== undefined)}`;
    let agent = this.#agents.get(key);
    if (agent === undefined) {
      agent = this.#makeAgent(unverified, proxy);
      this.#agents.set(key, agent);
    }
    return agent;
  }

  #makeAgent(unverified: boolean, proxy: Proxy | undefined): Dispatcher {
    const { connections, stallMs } = this.#options;
    const tls = unverified ? { rejectUnauthorized: false } : {};
    const options = {
      connections,
      // HTTP/2 would put all ranges of a blob on one connection, whose bandwidth and losses they would share.
      allowH2: false,
      pipelining: 1,
      // Silence is timed by the exchange itself: undici's own timers may be late by a second.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { timeout: Math.min(CONNECT_TIMEOUT_MS, stallMs), ...tls },
    };
    if (proxy === undefined) return new Agent(options);
    // Empty and not left out: undici would look into the process's environment itself.
    const { http = '', https = '', except = '' } = proxy;
    return new EnvHttpProxyAgent({ ...options, requestTls: tls, httpProxy: http, httpsProxy: https, noProxy: except });
  }
}

/**
 * Undici's low-level handler, read by pulling. Compared with its `request` this keeps what had arrived when a connection
 * breaks (a resumed download must make progress however short its connections live), and reads a fifth faster.
 */
class Exchange implements Dispatcher.DispatchHandler, ReplyBody {
  readonly #request: HttpRequest;
  readonly #stallMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #reply = Promise.withResolvers<Reply>();
  #controller: Dispatcher.DispatchController | undefined;
  #answered = false;
  #chunks: Buffer[] = [];
  #buffered = 0;
  #end: 'open' | 'complete' | { readonly failure: Error } = 'open';
  #wake: (() => void) | undefined;
  #silence: NodeJS.Timeout | undefined;

  constructor(request: HttpRequest, stallMs: number, signal: AbortSignal | undefined) {
    this.#request = request;
    this.#stallMs = stallMs;
    this.#signal = signal;
  }

  start(agent: Dispatcher): Promise<Reply> {
    const { method, url, headers, body } = this.#request;
    if (this.#signal?.aborted === true) {
      this.#onAbort();
      return this.#reply.promise;
    }
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
    try {
      const path = `${url.pathname}${url.search}`;
      // Unless told, undici closes every connection after a HEAD, and a thousand tags would cost a thousand handshakes.
      const options = { origin: url.origin, path, method, headers, reset: false };
      agent.dispatch(body === undefined ? options : { ...options, body }, this);
    } catch (thrown) {
      this.#fail(transportFailure(thrown, this.#request));
    }
    return this.#reply.promise;
  }

  async read(): Promise<Buffer | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#buffered -= chunk.length;
        if (this.#controller?.paused === true && this.#buffered < BUFFER_BYTES) {
          // A timer that has been cleared must not be set going again.
          if (this.#end === 'open') this.#silence?.refresh();
          this.#controller.resume();
        }
        return chunk;
      }
      if (this.#end === 'complete') return undefined;
      if (this.#end !== 'open') throw this.#end.failure;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  cancel(): void {
    this.#drop(stopped(this.#request.operation));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // Stopped while it waited for its connection.
    if (this.#end !== 'open') controller.abort(new Error('stopped'));
    else this.#silence = setTimeout(this.#onSilence, this.#stallMs);
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200 || this.#end !== 'open') return;
    this.#silence?.refresh();
    this.#answered = true;
    this.#reply.resolve({ status, headers, url: this.#request.url, body: this });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#end !== 'open') return;
    this.#silence?.refresh();
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    if (this.#buffered >= BUFFER_BYTES) controller.pause();
    this.#wake?.();
  }

  onResponseEnd(): void {
    this.#finish('complete');
  }

  onResponseError(_: Dispatcher.DispatchController | null, error: Error): void {
    this.#fail(transportFailure(error, this.#request));
  }

  readonly #onAbort = (): void => {
    this.#drop(stopped(this.#request.operation, this.#signal));
  };

  /** Nothing came for too long, unless it is we who do not read. */
  readonly #onSilence = (): void => {
    if (this.#controller?.paused === true) return;
    const { operation, url } = this.#request;
    const detail = `${url.host} was silent for ${this.#stallMs / 1000} s`;
    const failure = new Failure({ operation, side: 'source', code: 'stalled', detail });
    this.#fail(failure);
    this.#controller?.abort(failure);
  };

  /** Ends the exchange from this side, with all that had arrived. */
  #drop(failure: Error): void {
    this.#chunks = [];
    this.#buffered = 0;
    if (this.#end !== 'open') return;
    this.#fail(failure);
    this.#controller?.abort(failure);
  }

  #fail(failure: Error): void {
    if (this.#end !== 'open') return;
    this.#finish({ failure });
    if (!this.#answered) this.#reply.reject(failure);
  }

  #finish(end: 'complete' | { readonly failure: Error }): void {
    if (this.#end !== 'open') return;
    this.#end = end;
    clearTimeout(this.#silence);
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#wake?.();
  }
}

/**
 * A body that must be short, whole. Nothing where it is longer than `maxBytes`: it is refused, not truncated.
 * Its connection is free again afterwards, whatever happened.
 */
export async function readWhole(body: ReplyBody, maxBytes: number): Promise<Uint8Array | undefined> {
  const { bytes, whole } = await readBounded(body, maxBytes);
  return whole ? bytes : undefined;
}

/** As much of a body as `maxBytes` allows, for telling a person about it; a body that breaks off is told as far as it came. */
export async function readExcerpt(body: ReplyBody, maxBytes: number): Promise<string> {
  const { bytes } = await readBounded(body, maxBytes, true);
  return bytes.toString('utf8');
}

async function readBounded(
  body: ReplyBody,
  maxBytes: number,
  lenient = false,
): Promise<{ bytes: Buffer; whole: boolean }> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for (let chunk = await body.read(); chunk !== undefined; chunk = await body.read()) {
      const fits = Math.min(chunk.length, maxBytes - length);
      chunks.push(chunk.subarray(0, fits));
      length += fits;
      if (fits < chunk.length) return { bytes: Buffer.concat(chunks, length), whole: false };
    }
  } catch (thrown) {
    if (!lenient) throw thrown;
  } finally {
    body.cancel();
  }
  return { bytes: Buffer.concat(chunks, length), whole: true };
}
