/** Proves and stores a blob whose bytes are in memory. */
import type { Archive } from '../archive/archive.ts';
import { type Expected, Prover } from '../proof/prover.ts';
import { receiptFor } from './receipts.ts';

export interface StoreOptions {
  /** The upstream repository that names it. */
  readonly source: string;
  readonly strict?: boolean | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly signal: AbortSignal;
}

/** Resolves to false if there was not enough memory to unpack the bytes; nothing is stored then. */
export async function storeBytes(
  archive: Archive,
  blob: Expected,
  bytes: Uint8Array,
  { source, strict, now, signal }: StoreOptions,
): Promise<boolean> {
  const prover = new Prover(blob, { strict });
  try {
    await prover.write(bytes);
    const proof = await prover.finish();
    if (proof.deferred === true) return false;
    await archive.putContent(blob.digest, bytes, { signal });
    await archive.putReceipt(receiptFor(proof, source, now), { signal });
    return true;
  } finally {
    await prover.destroy();
  }
}
