import type { Receipt } from '../archive/receipt.ts';
import { type Digest, digestParts } from '../oci/digest.ts';
import type { Compression } from './prover.ts';

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
