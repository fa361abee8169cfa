import type { Receipt } from '../archive/receipt.ts';
import { defined } from '../core/defined.ts';
import type { Algorithm } from '../oci/digest.ts';
import { compressionOf } from '../oci/mediatype.ts';
import type { LayerMessage } from '../queue/messages.ts';
import { algorithmsOf } from '../proof/algorithms.ts';
import type { DiffIds } from '../proof/content.ts';
import type { Proof } from '../proof/prover.ts';

type Claimed = Pick<LayerMessage['blob'], 'mediaType'> & { readonly diffIds?: readonly Algorithm[] | undefined };

/** A key that is the same for all claims that one proof covers. */
export function proofKey(blob: Claimed & Pick<LayerMessage['blob'], 'digest'>): string {
  return `${blob.digest} ${compressionOf(blob.mediaType)} ${[...algorithmsOf(blob)].sort().join(',')}`;
}

export type Proven = Pick<Proof, 'size' | 'compression'> & { readonly diffIds: DiffIds };

/**
 * The facts that a receipt proves about a blob; undefined where an image claims more, so that the bytes have to be
 * read.
 */
export function provenBy(receipt: Receipt, blob: Claimed): Proven | undefined {
  const { size, compression, diffIds, assumed } = receipt;
  const proven = defined({ size, compression, diffIds });
  const wanted = algorithmsOf(blob);
  if (wanted.length === 0) return proven;
  // An earlier version assumed the declared compression, and did not look at the bytes.
  if (compression === undefined || (assumed === true && compressionOf(blob.mediaType) !== 'none')) return undefined;
  return wanted.every((algorithm) => diffIds[algorithm] !== undefined) ? proven : undefined;
}

/**
 * @param source the upstream repository of the blob; where it is not known, the archive's
 * @param now milliseconds since the epoch
 */
export function receiptFor(proof: Proof, source: string, now: number): Receipt {
  const { digest, size, diffIds, compression, declared } = proof;
  const verifiedAt = new Date(now).toISOString();
  return defined({ version: 1 as const, digest, size, diffIds, compression, declared, source, verifiedAt });
}
