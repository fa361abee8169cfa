/** Signatures as a registry stores them: as referrers, and under cosign's tags. */
import type { FoundSignature } from '../../lib/signatures/signature.ts';
import { sha256 } from './content.ts';
import { type Pushable, pushable } from './images.ts';

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const SIMPLE_SIGNING_TYPE = 'application/vnd.dev.cosign.simplesigning.v1+json';

/** A referrer with a Sigstore bundle, as cosign 3 pushes it. */
export function bundleReferrer(image: Pushable, { bytes }: FoundSignature & { kind: 'bundle' }): Pushable {
  const blob = Buffer.from(bytes);
  const empty = Buffer.from('{}');
  const { mediaType, digest, manifest } = image;
  return withBlobs(
    {
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      artifactType: BUNDLE_TYPE,
      config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: sha256(empty), size: empty.length },
      layers: [{ mediaType: BUNDLE_TYPE, digest: sha256(blob), size: blob.length }],
      subject: { mediaType, digest, size: manifest.length },
    },
    [empty, blob],
  );
}

/** The manifest of cosign's `.sig` tag. */
export function signatureManifest(signatures: readonly (FoundSignature & { kind: 'simple-signing' })[]): Pushable {
  const config = Buffer.from(
    JSON.stringify({
      architecture: '',
      os: '',
      config: {},
      rootfs: { type: 'layers', diff_ids: signatures.map(({ payload }) => sha256(Buffer.from(payload))) },
    }),
  );
  const layers = signatures.map(({ payload, annotations }) => ({
    mediaType: SIMPLE_SIGNING_TYPE,
    size: payload.length,
    digest: sha256(Buffer.from(payload)),
    annotations,
  }));
  const described = {
    mediaType: 'application/vnd.oci.image.config.v1+json',
    size: config.length,
    digest: sha256(config),
  };
  const manifest = { schemaVersion: 2, mediaType: MANIFEST_TYPE, config: described, layers };
  return withBlobs(manifest, [config, ...signatures.map(({ payload }) => Buffer.from(payload))]);
}

function withBlobs(manifest: object, blobs: readonly Buffer[]): Pushable {
  const base = pushable(Buffer.from(JSON.stringify(manifest)), MANIFEST_TYPE);
  return { ...base, blobs: new Map(blobs.map((blob) => [sha256(blob), blob])) };
}

/** The tag under which cosign stores the signatures of an image. */
export function signatureTag({ digest }: Pick<Pushable, 'digest'>): string {
  return `${digest.replace(':', '-')}.sig`;
}
