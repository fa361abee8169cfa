import { unlessAborted } from './unless-aborted.ts';

/**
 * Runs work once when several callers want it concurrently. The work continues while at least one caller waits for it,
 * and is aborted when the last caller has given up.
 */
export class SharedWork<T> {
  readonly #running = new Map<
    string,
    { readonly result: Promise<T>; readonly abort: AbortController; waiting: number }
  >();

  async join(key: string, work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    let shared = this.#running.get(key);
    if (shared === undefined) {
      const abort = new AbortController();
      const result = work(abort.signal).finally(() => {
        if (this.#running.get(key)?.abort === abort) this.#running.delete(key);
      });
      shared = { result, abort, waiting: 0 };
      this.#running.set(key, shared);
    }
    shared.waiting += 1;
    try {
      return await (signal === undefined ? shared.result : unlessAborted(shared.result, signal));
    } finally {
      shared.waiting -= 1;
      if (shared.waiting === 0) {
        // A later caller must not join work that is being aborted.
        if (this.#running.get(key) === shared) this.#running.delete(key);
        shared.abort.abort();
      }
    }
  }
}
