import type { TaskGroup } from '../../core/task-group.ts';
import { PartBuffer } from './part-buffer.ts';
import type { Prover } from '../../proof/prover.ts';
import { weightOf, type Window } from './window.ts';

/**
 * The parts of one blob that are in memory. Each has a buffer of the window, from before its request until it is stored
 * and hashed. Parts are hashed as their bytes arrive, in order.
 */
export class PartsInFlight {
  readonly #window: Window;
  readonly #prover: Prover;
  /** Runs the hashing, and ends all waits. */
  readonly #tasks: TaskGroup;
  /** The parts, each with the number of uses that it still waits for. */
  readonly #held = new Map<PartBuffer, number>();
  /** All parts so far were given to the prover in order; resolves to its last write, which may be under way. */
  #fed: Promise<[Promise<void>]> = Promise.resolve([Promise.resolve()]);
  /** All parts so far are hashed. */
  #hashed: Promise<void> = Promise.resolve();
  /** Bytes of the blob for which no buffer has been taken. */
  #left: number;

  /**
   * @param size of the blob, in bytes; 0 where it is unknown: such a blob uses one connection, which keeps its buffer
   */
  constructor(window: Window, prover: Prover, tasks: TaskGroup, size: number) {
    this.#window = window;
    this.#prover = prover;
    this.#tasks = tasks;
    this.#left = size;
  }

  /** A buffer for the next part, in the order of hashing. Call it in ascending order. */
  async take(number: number, length: number): Promise<PartBuffer> {
    return this.#lineUp(number, await this.#window.take(length, this.#tasks.signal, this.weight));
  }

  /**
   * A buffer for the part after one that is complete and being stored. A connection's owner must not wait only for
   * memory of other blobs, which may be waiting for that very connection. So where the window has no memory left, the
   * buffer of the own part is used once it is stored and hashed.
   */
  async following(part: PartBuffer, length: number, stored: Promise<void>): Promise<PartBuffer> {
    this.#held.set(part, (this.#held.get(part) ?? 0) + 1);
    const free = this.#window.tryTake(length) ?? (await this.#takeUnless(Promise.all([stored, this.#hashed]), length));
    if (free === undefined) this.#held.delete(part);
    else this.#letGo(part);
    return this.#lineUp(part.number + 1, free ?? this.#window.again(part.buffer, length));
  }

  /** Marks a part as complete. */
  complete(part: PartBuffer): void {
    part.complete();
    this.#window.full(part.buffer);
  }

  /** Marks a part as stored. */
  stored(part: PartBuffer): void {
    this.#letGo(part);
  }

  /** Gives back all buffers; call it when they are neither read nor filled any more. */
  giveBack(): void {
    for (const part of this.#held.keys()) this.#window.give(part.buffer);
  }

  /** The blob's weight for the window. */
  get weight(): number {
    return weightOf(this.#left, this.#held.size);
  }

  #lineUp(number: number, buffer: Buffer): PartBuffer {
    this.#left = Math.max(this.#left - buffer.length, 0);
    const part = new PartBuffer(number, buffer);
    this.#held.set(part, 2);
    const before = this.#fed;
    const fed = (async (): Promise<[Promise<void>]> => {
      let [last] = await before;
      for await (const slice of part.slices(this.#tasks.signal)) {
        const earlier = last;
        last = this.#prover.write(slice);
        // Waiters get the rejection; without one it must not end the process.
        last.catch(() => undefined);
        await earlier;
      }
      return [last];
    })();
    this.#fed = fed;
    const hashed = (async (): Promise<void> => {
      await (
        await fed
      )[0];
      this.#letGo(part);
    })();
    this.#hashed = hashed;
    this.#tasks.run(() => hashed);
    return part;
  }

  /** Called once when a part is hashed and once when it is stored: then its buffer is given back. */
  #letGo(part: PartBuffer): void {
    const left = (this.#held.get(part) ?? 0) - 1;
    if (left > 0) {
      this.#held.set(part, left);
      return;
    }
    this.#held.delete(part);
    this.#window.give(part.buffer);
  }

  /** A buffer of the window, unless `event` comes first. */
  async #takeUnless(event: Promise<unknown>, length: number): Promise<Buffer | undefined> {
    const over = new AbortController();
    const taking = this.#window.take(length, AbortSignal.any([this.#tasks.signal, over.signal]), this.weight);
    let taken: Buffer | undefined;
    try {
      taken = await Promise.race([taking, event.then(() => undefined)]);
      return taken;
    } finally {
      over.abort();
      // The buffer may have been granted at the same moment.
      if (taken === undefined)
        taking.then(
          (late) => {
            this.#window.give(late);
          },
          () => undefined,
        );
    }
  }
}
