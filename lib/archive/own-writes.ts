import { Lru } from '../core/lru.ts';
import type { Digest } from '../oci/digest.ts';
import type { Receipt } from './receipt.ts';

/** A finalizer needs them soon. More would save few requests, since other slices are resolved meanwhile. */
const CONTENT_BYTES = 512 * 1024;
const RECEIPTS = 500;
/** A larger document would displace too many others. */
const MAX_BYTES = CONTENT_BYTES / 8;

/** A point in the order of the writes and the marks of one process. */
export type Moment = number;

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

  /** A moment after all writes that have begun. */
  mark(): Moment {
    this.#now += 1;
    return this.#now;
  }

  /** Returns content once: a reader has its own cache. */
  takeContent(digest: Digest, since: Moment): Uint8Array | undefined {
    const found = valueSince(this.#contents.get(digest), since);
    this.#contents.delete(digest);
    return found;
  }

  hasReceipt(digest: Digest, since: Moment): boolean {
    return valueSince(this.#receipts.get(digest), since) !== undefined;
  }

  /** Returns a receipt once. */
  takeReceipt(digest: Digest, since: Moment): Receipt | undefined {
    const found = valueSince(this.#receipts.get(digest), since);
    this.#receipts.delete(digest);
    return found;
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

function valueSince<T>(kept: Kept<T> | undefined, since: Moment): T | undefined {
  return kept === undefined || kept.began < since ? undefined : kept.value;
}
