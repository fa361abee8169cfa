/**
 * Conditional reads with a link that is signed once for many requests. For a small object on a near server, the SDK's own request
 * takes three times as long: it signs each one, and creates and parses more than the connection carries.
 */
import type { Readable } from 'node:stream';
import { Lru } from '../../core/lru.ts';
import type { Calls } from './calls.ts';
import { linkTo } from './link.ts';

/** A link is valid for at least a minute from its signature. */
const KEPT_MS = 45_000;
/** How long no link is tried after S3 has refused one, as a bucket policy may. */
const PAUSE_MS = 5 * 60_000;
const MAX_LINKS = 1_000;

interface Link {
  readonly url: URL;
  readonly until: number;
}

/** The part of the SDK's handler that sends a request over a kept connection. */
interface Handler {
  handle(
    request: object,
    options: { readonly abortSignal?: AbortSignal },
  ): Promise<{ readonly response: { readonly statusCode: number; readonly body: Readable } }>;
}

export class LinkedReads {
  readonly #calls: Calls;
  readonly #links = new Lru<string, Link>(MAX_LINKS);
  #pausedUntil = 0;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Whether the object with the full key `key` still is the version `etag`. False also where S3 does not say so: the caller's
   * ordinary request then retries, or reports the reason.
   */
  async isUnchanged(key: string, etag: string, signal: AbortSignal | undefined): Promise<boolean> {
    if (Date.now() < this.#pausedUntil) return false;
    try {
      const status = await this.#ask(await this.#link(key), etag, signal);
      if (status === 401 || status === 403) this.#pausedUntil = Date.now() + PAUSE_MS;
      return status === 304;
    } catch {
      return false;
    }
  }

  async #link(key: string): Promise<URL> {
    const known = this.#links.get(key);
    if (known !== undefined && Date.now() < known.until) return known.url;
    const until = Date.now() + KEPT_MS;
    const url = new URL(await linkTo(this.#calls, key));
    this.#links.set(key, { url, until });
    return url;
  }

  async #ask(url: URL, etag: string, signal: AbortSignal | undefined): Promise<number> {
    const { protocol, hostname, port, pathname, search, host } = url;
    const { config } = await this.#calls.client();
    this.#calls.count('GetObject');
    const request = {
      ...{ method: 'GET', protocol, hostname, path: pathname + search, query: {} },
      ...(port === '' ? {} : { port: Number(port) }),
      headers: { host, 'if-none-match': etag },
    };
    const options = signal === undefined ? {} : { abortSignal: signal };
    const handler: Handler = config.requestHandler;
    const { statusCode, body } = (await handler.handle(request, options)).response;
    // The connection of a response without a body is used again.
    if (statusCode === 304) body.resume();
    else body.destroy();
    return statusCode;
  }
}
