/** SQS's deduplication interval, in milliseconds. */
const DEDUPLICATION_MS = 5 * 60 * 1000;

/** The ids of a generation. Two of them take about 8 MB. */
const GENERATION = 25_000;

/**
 * The deduplication ids of the last five minutes, as SQS keeps them, but only the newest 25,000 to 50,000 of them: the
 * number of messages in five minutes has no limit. A repetition of an older message is handled again, and changes nothing.
 */
export class SeenIds {
  /** Each id with the time at which it expires. */
  #newer = new Map<string, number>();
  #older: ReadonlyMap<string, number> = new Map();

  /** Adds an id, unless it was added within five minutes; returns whether it was added. */
  add(id: string, now: number): boolean {
    const expires = this.#newer.get(id) ?? this.#older.get(id) ?? 0;
    if (expires > now) return false;
    if (this.#newer.size >= GENERATION) {
      this.#older = this.#newer;
      this.#newer = new Map();
    }
    this.#newer.set(id, now + DEDUPLICATION_MS);
    return true;
  }
}
