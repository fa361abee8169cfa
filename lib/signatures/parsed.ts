import type { Digest } from '../oci/digest.ts';
import { parseBundle } from './bundle.ts';
import { parseSimpleSigning } from './simple-signing.ts';
import type { FoundSignature } from './signature.ts';

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

/**
 * Parses a signature, and checks that it covers this image.
 *
 * @returns the reason why it is not, as a clause
 */
export function parseSignature(found: FoundSignature, image: SignedImage): ParsedSignature | string {
  return found.kind === 'bundle'
    ? parseBundle(found.bytes, image)
    : parseSimpleSigning(found.payload, found.annotations, image);
}
