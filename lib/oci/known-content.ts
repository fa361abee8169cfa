import { type Digest, digestOf, digestParts } from './digest.ts';

/** Content that need not be fetched: zero bytes, and the OCI empty descriptor's `{}` (OCI image spec, manifest.md). */
const FAMILIAR: readonly Uint8Array[] = [new Uint8Array(0), Buffer.from('{}')];

/**
 * The bytes of a descriptor that are known without a request: its own `data` (OCI image spec, descriptor.md), and the
 * content above. Digest and size are checked, and bytes that do not match are ignored.
 */
export function knownContent(descriptor: {
  readonly digest: Digest;
  readonly size?: number;
  /** Base64. */
  readonly data?: string;
}): Uint8Array | undefined {
  const { digest, size, data } = descriptor;
  const carried = data === undefined ? [] : [Buffer.from(data, 'base64')];
  return [...FAMILIAR, ...carried].find(
    (bytes) => bytes.length === size && digestOf(bytes, digestParts(digest).algorithm) === digest,
  );
}
