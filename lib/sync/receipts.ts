import type { Receipt } from '../archive/receipt.ts';
import { defined } from '../core/defined.ts';
import type { Algorithm } from '../oci/digest.ts';
import { compressionOf } from '../oci/mediatype.ts';
import type { LayerMessage } from '../queue/messages.ts';
import { algorithmsOf, type DiffIds, type Proof } from '../proof/prover.ts';

type Claimed = Pick<LayerMessage['blob'], 'mediaType'> & { readonly diffIds?: readonly Algorithm[] | undefined };

/** The same for blobs for which one proof does. */
export function proofKey(blob: Claimed & Pick<LayerMessage['blob'], 'digest'>): string {
  return `${blob.digest} ${compressionOf(blob.mediaType)} ${[...algorithmsOf(blob)].sort().join(',')}`;
}

export type Proven = Pick<Proof, 'size' | 'compression'> & { readonly diffIds: DiffIds };

/** What a receipt proves of a blob; undefined where an image claims more of it, and the bytes have to be read for that. */
export function provenBy(receipt: Receipt, blob: Claimed): Proven | undefined {
  const { size, compression, diffIds, assumed } = receipt;
  const wanted = algorithmsOf(blob);
  if (wanted.length === 0) return defined({ size, compression, diffIds });
  // An earlier version took the bytes for what the media type declared, and did not look at them.
  if (compression === undefined || (assumed === true && compressionOf(blob.mediaType) !== 'none')) return undefined;
  return wanted.every((algorithm) => diffIds[algorithm] !== undefined)
    ? defined({ size, compression, diffIds })
    : undefined;
}

/**
 * @param source the upstream repository that the blob came from; where that is not known, the archive's
 * @param now milliseconds since the epoch
 */
export function receiptFor(proof: Proof, source: string, now: number): Receipt {
  const { digest, size, diffIds, compression, declared } = proof;
  const verifiedAt = new Date(now).toISOString();
  return defined({ version: 1 as const, digest, size, diffIds, compression, declared, source, verifiedAt });
}
