/** A counting semaphore, first come, first served. At most `total` permits are taken at a time. */
export class Semaphore {
  readonly total: number;
  #free: number;
  readonly #waiting: { readonly grant: () => void }[] = [];

  constructor(total: number) {
    if (!Number.isInteger(total) || total < 1)
      throw new RangeError(`new Semaphore: expected a positive whole number of permits, got ${total}`);
    this.total = total;
    this.#free = total;
  }

  get free(): number {
    return this.#free;
  }

  /** Waits for a permit. If the signal is aborted first, it rejects with the signal's reason and takes no permit. */
  async take(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(signal?.reason as Error);
      };
      const waiter = {
        grant: (): void => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(waiter);
    });
  }

  /** A permit if one is free right now. */
  tryTake(): boolean {
    if (this.#free === 0) return false;
    this.#free -= 1;
    return true;
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next !== undefined) next.grant();
    else if (this.#free === this.total) throw new Error('Semaphore.give: a permit was returned twice');
    else this.#free += 1;
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
}
