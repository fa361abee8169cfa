import type { Archive } from '../../archive/archive.ts';
import { knownContent } from '../../oci/known-content.ts';
import { Prover } from '../../proof/prover.ts';
import { receiptFor } from '../receipts.ts';
import type { NeededBlob } from './walk.ts';

/** Proves and stores a blob whose content is known without a request. Resolves to whether it is known. */
export async function storeKnown(
  archive: Archive,
  blob: NeededBlob,
  options: {
    /** The upstream repository that names it. */
    readonly source: string;
    readonly strict: boolean | undefined;
    /** Milliseconds since the epoch. */
    readonly now: number;
    readonly signal: AbortSignal;
  },
): Promise<boolean> {
  const bytes = knownContent(blob);
  if (bytes === undefined) return false;
  const { source, strict, now, signal } = options;
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
