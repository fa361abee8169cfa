/** A clock that jumps to the next timer as soon as no other work is left. */
export class VirtualClock {
  #now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly ring: () => void }>();

  readonly now = (): number => this.#now;

  readonly sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = { at: this.#now + ms, ring: resolve };
      this.#timers.add(timer);
      signal?.addEventListener('abort', () => {
        this.#timers.delete(timer);
        reject(signal.reason as Error);
      });
    });

  /** Advances the time until `work` has settled. */
  async run<T>(work: Promise<T>): Promise<T> {
    const state = { settled: false };
    const end = (): void => {
      state.settled = true;
    };
    work.then(end, end);
    for (;;) {
      await new Promise(setImmediate);
      if (state.settled) return work;
      const [next] = [...this.#timers].toSorted((a, b) => a.at - b.at);
      if (next === undefined) throw new Error('nothing is left to wait for, and the work has not ended');
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.ring();
    }
  }
}
