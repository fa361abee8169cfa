import { Failure } from '../../core/failure.ts';

/** The fewest bytes that the prover gets at once while a part is still arriving. */
const MIN_SLICE_BYTES = 1024 * 1024;
/** The most bytes that the prover gets at once: hashing them blocks the main thread for a few milliseconds. */
const MAX_SLICE_BYTES = 4 * 1024 * 1024;

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

  get isComplete(): boolean {
    return this.#complete;
  }

  /** The bytes in order, as they arrive. Throws the signal's reason when it is aborted meanwhile. */
  async *slices(signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    let taken = 0;
    for (;;) {
      signal.throwIfAborted();
      const ready = this.#filled - taken;
      if (ready >= MIN_SLICE_BYTES || (ready > 0 && this.#complete)) {
        const end = taken + Math.min(ready, MAX_SLICE_BYTES);
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
    detail: `expected ${part.buffer.length} bytes, got ${how}`,
  });
}
