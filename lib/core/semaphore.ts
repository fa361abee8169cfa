/**
 * A counting semaphore, first come, first served. Its permits may count an amount, such as bytes of memory, that a task takes at
 * once. A task that takes more than the total takes the total.
 */
export class Semaphore {
  readonly total: number;
  #free: number;
  readonly #waiting: { readonly count: number; readonly grant: () => void }[] = [];

  constructor(total: number) {
    if (!Number.isInteger(total) || total < 1)
      throw new RangeError(`new Semaphore: expected a positive whole number of permits, got ${total}`);
    this.total = total;
    this.#free = total;
  }

  get free(): number {
    return this.#free;
  }

  /** Waits for permits. If the signal is aborted first, it rejects with the signal's reason and takes no permit. */
  async take(signal?: AbortSignal, count = 1): Promise<void> {
    signal?.throwIfAborted();
    if (this.tryTake(count)) return;
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        this.#grant();
        reject(signal?.reason as Error);
      };
      const waiter = {
        count: Math.min(count, this.total),
        grant: (): void => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(waiter);
    });
  }

  /** Takes permits if they are free right now and no other task waits. */
  tryTake(count = 1): boolean {
    const taken = Math.min(count, this.total);
    if (this.#waiting.length > 0 || taken > this.#free) return false;
    this.#free -= taken;
    return true;
  }

  give(count = 1): void {
    const free = this.#free + Math.min(count, this.total);
    if (free > this.total) throw new Error('Semaphore.give: a permit was returned twice');
    this.#free = free;
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

  #grant(): void {
    for (let [next] = this.#waiting; next !== undefined && next.count <= this.#free; [next] = this.#waiting) {
      this.#waiting.shift();
      this.#free -= next.count;
      next.grant();
    }
  }
}
