import { inUnits, sharedPages } from '../../core/pages.ts';

interface Waiter {
  readonly bytes: number;
  readonly weight: number;
  readonly grant: () => void;
  /** Buffers that others were given meanwhile. */
  passed: number;
}

/** So many others are served before one who waits, however much they outweigh him. */
const PATIENCE = 8;

/**
 * The weight of a blob that shares a window with others: what is left of it, in bytes, for each buffer that it would have
 * with one more. So they come to their ends together, and the largest is not alone at last, with a connection or two.
 */
export function weightOf(left: number, buffers: number): number {
  return left / (buffers + 1);
}

/**
 * The memory that blobs on their way may take, all together. A part's buffer is taken before its first byte is asked
 * for, so that what is not there to be filled is not fetched: this is where backpressure comes from.
 *
 * Every blob takes its parts in ascending order and gives each back once it is stored and hashed, which needs only parts
 * that it took before. So the oldest part of each blob can always be finished, and blobs that share a window never
 * wait for each other in a circle.
 *
 * It is shared memory, so that threads can read it in place (`inflating-threads.ts`), and begins on pages, so that disks can
 * (`archive/folder/direct.ts`). No garbage collector feels how much of that has been dropped, so that buffers come in a
 * few sizes and are used again.
 */
export class Window {
  readonly totalBytes: number;
  #used = 0;
  /** What is out and is still being filled. */
  readonly #filling = new Set<ArrayBufferLike>();
  #out = 0;
  readonly #spare: ArrayBufferLike[] = [];
  readonly #waiting: Waiter[] = [];

  constructor(totalBytes: number) {
    this.totalBytes = totalBytes;
  }

  get usedBytes(): number {
    return this.#used;
  }

  /**
   * A buffer of `bytes` bytes with arbitrary content. One that is larger than the whole window is granted when nothing
   * else is out. Rejects with the signal's reason when that comes first.
   *
   * @param weight of those who wait, the one of the greatest weight is next (`weightOf`), and of equal ones whoever came
   *   first; but nobody waits for more than a few others
   */
  async take(bytes: number, signal?: AbortSignal, weight = 0): Promise<Buffer> {
    signal?.throwIfAborted();
    const free = this.tryTake(bytes);
    if (free !== undefined) return free;
    await this.#wait(capacityFor(bytes), weight, signal);
    return this.#buffer(bytes);
  }

  /** The same, if it can be had right now and nobody waits for it. */
  tryTake(bytes: number): Buffer | undefined {
    const capacity = capacityFor(bytes);
    if (this.#waiting.length > 0 || !this.#fits(capacity)) return undefined;
    this.#used += capacity;
    return this.#buffer(bytes);
  }

  /** Tells that a buffer is full: from now on it waits for those who read it. */
  full(buffer: Buffer): void {
    this.#filling.delete(buffer.buffer);
  }

  /** Fills a buffer anew that nobody reads any more, with as many bytes or fewer. */
  again(buffer: Buffer, bytes: number): Buffer {
    this.#filling.add(buffer.buffer);
    return buffer.subarray(0, bytes);
  }

  /** Buffers that are full, and wait for those who read them. */
  get waiting(): number {
    return this.#out - this.#filling.size;
  }

  /** Whether somebody waits for a buffer who would be given one before a newcomer of this weight. */
  isWanted(weight: number): boolean {
    const next = this.#next;
    return next !== undefined && (next.weight >= weight || next.passed >= PATIENCE);
  }

  /** Whether only one buffer is being filled, while half of the window waits: bytes arrive faster than they are dealt with. */
  get ahead(): boolean {
    const [only, another] = this.#filling;
    if (only === undefined || another !== undefined) return false;
    return (this.#used - only.byteLength) * 2 >= this.totalBytes;
  }

  /** Gives a buffer back; whoever still reads it is wrong. */
  give(buffer: Buffer): void {
    this.#filling.delete(buffer.buffer);
    this.#out -= 1;
    this.#used -= buffer.buffer.byteLength;
    this.#spare.push(buffer.buffer);
    this.#trim();
    this.#grant();
  }

  /** What has been counted already; where there is no memory for it, it is not counted any more. */
  #buffer(bytes: number): Buffer {
    const capacity = capacityFor(bytes);
    const spare = this.#reuse(capacity);
    this.#trim();
    try {
      const buffer = Buffer.from(spare ?? memory(capacity), 0, bytes);
      this.#filling.add(buffer.buffer);
      this.#out += 1;
      return buffer;
    } catch (error) {
      this.#used -= capacity;
      this.#grant();
      throw error;
    }
  }

  /** A spare buffer of that size; where there is none, and no room for a new one, a larger one, which then counts whole. */
  #reuse(capacity: number): ArrayBufferLike | undefined {
    const spares = this.#spare.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const full = this.#used + spares > this.totalBytes;
    let best = -1;
    for (const [at, { byteLength }] of this.#spare.entries())
      if (byteLength === capacity || (full && byteLength > capacity && this.#fits(byteLength - capacity)))
        if (best === -1 || byteLength < (this.#spare[best]?.byteLength ?? 0)) best = at;
    const [spare] = best === -1 ? [] : this.#spare.splice(best, 1);
    if (spare !== undefined) this.#used += spare.byteLength - capacity;
    return spare;
  }

  #grant(): void {
    for (let next = this.#next; next !== undefined && this.#fits(next.bytes); next = this.#next) {
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      for (const other of this.#waiting) other.passed += 1;
      this.#used += next.bytes;
      next.grant();
    }
  }

  /** They stand in the order of their weight. */
  get #next(): Waiter | undefined {
    return this.#waiting.find(({ passed }) => passed >= PATIENCE) ?? this.#waiting[0];
  }

  #fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.totalBytes;
  }

  /** Spare buffers count as well: together with what is out they never exceed the window. */
  #trim(): void {
    let held = this.#used;
    for (const { byteLength } of this.#spare) held += byteLength;
    while (held > this.totalBytes) {
      const dropped = this.#spare.shift();
      if (dropped === undefined) return;
      held -= dropped.byteLength;
    }
  }

  async #wait(bytes: number, weight: number, signal?: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        this.#grant();
        reject(signal?.reason as Error);
      };
      const waiter: Waiter = {
        bytes,
        weight,
        passed: 0,
        grant: (): void => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const lighter = this.#waiting.findIndex((other) => other.weight < weight);
      this.#waiting.splice(lighter === -1 ? this.#waiting.length : lighter, 0, waiter);
      this.#grant();
    });
  }
}

/** The sizes between which buffers are powers of two, in bytes. */
const SMALLEST_ROUNDED = 64 * 1024;
const LARGEST_ROUNDED = 8 * 1024 * 1024;

function capacityFor(bytes: number): number {
  if (bytes <= SMALLEST_ROUNDED) return bytes;
  return bytes > LARGEST_ROUNDED ? inUnits(bytes) : 2 ** Math.ceil(Math.log2(bytes));
}

/** What is small is never written by itself. */
function memory(capacity: number): SharedArrayBuffer {
  return capacity < SMALLEST_ROUNDED ? new SharedArrayBuffer(capacity) : sharedPages(capacity);
}
