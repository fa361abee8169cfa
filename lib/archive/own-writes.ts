import { Lru } from '../core/lru.ts';
import type { Digest } from '../oci/digest.ts';
import type { Receipt } from './receipt.ts';

/** A finalizer needs them soon, but it rests, and other slices are resolved meanwhile. */
const CONTENT_BYTES = 2 * 1024 * 1024;
const RECEIPTS = 2_000;
/** A larger document would displace too many others. */
const MAX_BYTES = CONTENT_BYTES / 8;

/** A point in the order of the writes and the marks of one process. */
type Moment = number;

/** The writes that began after a mark. A reader has its own cache, so content and receipts are returned once. */
export interface WritesSince {
  readonly hasReceipt: (digest: Digest) => boolean;
  readonly takeContent: (digest: Digest) => Uint8Array | undefined;
  readonly takeReceipt: (digest: Digest) => Receipt | undefined;
}

interface Kept<T> {
  readonly began: Moment;
  readonly value: T;
}

/**
 * The small content and the receipts that this process wrote last, so that it need not read them back. A repair may
 * have removed them since. So a reader sets a mark when it learns the version of a tag index, and takes only writes
 * that began after the mark: a repair that removes one of them gives the index another version.
 */
export class OwnWrites {
  readonly #contents = new Lru<Digest, Kept<Uint8Array>>(CONTENT_BYTES, ({ value }) => value.length);
  readonly #receipts = new Lru<Digest, Kept<Receipt>>(RECEIPTS);
  #now: Moment = 0;

  /** The moment of a write that begins now. */
  get now(): Moment {
    return this.#now;
  }

  /** Sets a mark after all writes that have begun. */
  sinceNow(): WritesSince {
    this.#now += 1;
    const since = this.#now;
    return {
      hasReceipt: (digest) => valueSince(this.#receipts.get(digest), since) !== undefined,
      takeContent: (digest) => taken(this.#contents, digest, since),
      takeReceipt: (digest) => taken(this.#receipts, digest, since),
    };
  }

  /** @param began the moment before the write */
  wroteContent(digest: Digest, bytes: Uint8Array, began: Moment): void {
    if (bytes.length > MAX_BYTES) return;
    // A copy: bytes that are kept for long would keep 8 KiB of Node's pool.
    this.#contents.set(digest, { began, value: new Uint8Array(bytes) });
  }

  /** @param began the moment before the write */
  wroteReceipt(receipt: Receipt, began: Moment): void {
    this.#receipts.set(receipt.digest, { began, value: receipt });
  }

  /** The blob was found damaged. */
  revoked(digest: Digest): void {
    this.#receipts.delete(digest);
    this.#contents.delete(digest);
  }
}

function taken<T>(from: Lru<Digest, Kept<T>>, digest: Digest, since: Moment): T | undefined {
  const found = valueSince(from.get(digest), since);
  from.delete(digest);
  return found;
}

function valueSince<T>(kept: Kept<T> | undefined, since: Moment): T | undefined {
  return kept === undefined || kept.began < since ? undefined : kept.value;
}
