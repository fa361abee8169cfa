/** The reads of pages: their number is bounded, and a document that cannot be parsed counts as missing. */
import { Failure } from '../../core/failure.ts';
import { Semaphore } from '../../core/semaphore.ts';

/** The number of concurrent reads of a page. */
const SIDE_BY_SIDE = 24;

/** The reads that a page may still cause. */
export class Reads {
  readonly signal: AbortSignal;
  readonly #permits = new Semaphore(SIDE_BY_SIDE);
  #left: number;

  constructor(limit: number, signal: AbortSignal) {
    this.#left = limit;
    this.signal = signal;
  }

  /** The result of a read; `none-left` once the limit is reached. */
  async read<T>(work: () => Promise<T>): Promise<T | 'none-left'> {
    if (this.#left <= 0) return 'none-left';
    this.#left -= 1;
    return await this.#permits.with(work, this.signal);
  }
}

/** The result of a parser; undefined for a document that it refuses. */
export function parsed<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof Failure) return undefined;
    throw error;
  }
}
