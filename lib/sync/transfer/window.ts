import { inUnits, sharedPages } from '../../core/pages.ts';

interface Waiter {
  readonly bytes: number;
  readonly weight: number;
  readonly grant: () => void;
  /** The number of buffers granted to others since this one began to wait. */
  passed: number;
}

/** A waiter is served after at most this number of others, however much greater their weight is. */
const PATIENCE = 8;

/**
 * The weight of a blob in a shared window: its remaining bytes per buffer, counted with one more buffer. So all blobs
 * end at about the same time, and the largest is not left over at the end with a connection or two.
 */
export function weightOf(left: number, buffers: number): number {
  return left / (buffers + 1);
}

/**
 * The memory budget for all blobs in transfer. A part's buffer is taken before its first byte is requested, so bytes
 * without a place in memory are not fetched: this is the backpressure.
 *
 * Every blob takes its parts in ascending order and gives each back once it is stored and hashed, which needs only
 * parts that it took before. So the oldest part of each blob can always be completed, and blobs that share a window
 * never wait for each other in a circle.
 *
 * Buffers are shared memory, which threads read directly (`inflating-threads.ts`), and begin on pages, as disks require
 * (`lib/store/folder/direct.ts`). The garbage collector does not notice how much of that memory was dropped, so buffers
 * have a few sizes and are reused.
 */
export class Window {
  readonly totalBytes: number;
  #used = 0;
  /** Buffers that are taken and still being filled. */
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
   * Takes a buffer of `bytes` bytes with arbitrary content. A buffer larger than the whole window is granted when no
   * other is taken. Rejects with the signal's reason when that comes first.
   *
   * @param weight the waiter with the greatest weight is next (`weightOf`), and of equal ones the one that waits
   *   longest; but a waiter is passed over only a few times
   */
  async take(bytes: number, signal?: AbortSignal, weight = 0): Promise<Buffer> {
    signal?.throwIfAborted();
    const free = this.tryTake(bytes);
    if (free !== undefined) return free;
    await this.#wait(capacityFor(bytes), weight, signal);
    return this.#buffer(bytes);
  }

  /** The same, if a buffer is free now and no other task waits for one. */
  tryTake(bytes: number): Buffer | undefined {
    const capacity = capacityFor(bytes);
    if (this.#waiting.length > 0 || !this.#fits(capacity)) return undefined;
    this.#used += capacity;
    return this.#buffer(bytes);
  }

  /** Marks a buffer as full: from now on it waits for its readers. */
  full(buffer: Buffer): void {
    this.#filling.delete(buffer.buffer);
  }

  /** Reuses a buffer that is not read any more, for as many bytes or fewer. */
  again(buffer: Buffer, bytes: number): Buffer {
    this.#filling.add(buffer.buffer);
    return buffer.subarray(0, bytes);
  }

  /** Full buffers that wait for their readers. */
  get waiting(): number {
    return this.#out - this.#filling.size;
  }

  /** Whether a waiting task would get a buffer before a new one of this weight. */
  isWanted(weight: number): boolean {
    const next = this.#next;
    return next !== undefined && (next.weight >= weight || next.passed >= PATIENCE);
  }

  /**
   * Whether only one buffer is being filled while half of the window waits: bytes arrive faster than they are
   * processed.
   */
  get ahead(): boolean {
    const [only, another] = this.#filling;
    if (only === undefined || another !== undefined) return false;
    return (this.#used - only.byteLength) * 2 >= this.totalBytes;
  }

  /** Gives a buffer back; it must not be read any more. */
  give(buffer: Buffer): void {
    this.#filling.delete(buffer.buffer);
    this.#out -= 1;
    this.#used -= buffer.buffer.byteLength;
    this.#spare.push(buffer.buffer);
    this.#trim();
    this.#grant();
  }

  /** Makes a buffer whose bytes are counted already; where there is no memory for it, they are not counted any more. */
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

  /**
   * A spare buffer of that size. Where there is none, and no room for a new one, a larger one, which then counts whole.
   */
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

  /** The waiters are sorted by weight. */
  get #next(): Waiter | undefined {
    return this.#waiting.find(({ passed }) => passed >= PATIENCE) ?? this.#waiting[0];
  }

  #fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.totalBytes;
  }

  /** Spare buffers count as well: with the taken ones they never exceed the window. */
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

/** Small buffers are never written on their own, so they need no page boundary. */
function memory(capacity: number): SharedArrayBuffer {
  return capacity < SMALLEST_ROUNDED ? new SharedArrayBuffer(capacity) : sharedPages(capacity);
}
