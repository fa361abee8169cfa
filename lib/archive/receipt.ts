import { Failure } from '../base/failure.ts';
import type { Digest } from '../oci/digest.ts';
import { Place } from '../oci/document.ts';

type Compression = Receipt['compression'];

const COMPRESSIONS: ReadonlySet<string> = new Set<Compression>(['gzip', 'zstd', 'none']);

/**
 * The proof of a blob: written only after its bytes hashed to its digest and its size was exact. The diffID was computed
 * from the uncompressed bytes, never copied from a config.
 */
export interface Receipt {
  readonly version: 1;
  readonly digest: Digest;
  /** Bytes as stored. */
  readonly size: number;
  /** SHA-256 of the uncompressed bytes (OCI image spec, config.md, "Layer DiffID"). */
  readonly diffId: Digest;
  /** How the blob was unpacked for that. */
  readonly compression: 'gzip' | 'zstd' | 'none';
  /** The upstream repository that it came from. */
  readonly source: string;
  /** ISO 8601, UTC. */
  readonly verifiedAt: string;
}

/** @throws Failure `corrupt` that names the field */
export function parseReceipt(bytes: Uint8Array, digest: Digest): Receipt {
  try {
    const place = Place.ofBytes(`read receipt of ${digest}`, bytes);
    const refuseUnless = (isRight: boolean, name: string, what: string): void => {
      if (!isRight) throw place.at(name).fail(what);
    };
    refuseUnless(place.at('version').integer() === 1, 'version', 'must be 1');
    const receipt: Receipt = {
      version: 1,
      digest: place.at('digest').digest(),
      size: place.at('size').size(),
      diffId: place.at('diffId').digest(),
      compression: place.at('compression').text() as Compression,
      source: place.at('source').text(),
      verifiedAt: place.at('verifiedAt').text(),
    };
    refuseUnless(receipt.digest === digest, 'digest', 'is that of another blob');
    refuseUnless(COMPRESSIONS.has(receipt.compression), 'compression', 'must be gzip, zstd or none');
    refuseUnless(!Number.isNaN(Date.parse(receipt.verifiedAt)), 'verifiedAt', 'must be a time in ISO 8601');
    return receipt;
  } catch (error) {
    throw error instanceof Failure ? corrupt(error) : error;
  }
}

/**
 * Whether a receipt makes another one of the same blob superfluous. Whoever unpacked the bytes proved them as they are, too,
 * and their digest is the diffID of those where it is SHA-256. Of an SHA-512 digest the proof of the layer is kept all the
 * same: two kinds do not fit into one receipt, and who declares the other one is told so when his image is checked.
 */
export function provesAsMuch(there: Receipt, other: Receipt): boolean {
  if (there.size !== other.size) return false;
  if (there.compression === other.compression) return there.diffId === other.diffId;
  return other.compression === 'none';
}

export function serialiseReceipt(receipt: Receipt): Uint8Array {
  return Buffer.from(`${JSON.stringify(receipt)}\n`);
}

function corrupt(fault: Failure): Failure {
  return new Failure({
    operation: fault.operation,
    side: 'archive',
    code: 'corrupt',
    detail: `${fault.detail}; delete it, and the next sync proves the blob again`,
    cause: fault,
  });
}
