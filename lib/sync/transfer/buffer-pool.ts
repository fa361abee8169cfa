import { Budget } from '../../core/budget.ts';
import { sharedPages } from '../../core/pages.ts';
import { LARGE_BYTES } from '../../proof/unpacker.ts';
import { DEFAULT_PART_BYTES } from '../../store/parts.ts';
import { isAhead } from './next-request.ts';

/**
 * The memory of all blobs in transfer. A part takes its buffer before its first byte is requested. This is the
 * backpressure: bytes are fetched only if they have a place in memory. Tasks get buffers in the order in which they
 * asked.
 *
 * Every blob takes its parts in ascending order and gives each back once it is stored and hashed, which needs only
 * parts that it took before. So the oldest part of each blob can always be completed, and blobs that share a pool never
 * wait for each other in a circle.
 *
 * Large buffers are slots of one block of shared memory: inflating threads read it without a copy, and each slot begins
 * on a page, as writes that bypass the page cache require (`lib/store/folder/direct.ts`).
 */
export class BufferPool {
  readonly #budget: Budget;
  readonly #slotBytes: number;
  /** The shared memory; made for the first large buffer. */
  #shared: SharedArrayBuffer | undefined;
  /** Offsets of the free slots. */
  #free: number[] = [];
  #fullBytes = 0;
  #filling = 0;
  #takenAhead = 0;

  /** @param slotBytes the size of large buffers: the part size of most blobs */
  constructor(totalBytes: number, slotBytes = DEFAULT_PART_BYTES) {
    this.#budget = new Budget(totalBytes);
    this.#slotBytes = slotBytes;
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

  /** The number of buffers, up to the last one, that were taken in a row while the network was ahead (`isAhead`). */
  get takenAhead(): number {
    return this.#takenAhead;
  }

  /**
   * Takes a buffer of `size` bytes with arbitrary content. A buffer that is larger than the whole pool is granted once
   * all others are free. Rejects with the signal's reason if the signal is aborted before that.
   */
  async take(size: number, signal?: AbortSignal): Promise<Buffer> {
    await this.#budget.take(this.#capacityFor(size), signal);
    return this.#allocate(size);
  }

  /** Takes a buffer, if one is free now and no other task waits. */
  tryTake(size: number): Buffer | undefined {
    return this.#budget.tryTake(this.#capacityFor(size)) ? this.#allocate(size) : undefined;
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
    return Buffer.from(buffer.buffer, buffer.byteOffset, size);
  }

  /** Gives back a buffer, which must not be read any more. */
  give(buffer: Buffer, isFull: boolean): void {
    if (isFull) this.#fullBytes -= buffer.length;
    else this.#filling -= 1;
    const isSlot = buffer.buffer === this.#shared;
    if (isSlot) this.#free.push(buffer.byteOffset);
    this.#budget.give(isSlot ? this.#slotBytes : buffer.buffer.byteLength);
  }

  #allocate(size: number): Buffer {
    const capacity = this.#capacityFor(size);
    try {
      const buffer = this.#memory(size);
      this.#takenAhead = isAhead(this) ? this.#takenAhead + 1 : 0;
      this.#filling += 1;
      return buffer;
    } catch (error) {
      this.#budget.give(capacity);
      throw error;
    }
  }

  /** Memory whose bytes are taken from the budget already. */
  #memory(size: number): Buffer {
    if (size < LARGE_BYTES) return Buffer.allocUnsafeSlow(size);
    if (size > this.#slotBytes) return Buffer.from(new SharedArrayBuffer(size));
    const count = Math.max(Math.floor(this.totalBytes / this.#slotBytes), 1);
    if (this.#shared === undefined) {
      this.#shared = sharedPages(count * this.#slotBytes);
      this.#free = Array.from({ length: count }, (_, index) => index * this.#slotBytes);
    }
    const offset = this.#free.pop();
    if (offset === undefined) throw new RangeError('BufferPool: no free slot, although the budget has room for one');
    return Buffer.from(this.#shared, offset, size);
  }

  /** The number of bytes that a buffer takes from the budget. */
  #capacityFor(size: number): number {
    return size >= LARGE_BYTES && size <= this.#slotBytes ? this.#slotBytes : size;
  }
}
