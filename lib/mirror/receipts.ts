import type { Receipt } from '../archive/receipt.ts';
import { type Digest, digestParts } from '../oci/digest.ts';
import type { Compression, Proof } from './prover.ts';

/**
 * The diffID of a blob that an image declares as `declared`, as far as its receipt proves one. The same bytes may stand
 * in one image as a gzip layer and in another as an opaque file, which is its own diffID.
 */
export function provenDiffId(receipt: Receipt, declared: Compression): Digest | undefined {
  if (receipt.compression === declared) return receipt.diffId;
  // DiffIDs are SHA-256 here, so a SHA-256 digest of plain bytes is one already.
  if (declared === 'none' && digestParts(receipt.digest).algorithm === 'sha256') return receipt.digest;
  return undefined;
}

/**
 * @param source the upstream repository that the blob came from; where nobody remembers, the archive's
 * @param now milliseconds since the epoch
 */
export function receiptFor(proof: Proof, source: string, now: number): Receipt {
  const { digest, size, diffId, compression } = proof;
  return { version: 1, digest, size, diffId, compression, source, verifiedAt: new Date(now).toISOString() };
}
