import { Failure } from '../../../lib/core/failure.ts';
import type { Semaphore } from '../../../lib/core/semaphore.ts';
import type { BlobBody, BlobSource, Cancel } from '../../../lib/registry/source.ts';

export interface FakeOptions {
  /** False for a registry that ignores ranges. */
  readonly ranged?: boolean;
  /** Whether the registry declares the length of the blob. */
  readonly total?: boolean;
  /** Connections of the host: a body holds one until it has ended, failed, been returned from or been aborted. */
  readonly connections?: Semaphore;
  /** Bytes per chunk. */
  readonly chunk?: number;
  /** The number of turns of the event loop before each chunk or response. */
  readonly turns?: () => number;
  /** Called before the chunk at this offset; the body throws the error that it throws. */
  readonly before?: (offset: number) => void;
  /** The fields of the bodies. */
  readonly resumed?: number;
}

/** An upstream blob that keeps the contract of the source port, without a socket. */
export class FakeBlob implements BlobSource {
  readonly opened: { readonly start: number; readonly end: number | undefined }[] = [];
  /** Bodies that are open. */
  held = 0;
  mostOpen = 0;
  readonly #bytes: Uint8Array;
  readonly #o: FakeOptions;

  constructor(bytes: Uint8Array, options: FakeOptions = {}) {
    this.#bytes = bytes;
    this.#o = options;
  }

  async open(
    range: { readonly start: number; readonly end?: number | undefined },
    { signal }: Cancel = {},
  ): Promise<BlobBody> {
    const { ranged = true, total = true, connections, resumed = 0 } = this.#o;
    signal?.throwIfAborted();
    if (connections !== undefined) await connections.take(signal);
    this.held += 1;
    this.mostOpen = Math.max(this.mostOpen, this.held);
    let holding = true;
    const letGo = (): void => {
      if (!holding) return;
      holding = false;
      this.held -= 1;
      signal?.removeEventListener('abort', letGo);
      connections?.give();
    };
    if (signal?.aborted === true) letGo();
    signal?.addEventListener('abort', letGo, { once: true });
    this.opened.push({ start: range.start, end: range.end });
    await this.#pause();
    signal?.throwIfAborted();
    const whole = range.start === 0 && range.end === undefined;
    if (!ranged && range.start > 0) {
      letGo();
      throw new Failure({ operation: 'get blob', side: 'source', code: 'range-ignored', detail: 'it is ignored' });
    }
    const [start, end] = ranged ? [range.start, range.end ?? this.#bytes.length] : [0, this.#bytes.length];
    return {
      body: this.#body(start, end, signal, letGo),
      ranged: ranged || whole,
      total: total ? this.#bytes.length : undefined,
      resumed: () => resumed,
    };
  }

  #body(start: number, end: number, signal: AbortSignal | undefined, letGo: () => void): AsyncIterable<Uint8Array> {
    const { chunk = 1000, before } = this.#o;
    let at = start;
    const next = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
      await this.#pause();
      signal?.throwIfAborted();
      before?.(at);
      if (at >= end) return { value: undefined, done: true };
      const from = at;
      at = Math.min(end, at + chunk);
      return { value: this.#bytes.subarray(from, at), done: false };
    };
    return {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          try {
            const result = await next();
            if (result.done === true) letGo();
            return result;
          } catch (error) {
            letGo();
            throw error;
          }
        },
        return: () => {
          letGo();
          return Promise.resolve({ value: undefined, done: true });
        },
      }),
    };
  }

  async #pause(): Promise<void> {
    for (let left = this.#o.turns?.() ?? 0; left > 0; left -= 1) await new Promise(setImmediate);
  }
}
