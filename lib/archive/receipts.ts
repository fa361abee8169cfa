/** The receipts of an archive, in its store. A wrong receipt is revoked and never deleted. */
import { asFailure, Failure } from '../core/failure.ts';
import type { Digest } from '../oci/digest.ts';
import type { Cancel, Condition, ObjectStore } from '../store/store.ts';
import { afterConflict, type Wait } from './conflicts.ts';
import type { Layout } from './oci-layout.ts';
import {
  mergedReceipt,
  parseReceipt,
  provesAsMuch,
  type Receipt,
  serialiseReceipt,
  serialiseRevocation,
} from './receipt.ts';

/** The maximum size of a receipt, far above that of a real one. */
const MAX_RECEIPT_BYTES = 1024 * 1024;

const JSON_TYPE = 'application/json';

/** The object under the key of a blob's receipt. */
export interface FoundReceipt {
  readonly etag: string;
  /** Undefined where it cannot be read, or is revoked: the blob is proven again. */
  readonly receipt: Receipt | undefined;
  /** The time of the revocation, in milliseconds since the epoch. */
  readonly revoked?: number;
}

export class Receipts {
  readonly #store: ObjectStore;
  readonly #layout: Layout;
  readonly #wait: Wait;

  constructor(store: ObjectStore, layout: Layout, wait: Wait) {
    this.#store = store;
    this.#layout = layout;
    this.#wait = wait;
  }

  async find(digest: Digest, options: Cancel): Promise<FoundReceipt | undefined> {
    const found = await this.#store.get(this.#layout.receipt(digest), { maxBytes: MAX_RECEIPT_BYTES, ...options });
    if (found === undefined) return undefined;
    const { bytes, etag } = found;
    try {
      const parsed = parseReceipt(bytes, digest);
      return 'revoked' in parsed ? { receipt: undefined, revoked: parsed.revoked, etag } : { receipt: parsed, etag };
    } catch (error) {
      if (error instanceof Failure) return { receipt: undefined, etag };
      throw error;
    }
  }

  /** Resolves to the receipt that was written; undefined where the store has one that proves as much. */
  async put(receipt: Receipt, options: Cancel): Promise<Receipt | undefined> {
    const key = this.#layout.receipt(receipt.digest);
    let written = receipt;
    let condition: Condition = { absent: true };
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#store.put(key, serialiseReceipt(written), { condition, contentType: JSON_TYPE, ...options });
        return written;
      } catch (error) {
        await afterConflict(error, attempt, { key, wait: this.#wait, signal: options.signal });
      }
      const there = await this.find(receipt.digest, options);
      if (there?.receipt !== undefined) {
        if (provesAsMuch(there.receipt, receipt)) return undefined;
        written = mergedReceipt(receipt, there.receipt);
      }
      condition = there === undefined ? { absent: true } : { etag: there.etag };
    }
  }

  async revoke(digest: Digest, etag: string, now: number, options: Cancel): Promise<void> {
    const key = this.#layout.receipt(digest);
    const write = { condition: { etag }, contentType: JSON_TYPE, ...options };
    try {
      await this.#store.put(key, serialiseRevocation(now), write);
    } catch (error) {
      const failure = asFailure(error, `write ${key}`, 'archive');
      if (failure.code !== 'precondition-failed') throw failure;
    }
  }
}
