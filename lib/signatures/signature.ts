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

/** Limits that bound the work for the signatures of a hostile registry. */
export const SIGNATURE_LIMITS = {
  /** The maximum number of signatures of one image that are checked. */
  signatures: 64,
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
