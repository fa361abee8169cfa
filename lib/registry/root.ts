import { Failure } from '../core/failure.ts';
import { SharedWork } from '../core/shared-work.ts';
import type { HttpRequest, Reply } from './http/message.ts';
import { readExcerpt } from './http/short.ts';

/** The reply of an endpoint to `/v2/` (OCI distribution spec 1.1, "Determining Support"). */
export type RootReply = Pick<Reply, 'url' | 'status' | 'headers'>;

/** After this number of consecutive failures, the callers continue without a reply. */
const TRIES = 3;

/** Requests `/v2/` of an endpoint without authorization: once for all callers, and again only after a temporary failure. */
export class Root {
  readonly #asking = new SharedWork<RootReply>();
  #known: { readonly origin: string; readonly reply: RootReply } | undefined;
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
    const { origin } = request.url;
    if (this.#known?.origin === origin) return this.#known.reply;
    const work = async (abort: AbortSignal): Promise<RootReply> => {
      this.#failures += 1;
      const reply = await send({ ...request, method: 'GET', headers: {} }, abort);
      await readExcerpt(reply);
      checkConclusive(reply, request.operation);
      this.#known = { origin, reply };
      this.#failures = 0;
      return reply;
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
function checkConclusive({ status, url }: Reply, operation: string): void {
  const isTemporary = status === 408 || status === 425 || status === 429 || (status >= 500 && status !== 501);
  if (!isTemporary) return;
  const detail = `${url.host} answered ${status} to a request for /v2/`;
  throw new Failure({ operation, side: 'source', code: 'unavailable', detail, status });
}
