import { Failure, type FailureCode } from '../core/failure.ts';
import { retrying } from '../core/retry.ts';
import type { Operation } from './client.ts';
import { sourceFailure, stopped } from './errors.ts';
import { isRefusal, retriesOf } from './http/retry-wait.ts';
import type { BlobResponse, ByteRange } from './http/range.ts';
import type { BlobBody } from './source.ts';
import type { Reply } from './http/message.ts';

/** A response with the requested bytes. */
export interface OpenResponse {
  readonly reply: Reply;
  readonly opened: BlobResponse;
  /** Reports that the body failed; `isEmpty` if no bytes had arrived. */
  readonly onBodyError: (failure: Failure, isEmpty: boolean) => void;
}

export interface ReaderOptions extends Operation {
  readonly size?: number | undefined;
  /** The number of reasons, other than resuming, to fetch the whole blob again after a digest mismatch. */
  readonly otherRetryReasons: () => number;
  /** Requests these bytes once. */
  readonly connect: (wanted: ByteRange) => Promise<OpenResponse>;
}

/**
 * The body of a blob, from one or more responses. It holds one of the registry's permits until it has ended, failed, been
 * returned from or been aborted; its consumer must cause one of these.
 */
export class BlobReader implements BlobBody, AsyncIterableIterator<Buffer, undefined> {
  readonly #options: ReaderOptions;
  #position: number;
  /** The expected end of the body, if it is known. */
  #end: number | undefined;
  #response: OpenResponse | undefined;
  #state: 'new' | 'open' | 'over' | 'stopped' = 'new';
  /** Whether the caller has read `ranged` and the end, so that they may no longer change. */
  #isStarted = false;
  #resumed = 0;
  /** The failed tries since the last byte arrived. */
  #failures = 0;
  /** Whether the current response has not sent a byte yet. */
  #isEmpty = true;

  ranged = true;
  total: number | undefined;

  constructor(wanted: ByteRange, options: ReaderOptions) {
    this.#options = options;
    this.#position = wanted.start;
    this.#end = wanted.end;
  }

  get body(): AsyncIterable<Buffer> {
    return this;
  }

  readonly resumed = (): number => this.#resumed + this.#options.otherRetryReasons();

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Waits for a permit, and for a valid response. */
  async start(): Promise<void> {
    const { client, operation, size, signal } = this.#options;
    try {
      await client.permits.take(signal);
    } catch (thrown) {
      throw sourceFailure(thrown, operation, signal);
    }
    this.#state = 'open';
    signal?.addEventListener('abort', this.#stop, { once: true });
    // HTTP has no empty ranges.
    const nothing = this.#position === this.#end || (this.#position > 0 && this.#position === size);
    if (nothing) this.#close('over');
    else await this.#persist(() => this.#connect());
    this.#isStarted = true;
  }

  async next(): Promise<IteratorResult<Buffer, undefined>> {
    if (this.#state === 'stopped') throw stopped(this.#options.operation, this.#options.signal);
    if (this.#state !== 'open') return { value: undefined, done: true };
    const chunk = await this.#persist(() => this.#read());
    if (chunk !== undefined) return { value: chunk, done: false };
    this.#close('over');
    return { value: undefined, done: true };
  }

  return(): Promise<IteratorResult<Buffer, undefined>> {
    this.#close('over');
    return Promise.resolve({ value: undefined, done: true });
  }

  async #read(): Promise<Buffer | undefined> {
    let opening = this.#response;
    if (opening === undefined) {
      opening = await this.#connect();
      this.#resumed += 1;
    }
    const chunk = await opening.reply.body.read();
    if (chunk === undefined) {
      this.#checkEnd(opening.reply);
      return undefined;
    }
    this.#position += chunk.length;
    if (this.#end !== undefined && this.#position > this.#end) throw this.#overlong(opening.reply);
    this.#failures = 0;
    this.#isEmpty = false;
    return chunk;
  }

  async #connect(): Promise<OpenResponse> {
    const opening = await this.#request();
    const { opened, reply } = opening;
    const otherwise = this.#isStarted && this.#end !== undefined && opened.end !== this.#end;
    if (otherwise || this.#state !== 'open') reply.body.cancel();
    if (otherwise) throw this.#wrong(reply, 'range-ignored', 'sent the whole blob after it had sent a range');
    this.#response = opening;
    this.#isEmpty = true;
    this.ranged &&= opened.ranged;
    this.#end = opened.end;
    this.total ??= opened.total;
    return opening;
  }

  /** A server may refuse a range of a blob that it has (RFC 9110, section 14.2), so a refused range is not final. */
  async #request(): Promise<OpenResponse> {
    const { connect, operation, signal } = this.#options;
    try {
      return await connect({ start: this.#position, end: this.#end });
    } catch (thrown) {
      const { remedy, code, detail, status, cause } = sourceFailure(thrown, operation, signal);
      const isRefused = remedy === 'never' && status !== undefined && code !== 'size-mismatch';
      if (this.#position === 0 || !isRefused) throw thrown;
      throw new Failure({ operation, side: 'source', code: 'range-mismatch', detail, status, cause });
    }
  }

  /**
   * Asks for the whole blob after a range from its first byte has failed, unless the failure may be a rate limit.
   * Returns whether the request changes: that happens once for each body, before its first byte.
   */
  #dropRange(failure: Failure): boolean {
    const isPossible = !this.#isStarted && this.#position === 0 && this.#end !== undefined;
    if (!isPossible || isRefusal(failure) || failure.retryAfterMs !== undefined) return false;
    if (failure.code === 'aborted' || failure.side !== 'source') return false;
    this.#end = undefined;
    this.ranged = false;
    return true;
  }

  /** Retries while the failure allows it; otherwise closes the body. */
  async #persist<T>(work: () => Promise<T>): Promise<T> {
    const { client, operation, signal } = this.#options;
    const retries = retriesOf(client.options.retry, operation, signal);
    try {
      return await retrying(work, {
        failureOf: (thrown) => {
          this.#dropResponse(sourceFailure(thrown, operation, signal));
          return retries.failureOf(thrown);
        },
        decide: (failure) => {
          if (failure.remedy === 'retry') {
            const next = retries.decide(failure, (this.#failures += 1));
            if (next.again) return next;
          }
          // Otherwise the caller decides whether to start again at the first byte.
          return this.#dropRange(failure) ? { again: true, afterMs: 0 } : { again: false };
        },
        wait: (ms, failure) => retries.wait(ms, failure, this.#failures),
      });
    } catch (thrown) {
      this.#close('over');
      throw thrown;
    }
  }

  #dropResponse(failure: Failure): void {
    this.#response?.reply.body.cancel();
    this.#response?.onBodyError(failure, this.#isEmpty);
    this.#response = undefined;
  }

  /** Checks the length even after a regular end, because proxies hide errors of their own downloads. */
  #checkEnd(reply: Reply): void {
    if (this.#end === undefined || this.#position === this.#end) return;
    throw this.#wrong(reply, 'truncated', `ended after ${this.#position} of ${this.#end} bytes`);
  }

  #overlong(reply: Reply): Failure {
    const whole = this.#end === this.#options.size;
    return this.#wrong(reply, whole ? 'size-mismatch' : 'range-mismatch', `sent more than ${this.#end} bytes`);
  }

  #wrong({ url, status }: Reply, code: FailureCode, detail: string): Failure {
    const { operation } = this.#options;
    return new Failure({ operation, side: 'source', code, detail: `${url.host} ${detail}`, status });
  }

  readonly #stop = (): void => {
    this.#close('stopped');
  };

  #close(state: 'over' | 'stopped'): void {
    if (this.#state !== 'open') return;
    this.#state = state;
    this.#options.signal?.removeEventListener('abort', this.#stop);
    this.#response?.reply.body.cancel();
    this.#options.client.permits.give();
  }
}
