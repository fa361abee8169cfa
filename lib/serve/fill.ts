/**
 * Fill on miss: a request for a missing tag is answered 404 at once, and the image is ordered, so that the next pull finds it.
 * A client never waits for an upstream.
 */
import { asFailure } from '../core/failure.ts';
import type { MissingTag } from './served.ts';

/** An image that may be ordered. */
export interface FillOrder {
  /** The key of an image, the same for all names that clients use. */
  readonly key: string;
  /** Resolves when the order is accepted, and not when the image is mirrored. */
  send(): Promise<void>;
}

export interface FillOptions {
  /** The order for a missing tag; undefined if the configuration does not mirror it. */
  readonly order: (missing: MissingTag) => FillOrder | undefined | Promise<FillOrder | undefined>;
  /** Called with a sentence for an order that failed. */
  readonly onFault: (text: string) => void;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/**
 * - `ordered`: the image is ordered.
 * - `recent`: it was ordered less than five minutes ago.
 * - `limited`: too many images were ordered in the last minute; a later request orders it.
 * - `unlisted`: the configuration does not mirror it.
 * - `failed`: the order failed; it is repeated after five minutes.
 */
export type FillResult = 'ordered' | 'recent' | 'limited' | 'unlisted' | 'failed';

const AGAIN_MS = 5 * 60_000;
const RATE_MS = 60_000;
const RATE = 30;

/** Decides which missing tags are ordered. */
export class Fill {
  readonly #o: FillOptions;
  readonly #now: () => number;
  /** The times of the last orders, in their order. The rate limits them to 150. */
  readonly #ordered = new Map<string, number>();

  constructor(options: FillOptions) {
    this.#o = options;
    this.#now = options.now ?? Date.now;
  }

  /** Never rejects. */
  async request(missing: MissingTag): Promise<FillResult> {
    const { order, onFault } = this.#o;
    try {
      const found = await order(missing);
      if (found === undefined) return 'unlisted';
      const refused = this.#admit(found.key);
      if (refused !== undefined) return refused;
      await found.send();
      return 'ordered';
    } catch (error) {
      onFault(
        `order ${missing.repositories.join(' or ')}:${missing.tag}: ${asFailure(error, 'order', 'queue').message}`,
      );
      return 'failed';
    }
  }

  #admit(key: string): 'recent' | 'limited' | undefined {
    const now = this.#now();
    for (const [each, at] of this.#ordered) if (now - at >= AGAIN_MS) this.#ordered.delete(each);
    if (this.#ordered.has(key)) return 'recent';
    const lastMinute = [...this.#ordered.values()].filter((at) => now - at < RATE_MS);
    if (lastMinute.length >= RATE) return 'limited';
    this.#ordered.set(key, now);
    return undefined;
  }
}
