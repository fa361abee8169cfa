/** Fetches the signatures of an image from upstream, with a bound on their number and size. */
import { asFailure, Failure } from '../../core/failure.ts';
import type { Archive } from '../../archive/archive.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { MANIFEST_LIMITS, type Manifest, parseManifest } from '../../oci/manifest.ts';
import type { FetchedManifest, Referrer, Referrers, Source } from '../../registry/source.ts';
import { type FoundSignature, SIGNATURE_LIMITS } from '../../signatures/signature.ts';
import { held } from '../closure.ts';

/** The artifact types of signatures. A list may lack the type, or name that of the config instead. */
const ARTIFACT_TYPE =
  /^application\/vnd\.(?:dev\.sigstore\.bundle[\w.+;=-]*|dev\.cosign\.artifact\.sig\.v1\+json|oci\.image\.config\.v1\+json|oci\.empty\.v1\+json)$/;

const BUNDLE = /^application\/vnd\.dev\.sigstore\.bundle(?:\.v0\.\d+)?\+json(?:;version=0\.\d+)?$/;
const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';

/** A signature with its content: the manifest and the blob. */
export type FetchedSignature = FoundSignature & { readonly content: readonly (readonly [Digest, Uint8Array])[] };

export interface FetchOptions {
  readonly source: Source;
  readonly archive: Archive;
  readonly signal: AbortSignal;
}

/**
 * Fetches each signature when the reader asks for it, so that only one of an image is in memory.
 *
 * @param onFault takes the signatures that could not be read, each as a clause
 * @throws Failure for a temporary problem, so that no image counts as unverified because of it
 */
export async function* fetchSignatures(
  referrers: Referrers,
  options: FetchOptions,
  onFault: (clause: string) => void,
): AsyncGenerator<FetchedSignature, void> {
  let left: number = SIGNATURE_LIMITS.signatures;
  const candidates = referrers.manifests.filter(
    ({ artifactType }) => artifactType === undefined || ARTIFACT_TYPE.test(artifactType),
  );
  for (const referrer of candidates.slice(0, SIGNATURE_LIMITS.signatures))
    try {
      for await (const found of signaturesOf(referrer, options)) {
        yield found;
        left -= 1;
        if (left === 0) return;
      }
    } catch (thrown) {
      const failure = asFailure(thrown, 'read signature', 'source');
      if (failure.remedy !== 'never') throw failure;
      onFault(`signature ${referrer.tag ?? referrer.digest}: it cannot be read (${failure.detail})`);
    }
}

/** The signatures that one manifest names. */
async function* signaturesOf(
  { digest, mediaType, tag, size = 0 }: Referrer,
  options: FetchOptions,
): AsyncGenerator<FetchedSignature, void> {
  checkSize(digest, size, SIGNATURE_LIMITS.manifestBytes);
  const bytes = await manifestBytes(digest, undefined, options);
  checkSize(digest, bytes.length, SIGNATURE_LIMITS.manifestBytes);
  for (const layer of layersOf(parseManifest(bytes, mediaType))) {
    const isBundle = BUNDLE.test(layer.mediaType);
    if (!isBundle && layer.mediaType !== SIMPLE_SIGNING) continue;
    const blob = await blobOf(layer, isBundle ? SIGNATURE_LIMITS.bundleBytes : SIGNATURE_LIMITS.payloadBytes, options);
    const common = { name: tag ?? digest, content: [[digest, bytes] as const, [layer.digest, blob] as const] };
    yield isBundle
      ? { kind: 'bundle', bytes: blob, ...common }
      : { kind: 'simple-signing', payload: blob, annotations: layer.annotations ?? {}, ...common };
  }
}

async function blobOf(
  { digest, size }: Descriptor,
  maxBytes: number,
  { archive, source, signal }: FetchOptions,
): Promise<Uint8Array> {
  checkSize(digest, size, maxBytes);
  const kept = await held(archive, digest, { maxBytes, signal });
  return kept ?? source.smallBlob(digest, { maxBytes, size, signal });
}

function checkSize(digest: Digest, size: number, maxBytes: number): void {
  if (size <= maxBytes) return;
  const detail = `expected at most ${maxBytes} bytes, got ${size}`;
  throw new Failure({ operation: `read ${digest}`, side: 'source', code: 'too-large', detail });
}

/** The bytes of a manifest, which is fetched only if the archive lacks it. */
export async function manifestBytes(
  digest: Digest,
  fetched: FetchedManifest | undefined,
  { archive, source, signal }: FetchOptions,
): Promise<Uint8Array> {
  const kept = fetched?.bytes ?? (await held(archive, digest, { maxBytes: MANIFEST_LIMITS.bytes, signal }));
  return kept ?? (await source.manifest(digest, { signal })).bytes;
}

function layersOf(manifest: Manifest): readonly Descriptor[] {
  if (manifest.kind === 'image') return manifest.layers;
  return manifest.kind === 'artifact' ? manifest.blobs : [];
}
