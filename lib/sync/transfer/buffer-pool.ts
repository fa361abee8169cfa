import { sharedPages } from '../../core/pages.ts';
import { Semaphore } from '../../core/semaphore.ts';
import { DEFAULT_PART_BYTES } from '../../store/parts.ts';
import { isAhead } from './next-request.ts';

/** Each buffer begins at a multiple of these bytes in its slot: a block of `lib/store/folder/direct.ts`. */
const BLOCK_BYTES = 4096;

/** A piece of the memory: one large buffer, or several small ones behind each other. */
interface Slot {
  readonly offset: number;
  /** The registry of its buffers. */
  owner: string;
  /** Bytes from the start of the slot to the end of its last buffer. */
  usedBytes: number;
  /** Buffers that are not given back. */
  buffers: number;
}

/**
 * The memory of all blobs in transfer. A part takes its buffer before its first byte is requested. This is the
 * backpressure: bytes are fetched only if they have a place in memory. Tasks get slots in the order in which they asked.
 *
 * Every blob takes its parts in ascending order and gives each back once it is stored and hashed, which needs only
 * parts that it took before. So the oldest part of each blob can always be completed, and blobs that share a pool never
 * wait for each other in a circle.
 *
 * While registries share the memory, one gets another slot only while it has less memory than is free. So a registry that
 * sends its bytes slowly, or never, leaves memory to the others.
 *
 * The memory is one block of shared memory, divided into slots of the usual part size. A small buffer is put behind
 * those of a slot that has room. Inflating threads read shared memory without a copy, it needs no garbage collection,
 * and its buffers are aligned as writes that bypass the page cache require (`lib/store/folder/direct.ts`).
 */
export class BufferPool {
  readonly #budget: Semaphore;
  readonly #slotBytes: number;
  /** The shared memory; made for the first buffer. */
  #shared: SharedArrayBuffer | undefined;
  readonly #slots: readonly Slot[];
  /** The registries of the buffers that are larger than a slot. */
  readonly #owners = new Map<ArrayBufferLike, string>();
  #fullBytes = 0;
  #filling = 0;
  #takenAhead = 0;

  /**
   * @param slotBytes the part size of most blobs
   * @param areShared whether several registries have blobs to transfer
   */
  constructor(totalBytes: number, slotBytes = DEFAULT_PART_BYTES, areShared?: () => boolean) {
    const count = Math.max(Math.floor(totalBytes / slotBytes), 1);
    this.#budget = new Semaphore(count * slotBytes, areShared);
    this.#slotBytes = slotBytes;
    this.#slots = Array.from({ length: count }, (_, index) => ({
      offset: index * slotBytes,
      owner: '',
      usedBytes: 0,
      buffers: 0,
    }));
  }

  get totalBytes(): number {
    return this.#budget.total;
  }

  /** Bytes of the slots that have buffers, and of larger buffers. */
  get usedBytes(): number {
    return this.#budget.total - this.#budget.free;
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
   *
   * @param owner the registry of the blob
   */
  async take(size: number, signal?: AbortSignal, owner = ''): Promise<Buffer> {
    signal?.throwIfAborted();
    const beside = this.#beside(size, owner);
    if (beside !== undefined) return beside;
    const bytes = this.#budgetFor(size);
    await this.#budget.take(signal, bytes, owner);
    return this.#allocate(size, bytes, owner);
  }

  /** Takes a buffer, if one is free now and no other task waits for its memory. */
  tryTake(size: number, owner = ''): Buffer | undefined {
    const beside = this.#beside(size, owner);
    if (beside !== undefined) return beside;
    const bytes = this.#budgetFor(size);
    return this.#budget.tryTake(bytes, owner) ? this.#allocate(size, bytes, owner) : undefined;
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
    const index = Math.floor(buffer.byteOffset / this.#slotBytes);
    const slot = buffer.buffer === this.#shared ? this.#slots[index] : undefined;
    if (slot === undefined) {
      this.#budget.give(buffer.buffer.byteLength, this.#owners.get(buffer.buffer));
      this.#owners.delete(buffer.buffer);
      return;
    }
    slot.buffers -= 1;
    if (slot.buffers > 0) return;
    slot.usedBytes = 0;
    this.#budget.give(this.#slotBytes, slot.owner);
  }

  /** Bytes to take from the budget for a buffer that does not fit into a slot beside others. */
  #budgetFor(size: number): number {
    return Math.max(size, this.#slotBytes);
  }

  /** A buffer in a slot that has others of its registry, and room for this one. */
  #beside(size: number, owner: string): Buffer | undefined {
    // An empty buffer takes a byte, so that its offset belongs to its slot.
    const most = this.#slotBytes - Math.max(size, 1);
    const slot = this.#slots.find((each) => each.buffers > 0 && each.owner === owner && each.usedBytes <= most);
    return slot === undefined ? undefined : this.#cut(slot, size);
  }

  /** Allocates a buffer for which `bytes` were taken from the budget. */
  #allocate(size: number, bytes: number, owner: string): Buffer {
    try {
      if (size > this.#slotBytes) return this.#count(this.#large(size, owner));
      // Another task may have begun a slot while this one waited.
      const beside = this.#beside(size, owner);
      if (beside !== undefined) {
        this.#budget.give(bytes, owner);
        return beside;
      }
      const free = this.#slots.find(({ buffers }) => buffers === 0);
      if (free === undefined) throw new RangeError('BufferPool: no free slot, although the budget has room for one');
      free.owner = owner;
      return this.#cut(free, size);
    } catch (error) {
      this.#budget.give(bytes, owner);
      throw error;
    }
  }

  #large(size: number, owner: string): Buffer {
    const memory = new SharedArrayBuffer(size);
    this.#owners.set(memory, owner);
    return Buffer.from(memory);
  }

  #cut(slot: Slot, size: number): Buffer {
    this.#shared ??= sharedPages(this.#slots.length * this.#slotBytes);
    const buffer = Buffer.from(this.#shared, slot.offset + slot.usedBytes, size);
    slot.usedBytes += Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
    slot.buffers += 1;
    return this.#count(buffer);
  }

  #count(buffer: Buffer): Buffer {
    this.#takenAhead = isAhead(this) ? this.#takenAhead + 1 : 0;
    this.#filling += 1;
    return buffer;
  }
}
