import { setMaxListeners } from 'node:events';

/**
 * Structured concurrency: tasks that belong together. The first that fails aborts the signal that all of them were given,
 * and `join` throws its error only when every one has settled, so that nothing is left running behind a failed call.
 */
export class Scope {
  readonly #controller = new AbortController();
  readonly #tasks = new Set<Promise<void>>();
  readonly #outer: AbortSignal | undefined;
  readonly #onOuterAbort = (): void => {
    this.#fail(this.#outer?.reason);
  };
  readonly #thrown: unknown[] = [];
  #failed: { readonly error: unknown } | undefined;

  constructor(outer?: AbortSignal) {
    // Many tasks wait on one signal, which is not a leak although it exceeds Node's default limit of ten listeners.
    setMaxListeners(0, this.signal);
    this.#outer = outer;
    if (outer?.aborted === true) this.#onOuterAbort();
    else outer?.addEventListener('abort', this.#onOuterAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** All that tasks have thrown so far, in order: also what they threw because the signal was aborted. */
  get thrown(): readonly unknown[] {
    return this.#thrown;
  }

  run(task: (signal: AbortSignal) => Promise<void>): void {
    const running = task(this.signal)
      .catch((error: unknown) => {
        this.#thrown.push(error);
        this.#fail(error);
      })
      .finally(() => {
        this.#tasks.delete(running);
      });
    this.#tasks.add(running);
  }

  /** Waits for everything, also for what is started meanwhile. Throws the first error. */
  async join(): Promise<void> {
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
    this.#outer?.removeEventListener('abort', this.#onOuterAbort);
    if (this.#failed !== undefined) throw this.#failed.error as Error;
  }

  /** Joins and then aborts the signal all the same, so that what was opened and never used is let go. Never throws. */
  async close(): Promise<void> {
    await this.join().catch(() => undefined);
    this.#controller.abort(new DOMException('the scope is closed', 'AbortError'));
  }

  #fail(error: unknown): void {
    if (this.#failed !== undefined) return;
    this.#failed = { error };
    this.#controller.abort(error);
  }
}
