import { Budget } from '../../core/budget.ts';
import { LARGE_BYTES } from '../../proof/unpacker.ts';

/**
 * The memory of all blobs in transfer. A part's buffer is taken before its first byte is requested, so bytes without a
 * place in memory are not fetched: this is the backpressure. Tasks get buffers in the order in which they asked.
 *
 * Every blob takes its parts in ascending order and gives each back once it is stored and hashed, which needs only
 * parts that it took before. So the oldest part of each blob can always be completed, and blobs that share a pool never
 * wait for each other in a circle.
 *
 * Large buffers are shared memory, which inflating threads read without a copy. The garbage collector does not count
 * shared memory, so these buffers have a few sizes and are reused.
 */
export class BufferPool {
  readonly #budget: Budget;
  readonly #spare: SharedArrayBuffer[] = [];
  #fullBytes = 0;
  #filling = 0;

  constructor(totalBytes: number) {
    this.#budget = new Budget(totalBytes);
  }

  get totalBytes(): number {
    return this.#budget.total;
  }

  get usedBytes(): number {
    return this.#budget.used;
  }

  /** Bytes of buffers that are full and wait to be hashed or stored. */
  get fullBytes(): number {
    return this.#fullBytes;
  }

  /** Buffers that are taken and not full. */
  get filling(): number {
    return this.#filling;
  }

  /**
   * Takes a buffer of `size` bytes with arbitrary content. A buffer that is larger than the whole pool is granted when no
   * other is taken. Rejects with the signal's reason when that comes first.
   */
  async take(size: number, signal?: AbortSignal): Promise<Buffer> {
    await this.#budget.take(capacityFor(size), signal);
    return this.#allocate(size);
  }

  /** Takes a buffer, if one is free now and no other task waits. */
  tryTake(size: number): Buffer | undefined {
    return this.#budget.tryTake(capacityFor(size)) ? this.#allocate(size) : undefined;
  }

  /** Marks a buffer as full: its bytes wait to be hashed and stored. */
  full(buffer: Buffer): void {
    this.#fullBytes += buffer.length;
    this.#filling -= 1;
  }

  /** Marks a full buffer as processed. Returns it for as many bytes or fewer. */
  reuse(buffer: Buffer, size: number): Buffer {
    this.#fullBytes -= buffer.length;
    this.#filling += 1;
    return Buffer.from(buffer.buffer, 0, size);
  }

  /** Gives back a buffer, which must not be read any more. */
  give(buffer: Buffer, isFull: boolean): void {
    if (isFull) this.#fullBytes -= buffer.length;
    else this.#filling -= 1;
    if (buffer.buffer instanceof SharedArrayBuffer) this.#spare.push(buffer.buffer);
    this.#budget.give(buffer.buffer.byteLength);
  }

  #allocate(size: number): Buffer {
    const capacity = capacityFor(size);
    try {
      const buffer = Buffer.from(this.#memory(capacity), 0, size);
      this.#filling += 1;
      return buffer;
    } catch (error) {
      this.#budget.give(capacity);
      throw error;
    }
  }

  /** Memory whose bytes are taken from the budget already. Spare memory counts too: with it, the total is kept. */
  #memory(capacity: number): ArrayBufferLike {
    if (capacity < LARGE_BYTES) return new ArrayBuffer(capacity);
    const at = this.#spare.findIndex(({ byteLength }) => byteLength === capacity);
    if (at !== -1) return this.#spare.splice(at, 1)[0] ?? new SharedArrayBuffer(capacity);
    let spare = this.#spare.reduce((sum, { byteLength }) => sum + byteLength, 0);
    while (spare > 0 && this.usedBytes + spare > this.totalBytes) spare -= this.#spare.shift()?.byteLength ?? 0;
    return new SharedArrayBuffer(capacity);
  }
}

/** Large buffers have sizes that are powers of two or, from 8 MiB, whole MiB, so that they fit other parts. */
function capacityFor(size: number): number {
  if (size < LARGE_BYTES) return size;
  return size > 2 * LARGE_BYTES ? Math.ceil(size / 2 ** 20) * 2 ** 20 : 2 ** Math.ceil(Math.log2(size));
}
