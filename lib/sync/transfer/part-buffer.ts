import { Failure } from '../../core/failure.ts';
import { release } from '../../core/release.ts';

/**
 * Bytes that the prover gets at once while a part is still arriving: a hand-over to zlib's thread costs as much as 64
 * KiB.
 */
const SLICE_BYTES = 1024 * 1024;

/** One part in transfer: the source fills it at one end while it is hashed at the other. */
export class PartBuffer {
  readonly number: number;
  readonly buffer: Buffer;
  #filled = 0;
  #complete = false;
  #wake: (() => void) | undefined;

  constructor(number: number, buffer: Buffer) {
    this.number = number;
    this.buffer = buffer;
  }

  /** The bytes that have arrived; once `complete`, the part. */
  get bytes(): Uint8Array {
    return this.#filled === this.buffer.length ? this.buffer : this.buffer.subarray(0, this.#filled);
  }

  /** Appends as much of `chunk` as fits, and returns that length. */
  append(chunk: Uint8Array): number {
    const length = Math.min(chunk.length, this.buffer.length - this.#filled);
    this.buffer.set(length === chunk.length ? chunk : chunk.subarray(0, length), this.#filled);
    this.#filled += length;
    this.#notify();
    return length;
  }

  get full(): boolean {
    return this.#filled === this.buffer.length;
  }

  /** Marks the part as complete: its bytes are those that have arrived. */
  complete(): void {
    this.#complete = true;
    this.#notify();
  }

  /** Fills the part with a body that must have exactly its length. */
  async fill(body: AsyncIterable<Uint8Array>, onBytes: (count: number) => void): Promise<void> {
    for await (const chunk of body) {
      if (this.append(chunk) < chunk.length) throw wrongLength(this, 'more');
      onBytes(chunk.length);
      release(chunk);
    }
    if (!this.full) throw wrongLength(this, 'fewer');
    this.complete();
  }

  /** The bytes in order, as they arrive. Throws the signal's reason when it is aborted meanwhile. */
  async *slices(signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    let taken = 0;
    for (;;) {
      signal.throwIfAborted();
      const ready = this.#filled - taken;
      if (ready >= SLICE_BYTES || (ready > 0 && this.#complete)) {
        const end = taken + Math.min(ready, SLICE_BYTES);
        yield this.buffer.subarray(taken, end);
        taken = end;
      } else if (this.#complete) return;
      else await this.#change(signal);
    }
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  async #change(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#wake = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
    });
  }
}

/** The source guarantees exact lengths, so a body of another length cannot be trusted. */
export function wrongLength(part: PartBuffer, how: 'more' | 'fewer'): Failure {
  return new Failure({
    operation: `fetch part ${part.number}`,
    side: 'source',
    code: 'range-mismatch',
    detail: `${how} bytes came than the ${part.buffer.length} that were asked for`,
  });
}
