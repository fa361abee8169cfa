import type { Compression } from '../oci/compression.ts';
import { defined } from '../core/defined.ts';
import { type Algorithm, ALGORITHMS, type Digest, digestParts } from '../oci/digest.ts';
import { Place } from '../oci/document.ts';

const COMPRESSIONS: ReadonlySet<string> = new Set<Compression>(['gzip', 'zstd', 'none']);

/**
 * The proof of a blob. It is written only after the bytes matched their digest and size. The diffIDs were computed from
 * the uncompressed bytes, never copied from a config.
 */
export interface Receipt {
  readonly version: 1;
  readonly digest: Digest;
  /** Bytes as stored. */
  readonly size: number;
  /** Digests of the uncompressed bytes by algorithm (OCI image spec, config.md, "Layer DiffID"); none of an opaque blob. */
  readonly diffIds: Partial<Readonly<Record<Algorithm, Digest>>>;
  /** The compression of the bytes; missing where nothing was unpacked. */
  readonly compression?: Compression;
  /** The media type that declares another compression. */
  readonly declared?: string;
  /** Only in receipts of earlier versions, which treated the bytes as plain if the media type said so. */
  readonly assumed?: true;
  /** The upstream repository that it came from. */
  readonly source: string;
  /** ISO 8601, UTC. */
  readonly verifiedAt: string;
}

/** Replaces the receipt of a blob that contradicts it, until the blob is proven again. */
export interface Revocation {
  /** Milliseconds since the epoch. */
  readonly revoked: number;
}

/** @throws Failure that names the field */
export function parseReceipt(bytes: Uint8Array, digest: Digest): Receipt | Revocation {
  const place = Place.ofBytes(`read receipt of ${digest}`, bytes);
  const revoked = Date.parse(place.at('revoked').optionalText() ?? '');
  if (!Number.isNaN(revoked)) return { revoked };
  const refuseUnless = (isRight: boolean, name: string, what: string): void => {
    if (!isRight) throw place.at(name).fail(what);
  };
  refuseUnless(place.at('version').integer() === 1, 'version', 'must be 1');
  const compression = place.at('compression').optionalText();
  const isEarlier = !place.at('diffIds').given;
  const receipt = defined({
    version: 1 as const,
    digest: place.at('digest').digest(),
    size: place.at('size').size(),
    diffIds: isEarlier ? { sha256: place.at('diffId').digest() } : readDiffIds(place.at('diffIds')),
    compression: compression as Compression | undefined,
    declared: place.at('declared').optionalText(),
    assumed: isEarlier && compression === 'none' ? (true as const) : undefined,
    source: place.at('source').text(),
    verifiedAt: place.at('verifiedAt').text(),
  });
  refuseUnless(receipt.digest === digest, 'digest', 'is that of another blob');
  const isOpaque = Object.keys(receipt.diffIds).length === 0;
  refuseUnless(isOpaque ? compression === undefined : COMPRESSIONS.has(compression ?? ''), 'compression', MUST);
  refuseUnless(!Number.isNaN(Date.parse(receipt.verifiedAt)), 'verifiedAt', 'must be a time in ISO 8601');
  return receipt;
}

/** With a revocation, the finalizer distinguishes a removed blob from one that a message still fetches. */
export function serialiseRevocation(now: number): Uint8Array {
  return Buffer.from(`${JSON.stringify({ version: 1, revoked: new Date(now).toISOString() })}\n`);
}

const MUST = 'must be gzip, zstd or none with a diffID, and must be missing without one';

function readDiffIds(place: Place): Receipt['diffIds'] {
  const found: Partial<Record<Algorithm, Digest>> = {};
  for (const algorithm of ALGORITHMS) {
    const at = place.at(algorithm);
    if (!at.given) continue;
    const diffId = at.digest();
    if (digestParts(diffId).algorithm !== algorithm) throw at.fail(`must be a ${algorithm} digest`);
    found[algorithm] = diffId;
  }
  return found;
}

/** Whether a receipt contains everything that another receipt of the same blob proves. */
export function provesAsMuch(there: Receipt, other: Receipt): boolean {
  if (there.size !== other.size) return false;
  if (other.compression === undefined) return true;
  if (there.compression !== other.compression || there.assumed === true) return false;
  return ALGORITHMS.every((algorithm) => [undefined, there.diffIds[algorithm]].includes(other.diffIds[algorithm]));
}

/** Adds the facts of an earlier proof of the same bytes to a receipt. */
export function mergedReceipt(receipt: Receipt, earlier: Receipt): Receipt {
  const { size, compression } = receipt;
  const isSame = earlier.size === size && earlier.compression === compression && earlier.assumed !== true;
  const contradicts = ALGORITHMS.some(
    (algorithm) =>
      earlier.diffIds[algorithm] !== undefined &&
      receipt.diffIds[algorithm] !== undefined &&
      earlier.diffIds[algorithm] !== receipt.diffIds[algorithm],
  );
  if (!isSame || contradicts) return receipt;
  return { ...receipt, diffIds: { ...earlier.diffIds, ...receipt.diffIds } };
}

export function serialiseReceipt({ assumed: _, ...receipt }: Receipt): Uint8Array {
  const { version, digest, size, diffIds, ...rest } = receipt;
  // Earlier versions read `diffId`.
  const fields = defined({ version, digest, size, diffId: diffIds.sha256, diffIds, ...rest });
  return Buffer.from(`${JSON.stringify(fields)}\n`);
}
