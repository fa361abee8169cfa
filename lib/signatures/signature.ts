import { asFailure } from '../core/failure.ts';
import type { Digest } from '../oci/digest.ts';
import type { Place } from '../oci/document.ts';

/** A signature of an image as a registry serves it; no part of it is trusted. */
export type FoundSignature = FoundBundle | FoundSimpleSigning;

/** A Sigstore bundle: the layer of a referrer whose type is `application/vnd.dev.sigstore.bundle.v0.3+json`. */
interface FoundBundle {
  readonly kind: 'bundle';
  /** The digest of its manifest or blob, for messages. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A layer of cosign's `.sig` manifest: a payload, and the signature in the annotations of its descriptor. */
interface FoundSimpleSigning {
  readonly kind: 'simple-signing';
  readonly name: string;
  readonly payload: Uint8Array;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A signature whose content names the image; its signer is not verified yet. */
export interface ParsedSignature {
  /** The bytes that the signature covers. */
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
  /** The certificate in DER; a signature by a key has none. */
  readonly certificate?: Uint8Array;
  /** Whether an authority (a log or a timestamp authority) states its time. */
  readonly isTimed: boolean;
  /** The Sigstore bundle as JSON values. */
  readonly bundle: unknown;
  /** The bytes of a message signature that the bundle does not contain. */
  readonly artifact?: Uint8Array;
}

/** The image that a signature must cover. `manifest` is needed for bundles that sign its bytes and not a statement. */
export interface SignedImage {
  readonly digest: Digest;
  readonly manifest?: Uint8Array;
  /** The accepted types of statements. Default: those that vouch for an image. */
  readonly predicates?: RegExp;
}

/** Limits that bound the work for the signatures of a hostile registry. */
export const SIGNATURE_LIMITS = {
  /** The maximum number of signatures of one image that are checked. */
  signatures: 64,
  /** Bytes of the manifest of signatures: more than all of them need, with their certificates. */
  manifestBytes: 512 * 1024,
  /** Bytes of a bundle. An attestation with an SBOM may be larger, but is not a signature. */
  bundleBytes: 1024 * 1024,
  /** Bytes of a simple-signing payload, or of one of its annotations. */
  payloadBytes: 64 * 1024,
  /** Bytes of a certificate, a timestamp or a signature. */
  itemBytes: 16 * 1024,
  /** Entries of the log, timestamps or certificates of one signature. */
  items: 8,
  /** Hashes of a proof of inclusion: more than any tree of 2^64 entries needs. */
  proofHashes: 64,
  /** Subjects of an in-toto statement. */
  subjects: 1024,
} as const;

/**
 * The bytes of a base64 text (RFC 4648, section 4). Node's decoder skips invalid characters, so this function refuses
 * them.
 */
export function base64(place: Place, maxBytes: number = SIGNATURE_LIMITS.itemBytes): Buffer {
  const text = place.text();
  if (text.length > Math.ceil(maxBytes / 3) * 4) throw place.fail(`has more than ${maxBytes} bytes`, 'too-large');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw place.fail('must be base64');
  return Buffer.from(text, 'base64');
}

/** The result of `parse`, or the reason why it cannot read a signature, as a clause. */
export function orFault<T>(parse: () => T): T | string {
  try {
    return parse();
  } catch (thrown) {
    return `it cannot be read (${asFailure(thrown, 'read signature', 'source').detail})`;
  }
}
