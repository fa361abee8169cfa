import { Failure } from '../core/failure.ts';
import { SharedWork } from '../core/shared-work.ts';
import type { HttpRequest, Reply } from './http/message.ts';
import { readExcerpt } from './http/short.ts';

/** The reply of an endpoint to `/v2/` (OCI distribution spec 1.1, "Determining Support"). */
export interface RootReply {
  readonly url: URL;
  readonly status: number;
  /** Its WWW-Authenticate. */
  readonly challenge: string | string[] | undefined;
}

/** After this number of consecutive failures, the callers continue without a reply. */
const TRIES = 3;

/** Requests `/v2/` of an endpoint without authorization: once for all callers, and again only after a temporary failure. */
export class Root {
  readonly #asking = new SharedWork<RootReply>();
  #reply: RootReply | undefined;
  #failures = 0;

  /**
   * The reply; undefined after repeated failures.
   *
   * @throws Failure for the first failures, so that the caller's request is retried
   */
  async ask(
    request: Pick<HttpRequest, 'operation' | 'url' | 'persistence'>,
    send: (request: HttpRequest, signal: AbortSignal) => Promise<Reply>,
    signal: AbortSignal | undefined,
  ): Promise<RootReply | undefined> {
    // An insecure host has two origins.
    if (this.#reply?.url.origin === request.url.origin) return this.#reply;
    const work = async (abort: AbortSignal): Promise<RootReply> => {
      this.#failures += 1;
      const reply = await send({ ...request, method: 'GET', headers: {} }, abort);
      await readExcerpt(reply);
      this.#reply = conclusive(reply, request.operation);
      this.#failures = 0;
      return this.#reply;
    };
    try {
      return await this.#asking.join(request.url.href, work, signal);
    } catch (thrown) {
      if (signal?.aborted === true || this.#failures < TRIES) throw thrown;
      return undefined;
    }
  }
}

/** @throws Failure `unavailable` for a temporary problem */
function conclusive({ status, headers, url }: Reply, operation: string): RootReply {
  const isTemporary = status === 408 || status === 425 || status === 429 || (status >= 500 && status !== 501);
  if (!isTemporary) return { url, status, challenge: headers['www-authenticate'] };
  const detail = `${url.host} answered ${status} to a request for /v2/`;
  throw new Failure({ operation, side: 'source', code: 'unavailable', detail, status });
}
