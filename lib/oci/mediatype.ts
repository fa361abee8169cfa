import type { Compression } from './compression.ts';

/** The layers whose diffID is the digest of a tar archive. */
const TAR_LAYERS = {
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  ociForeignLayer: 'application/vnd.oci.image.layer.nondistributable.v1.tar',
  ociForeignLayerGzip: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  ociForeignLayerZstd: 'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerLayerZstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
  dockerForeignLayer: 'application/vnd.docker.image.rootfs.foreign.diff.tar',
  dockerForeignLayerGzip: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  dockerForeignLayerZstd: 'application/vnd.docker.image.rootfs.foreign.diff.tar.zstd',
} as const;

/** OCI image spec 1.1, "Media Types"; Docker image manifest v2, schemas 1 and 2. */
export const MEDIA_TYPES = {
  ...TAR_LAYERS,
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociEmpty: 'application/vnd.oci.empty.v1+json',
  /** Exists only in the release candidates of image spec 1.1, but was pushed with them. */
  ociArtifact: 'application/vnd.oci.artifact.manifest.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  schema1: 'application/vnd.docker.distribution.manifest.v1+json',
  schema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
} as const;

export type ManifestKind = 'image' | 'index' | 'artifact' | 'schema1';

/** In the order of preference: schema1 comes last, because some registries convert manifests for old clients. */
const MANIFEST_KINDS: ReadonlyMap<string, ManifestKind> = new Map<string, ManifestKind>([
  [MEDIA_TYPES.ociIndex, 'index'],
  [MEDIA_TYPES.dockerList, 'index'],
  [MEDIA_TYPES.ociManifest, 'image'],
  [MEDIA_TYPES.dockerManifest, 'image'],
  [MEDIA_TYPES.ociArtifact, 'artifact'],
  [MEDIA_TYPES.schema1Signed, 'schema1'],
  [MEDIA_TYPES.schema1, 'schema1'],
]);

/**
 * The Accept header of every manifest request. Without it registries convert the manifest, which changes its digest.
 */
export const ACCEPT_MANIFESTS: string = [...MANIFEST_KINDS.keys()].join(', ');

/** Removes parameters and letter case, as RFC 9110, section 8.3.1, compares media types. */
export function essence(mediaType: string): string {
  return (mediaType.split(';', 1)[0] ?? '').trim().toLowerCase();
}

export function manifestKind(mediaType: string): ManifestKind | undefined {
  return MANIFEST_KINDS.get(essence(mediaType));
}

/** The types that Docker pushed for its config before it settled on one (distribution#1621), and still pulls. */
const OLD_DOCKER_CONFIGS: ReadonlySet<string> = new Set([
  'application/octet-stream',
  'application/json',
  'text/html',
  '',
]);

/** Whether the config of a manifest has a rootfs with diffIDs; configs of other artifacts do not describe layers. */
export function hasImageConfig(manifest: {
  readonly mediaType: string;
  readonly config: { readonly mediaType: string };
}): boolean {
  const type = essence(manifest.config.mediaType);
  if (type === MEDIA_TYPES.ociConfig || type === MEDIA_TYPES.dockerConfig) return true;
  return essence(manifest.mediaType) === MEDIA_TYPES.dockerManifest && OLD_DOCKER_CONFIGS.has(type);
}

/** Layers that cannot be unpacked without a key (containers/ocicrypt). */
export function isEncryptedLayer(mediaType: string): boolean {
  return essence(mediaType).endsWith('+encrypted');
}

/** Layers that may not be distributed: registries often lack them, and they are fetched from their own URLs. */
export function isForeignLayer(mediaType: string): boolean {
  const type = essence(mediaType);
  return type.startsWith(MEDIA_TYPES.ociForeignLayer) || type.startsWith(MEDIA_TYPES.dockerForeignLayer);
}

const TAR_LAYER_TYPES: ReadonlySet<string> = new Set(Object.values(TAR_LAYERS));

/** Whether a layer is a tar archive. Blobs of every other type are opaque, whatever their suffix is. */
export function isTarLayer(mediaType: string): boolean {
  return TAR_LAYER_TYPES.has(essence(mediaType));
}

/**
 * The compression that a tar media type declares; the actual compression of the bytes may differ (`compression.ts`).
 */
export function compressionOf(mediaType: string): Compression {
  const suffix = /[+.](gzip|zstd)$/.exec(essence(mediaType))?.[1];
  return suffix === 'gzip' || suffix === 'zstd' ? suffix : 'none';
}
