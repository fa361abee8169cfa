import { setMaxListeners } from 'node:events';

/** Shared by all groups, since recording the stack of an error takes longer than a small task. */
const CLOSED = new DOMException('the task group is closed', 'AbortError');

/**
 * Structured concurrency: a group of tasks. The first failure aborts the signal of all tasks. `join` throws its error
 * only after every task has settled, so that nothing keeps running after a failed call.
 */
export class TaskGroup {
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

  /** All errors of tasks so far, in order, including those caused by the abort. */
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

  /** Waits for all tasks, including those that start meanwhile. Throws the first error. */
  async join(): Promise<void> {
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
    this.#outer?.removeEventListener('abort', this.#onOuterAbort);
    if (this.#failed !== undefined) throw this.#failed.error as Error;
  }

  /** Joins, and then aborts the signal in any case, so that unused resources are released. Never throws. */
  async close(): Promise<void> {
    await this.join().catch(() => undefined);
    this.#controller.abort(CLOSED);
  }

  #fail(error: unknown): void {
    if (this.#failed !== undefined) return;
    this.#failed = { error };
    this.#controller.abort(error);
  }
}
