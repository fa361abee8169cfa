/** A counted amount, such as bytes of memory, that tasks take shares of; first come, first served. */
export class Budget {
  readonly total: number;
  #used = 0;
  readonly #waiting: { readonly amount: number; readonly grant: () => void }[] = [];

  constructor(total: number) {
    this.total = total;
  }

  get used(): number {
    return this.#used;
  }

  /** Takes the amount if it is free now and no other task waits. An amount above the total counts as the total. */
  tryTake(amount: number): boolean {
    if (this.#waiting.length > 0 || !this.#fits(amount)) return false;
    this.#used += Math.min(amount, this.total);
    return true;
  }

  /** Waits for the amount. If the signal is aborted first, it rejects with the signal's reason and takes nothing. */
  async take(amount: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.tryTake(amount)) return;
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        this.#grant();
        reject(signal?.reason as Error);
      };
      const waiter = {
        amount,
        grant: (): void => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(waiter);
    });
  }

  give(amount: number): void {
    this.#used -= Math.min(amount, this.total);
    this.#grant();
  }

  #fits(amount: number): boolean {
    return this.#used + Math.min(amount, this.total) <= this.total;
  }

  #grant(): void {
    for (let [next] = this.#waiting; next !== undefined && this.#fits(next.amount); [next] = this.#waiting) {
      this.#waiting.shift();
      this.#used += Math.min(next.amount, this.total);
      next.grant();
    }
  }
}
