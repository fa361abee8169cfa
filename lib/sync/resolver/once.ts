import { Lru } from '../../core/lru.ts';

/** Values by key, each found once while it is kept. The values that were not used for the longest time are dropped first. */
export class Once<T> {
  readonly #running = new Map<string, Promise<T>>();
  readonly #kept: Lru<string, { readonly value: T }>;

  /** @param limit the weight of the values that are kept */
  constructor(limit: number, weigh: (value: T) => number) {
    this.#kept = new Lru(limit, ({ value }) => weigh(value));
  }

  /** Whether a value that is found now is kept without dropping another one of this weight. */
  hasRoom(weight: number): boolean {
    return this.#kept.weight + weight <= this.#kept.limit;
  }

  /** Whether the value is known, or is being found. */
  has(key: string): boolean {
    return this.#running.has(key) || this.#kept.has(key);
  }

  /** Runs `find` once per key. A failure is not kept: each caller that waited for it tries again. */
  get(key: string, find: () => Promise<T>): Promise<T> {
    const known = this.#kept.get(key);
    if (known !== undefined) return Promise.resolve(known.value);
    const running = this.#running.get(key);
    if (running !== undefined) return running.catch(find);
    const finding = find();
    this.#running.set(key, finding);
    finding.then(
      (value) => {
        this.#running.delete(key);
        this.#kept.set(key, { value });
      },
      () => this.#running.delete(key),
    );
    return finding;
  }
}
