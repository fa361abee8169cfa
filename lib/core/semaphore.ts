import { Counts } from './counts.ts';

interface Waiter {
  readonly count: number;
  readonly owner: string | undefined;
  readonly grant: () => void;
}

/**
 * A counting semaphore, first come, first served. Its permits may count an amount, such as bytes of memory, that a task takes at
 * once. A task that takes more than the total takes the total.
 *
 * While owners share it, an owner gets permits only while it has fewer than are free. So one that never gives its permits
 * back leaves some to the others. Tasks of other owners then pass a task that waits for its own owner.
 */
export class Semaphore {
  readonly total: number;
  readonly #areShared: () => boolean;
  #free: number;
  /** The permits of each owner. */
  readonly #taken = new Counts();
  readonly #waiting: Waiter[] = [];

  /** @param areShared whether several owners need permits; by default, owners do not matter */
  constructor(total: number, areShared: () => boolean = () => false) {
    if (!Number.isInteger(total) || total < 1)
      throw new RangeError(`new Semaphore: expected a positive whole number of permits, got ${total}`);
    this.total = total;
    this.#areShared = areShared;
    this.#free = total;
  }

  get free(): number {
    return this.#free;
  }

  /** Waits for permits. If the signal is aborted first, it rejects with the signal's reason and takes no permit. */
  async take(signal?: AbortSignal, count = 1, owner?: string): Promise<void> {
    signal?.throwIfAborted();
    if (this.tryTake(count, owner)) return;
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        this.#grant();
        reject(signal?.reason as Error);
      };
      const waiter = {
        count: Math.min(count, this.total),
        owner,
        grant: (): void => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(waiter);
    });
  }

  /** Takes permits if they are free right now and no other task waits for them. */
  tryTake(count = 1, owner?: string): boolean {
    const taken = Math.min(count, this.total);
    if (taken > this.#free || !this.#mayTake(owner)) return false;
    if (this.#waiting.some((waiter) => this.#mayTake(waiter.owner))) return false;
    this.#move(taken, owner);
    return true;
  }

  give(count = 1, owner?: string): void {
    const given = Math.min(count, this.total);
    if (this.#free + given > this.total) throw new Error('Semaphore.give: a permit was returned twice');
    this.#move(-given, owner);
    this.#grant();
  }

  /** Runs `work` with a permit, and always returns the permit. */
  async with<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.take(signal);
    try {
      return await work();
    } finally {
      this.give();
    }
  }

  /** Waits for a permit, which the caller returns by disposing of the result. */
  async hold(signal?: AbortSignal): Promise<Disposable> {
    await this.take(signal);
    return {
      [Symbol.dispose]: () => {
        this.give();
      },
    };
  }

  #mayTake(owner: string | undefined): boolean {
    return owner === undefined || !this.#areShared() || this.#taken.of(owner) < this.#free;
  }

  #move(taken: number, owner: string | undefined): void {
    this.#free -= taken;
    if (owner !== undefined) this.#taken.add(owner, taken);
  }

  #grant(): void {
    for (let at = 0; at < this.#waiting.length;) {
      const { count, owner, grant } = this.#waiting[at] as Waiter;
      if (!this.#mayTake(owner)) {
        at += 1;
        continue;
      }
      if (count > this.#free) return;
      this.#waiting.splice(at, 1);
      this.#move(count, owner);
      grant();
    }
  }
}
