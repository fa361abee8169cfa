/**
 * Adds an OCI image beside a schema 1 image. The archive keeps the schema 1 manifest as upstream served it, and few
 * tools still read it. The OCI image needs only the archive: its config consists of the history and the proven diffIDs.
 */
import { Failure, invalid } from '../core/failure.ts';
import type { Archive } from '../archive/archive.ts';
import type { TagChange } from '../archive/tag-index/tag-index.ts';
import { type Digest, digestOf } from '../oci/digest.ts';
import { MANIFEST_LIMITS, parseManifest, type Schema1Manifest } from '../oci/manifest.ts';
import { MEDIA_TYPES } from '../oci/mediatype.ts';
import { formatReference, formatRepository, type Reference } from '../oci/reference.ts';
import { imageConfigFromSchema1 } from '../oci/schema1-config.ts';
import { claimsOf } from '../sync/claims.ts';
import { checkClosure, type ClosureReader } from '../sync/closure.ts';
import { receiptReader } from '../sync/receipt-reader.ts';

export interface ConvertOptions {
  /** The tag to write. */
  readonly as: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly signal: AbortSignal;
}

/** Resolves to the digest of the OCI image, once the tag names it. The same image always gives the same digest. */
export async function convertSchema1(archive: Archive, reference: Reference, options: ConvertOptions): Promise<Digest> {
  const { as, now, signal } = options;
  const operation = `convert ${formatReference(reference)}`;
  const repository = formatRepository(reference);
  const { tag, digest } = reference;
  if (as === tag) throw invalid(operation, `${as} is its own tag, which the next sync would move back; choose another`);
  const index = (await archive.tagIndex(repository, { signal }))?.index;
  const entry = digest === undefined ? index?.byTag(tag ?? '') : index?.byDigest(digest);
  if (entry === undefined) throw invalid(operation, `it is not in ${archive.store.name}`);
  const bytes = await archive.content(entry.digest, { maxBytes: MANIFEST_LIMITS.bytes, signal });
  const manifest = bytes === undefined ? undefined : parseManifest(bytes);
  if (manifest === undefined) throw incomplete(operation, entry.digest);
  if (manifest.kind !== 'schema1')
    throw invalid(operation, `it is not a schema 1 image but ${manifest.mediaType}, and needs no conversion`);

  const reader = receiptReader(archive, signal);
  const { config, image } = await imageOf(manifest, reader, operation);
  await archive.putContent(digestOf(config), config, { signal });
  const converted = digestOf(image);
  await archive.putContent(converted, image, { signal });
  const descriptor = { mediaType: MEDIA_TYPES.ociManifest, digest: converted, size: image.length };
  const complete = async (): Promise<readonly TagChange[]> => {
    const state = await checkClosure(converted, { platforms: 'all' }, reader);
    if (!state.complete) throw incomplete(operation, state.missing);
    return [{ tag: as, descriptor, observed: now, platforms: 'all' }];
  };
  await archive.updateTags(repository, complete, { signal });
  return converted;
}

/** The converted image declares the actual compression of the bytes. */
const LAYER_TYPES = {
  gzip: MEDIA_TYPES.ociLayerGzip,
  zstd: MEDIA_TYPES.ociLayerZstd,
  none: MEDIA_TYPES.ociLayer,
} as const;

async function imageOf(
  manifest: Schema1Manifest,
  reader: ClosureReader,
  operation: string,
): Promise<{ readonly config: Uint8Array; readonly image: Uint8Array }> {
  const diffIds: Digest[] = [];
  const layers: object[] = [];
  for (const blob of claimsOf(manifest, undefined, {}).blobs) {
    const { size, compression = 'none', diffIds: proven } = (await reader.proof(blob)) ?? {};
    if (size === undefined || proven?.sha256 === undefined) throw incomplete(operation, blob.digest);
    diffIds.push(proven.sha256);
    layers.push({ mediaType: LAYER_TYPES[compression], digest: blob.digest, size });
  }
  const config = imageConfigFromSchema1(manifest, diffIds);
  const image = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: { mediaType: MEDIA_TYPES.ociConfig, digest: digestOf(config), size: config.length },
    layers,
  };
  return { config, image: Buffer.from(JSON.stringify(image)) };
}

function incomplete(operation: string, missing: Digest): Failure {
  const detail = `the archive has no proof of ${missing}; sync it again`;
  return new Failure({ operation, side: 'archive', code: 'corrupt', detail });
}
