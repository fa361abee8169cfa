import { Failure, type FailureCode } from '../core/failure.ts';
import type { RegistryClient } from './client.ts';
import { sourceFailure, stopped } from './errors.ts';
import { waitOrThrow } from './http/patience.ts';
import type { Opened, Wanted } from './http/range.ts';
import type { BlobBody } from './source.ts';
import type { Reply } from './http/message.ts';

/** A response with the bytes that were wanted, and what to do when it turns out bad. */
export interface Opening {
  readonly reply: Reply;
  readonly opened: Opened;
  /** The body broke off; `barren` where it had not brought anything. */
  readonly disappointed: (failure: Failure, barren: boolean) => void;
}

export interface ReaderOptions {
  readonly client: RegistryClient;
  readonly operation: string;
  readonly size: number | undefined;
  readonly signal: AbortSignal | undefined;
  /** How many reasons there are, apart from resuming, to try the whole blob again where its digest is wrong. */
  readonly doubts: () => number;
  /** One try to get these bytes. */
  readonly connect: (wanted: Wanted) => Promise<Opening>;
}

/**
 * The body of a blob: as many responses as it takes. It holds one of the registry's permits from the beginning until it
 * has ended, failed, been returned from or been aborted; whoever has one must see to one of those.
 */
export class BlobReader implements BlobBody, AsyncIterableIterator<Buffer, undefined> {
  readonly #options: ReaderOptions;
  #position: number;
  /** Where the body must end, as far as that is known. */
  #end: number | undefined;
  #opening: Opening | undefined;
  #state: 'new' | 'open' | 'over' | 'stopped' = 'new';
  /** Whether `ranged` and the end have been told, so that they can no longer change. */
  #told = false;
  #resumed = 0;
  /** Tries that failed since the last byte came. */
  #failures = 0;
  /** Whether the response at hand has not brought a byte yet. */
  #barren = true;

  ranged = true;
  total: number | undefined;

  constructor(wanted: Wanted, options: ReaderOptions) {
    this.#options = options;
    this.#position = wanted.start;
    this.#end = wanted.end;
  }

  get body(): AsyncIterable<Buffer> {
    return this;
  }

  readonly resumed = (): number => this.#resumed + this.#options.doubts();

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Waits for a permit, and for a response that can be believed. */
  async start(): Promise<void> {
    const { client, operation, size, signal } = this.#options;
    try {
      await client.permits.take(signal);
    } catch (thrown) {
      throw sourceFailure(thrown, operation, signal);
    }
    this.#state = 'open';
    signal?.addEventListener('abort', this.#stop, { once: true });
    // HTTP has no way to ask for no bytes.
    const nothing = this.#position === this.#end || (this.#position > 0 && this.#position === size);
    if (nothing) this.#close('over');
    else await this.#persist(() => this.#connect());
    this.#told = true;
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
    let opening = this.#opening;
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
    this.#barren = false;
    return chunk;
  }

  async #connect(): Promise<Opening> {
    const opening = await this.#options.connect({ start: this.#position, end: this.#end });
    const { opened, reply } = opening;
    // Whoever has this body was told where it begins and ends.
    const otherwise = this.#told && this.#end !== undefined && opened.end !== this.#end;
    if (otherwise || this.#state !== 'open') reply.body.cancel();
    if (otherwise) throw this.#wrong(reply, 'range-ignored', 'sent the whole blob after it had sent a range');
    this.#opening = opening;
    this.#barren = true;
    this.ranged &&= opened.ranged;
    this.#end = opened.end;
    this.total ??= opened.total;
    return opening;
  }

  /** Tries again while that may help and there is progress; otherwise gives everything up. */
  async #persist<T>(work: () => Promise<T>): Promise<T> {
    const { client, operation, signal } = this.#options;
    try {
      for (;;) {
        try {
          return await work();
        } catch (thrown) {
          const failure = sourceFailure(thrown, operation, signal);
          this.#opening?.reply.body.cancel();
          this.#opening?.disappointed(failure, this.#barren);
          this.#opening = undefined;
          // What has to begin again from the first byte is not for the body to decide.
          if (failure.remedy !== 'retry') throw failure;
          this.#failures += 1;
          await waitOrThrow(failure, this.#failures, client.options.patience, signal);
        }
      }
    } catch (thrown) {
      this.#close('over');
      throw sourceFailure(thrown, operation, signal);
    }
  }

  /** A body that ended, in good order or not, is only done when it is whole: proxies hide that what they read broke. */
  #checkEnd(reply: Reply): void {
    if (this.#end === undefined || this.#position === this.#end) return;
    throw this.#wrong(reply, 'truncated', `ended after ${this.#position} of ${this.#end} bytes`);
  }

  #overlong(reply: Reply): Failure {
    const whole = this.#end === this.#options.size;
    return this.#wrong(reply, whole ? 'size-mismatch' : 'range-mismatch', `sent more than ${this.#end} bytes`);
  }

  #wrong({ url, status }: Reply, code: FailureCode, detail: string): Failure {
    return new Failure({
      operation: this.#options.operation,
      side: 'source',
      code,
      detail: `${url.host} ${detail}`,
      status,
    });
  }

  readonly #stop = (): void => {
    this.#close('stopped');
  };

  #close(state: 'over' | 'stopped'): void {
    if (this.#state !== 'open') return;
    this.#state = state;
    this.#options.signal?.removeEventListener('abort', this.#stop);
    this.#opening?.reply.body.cancel();
    this.#options.client.permits.give();
  }
}
