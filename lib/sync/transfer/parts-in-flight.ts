import type { TaskGroup } from '../../core/task-group.ts';
import type { Prover } from '../../proof/prover.ts';
import type { PartRange } from '../../store/parts.ts';
import type { BufferPool } from './buffer-pool.ts';
import { PartBuffer } from './part-buffer.ts';

/**
 * The parts of one blob that are in memory. Each has a buffer of the pool, from before its request until it is stored
 * and, if there is a prover, hashed. Parts are hashed as their bytes arrive, in order.
 */
export class PartsInFlight {
  readonly #pool: BufferPool;
  readonly #owner: string;
  /** Runs the hashing, and ends all waits. */
  readonly #tasks: TaskGroup;
  readonly #prover: Prover | undefined;
  /** The parts with a buffer, with promises that resolve when they are hashed. */
  readonly #parts = new Map<PartBuffer, Promise<void>>();
  /** The complete parts, oldest first, with promises that resolve when they are stored and hashed. */
  readonly #storing = new Map<PartBuffer, Promise<unknown>>();
  /** Resolves when the prover has received all bytes of the parts so far. */
  #given: Promise<void> = Promise.resolve();
  /** The last of these writes. */
  #written: Promise<void> = Promise.resolve();

  /** @param owner the registry of the blob */
  constructor(pool: BufferPool, tasks: TaskGroup, prover?: Prover, owner = '') {
    this.#pool = pool;
    this.#owner = owner;
    this.#tasks = tasks;
    this.#prover = prover;
  }

  /** Waits for a buffer for the next part. Call it in ascending order. */
  async take({ number, size }: Pick<PartRange, 'number' | 'size'>): Promise<PartBuffer> {
    return this.#begin(number, await this.#pool.take(size, this.#tasks.signal, this.#owner));
  }

  /**
   * Waits for a buffer for a part that a body continues with, while earlier parts are being stored. The reader of an
   * open body must not wait for memory of other blobs, because they may be waiting for its connection. So if the pool
   * has no free memory, the part gets the buffer of the blob's oldest complete part, once that is stored and hashed.
   */
  async following({ number, size }: Pick<PartRange, 'number' | 'size'>): Promise<PartBuffer> {
    const free = this.#pool.tryTake(size, this.#owner);
    const [oldest] = this.#storing;
    if (free !== undefined) return this.#begin(number, free);
    if (oldest === undefined) return this.take({ number, size });
    const [part, done] = oldest;
    this.#storing.delete(part);
    await done;
    this.#parts.delete(part);
    return this.#begin(number, this.#pool.reuse(part.buffer, size));
  }

  /** Marks a part as complete: its bytes are those that have arrived. */
  complete(part: PartBuffer): void {
    part.complete();
    this.#pool.full(part.buffer);
  }

  /** Gives back the buffer of a complete part once `stored` has resolved and the part is hashed. */
  async release(part: PartBuffer, stored: Promise<void>): Promise<void> {
    const done = Promise.all([stored, this.#parts.get(part)]);
    this.#storing.set(part, done);
    await done;
    // Otherwise the next part uses the buffer.
    if (!this.#storing.delete(part)) return;
    this.#parts.delete(part);
    this.#pool.give(part.buffer, true);
  }

  /** Gives back all buffers. Call it when they are neither read nor filled any more. */
  giveBack(): void {
    for (const part of this.#parts.keys()) this.#pool.give(part.buffer, part.isComplete);
    this.#parts.clear();
  }

  #begin(number: number, buffer: Buffer): PartBuffer {
    const part = new PartBuffer(number, buffer);
    const hashed = this.#prover === undefined ? Promise.resolve() : this.#hash(part, this.#prover);
    this.#tasks.run(() => hashed);
    this.#parts.set(part, hashed);
    return part;
  }

  /**
   * Gives the bytes of a part to the prover as they arrive, after those of all parts before. Two writes at most are
   * unfinished, so that the prover always has work, and the bytes that arrive meanwhile are written at once.
   */
  async #hash(part: PartBuffer, prover: Prover): Promise<void> {
    const before = this.#given;
    let last: Promise<void> | undefined;
    this.#given = (async (): Promise<void> => {
      await before;
      for await (const slice of part.slices(this.#tasks.signal)) {
        const earlier = this.#written;
        last = prover.write(slice);
        // Its rejection is reported below; until then it must not end the process.
        last.catch(() => undefined);
        this.#written = last;
        await earlier;
      }
    })();
    await this.#given;
    await last;
  }
}
