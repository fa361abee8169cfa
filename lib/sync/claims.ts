/**
 * The claims of an image about its blobs: which blobs it has, and which diffIDs its config names for them. The resolver
 * requests blobs by these claims; the finalizer and `verify` check them (decision 0002).
 */
import { Failure } from '../core/failure.ts';
import { type ImageConfig, parseImageConfig } from '../oci/config.ts';
import { type Descriptor } from '../oci/descriptor.ts';
import { type Digest, digestParts } from '../oci/digest.ts';
import type { ImageManifest, Manifest } from '../oci/manifest.ts';
import {
  hasImageConfig,
  isEncryptedLayer,
  isForeignLayer,
  isTarLayer,
  manifestKind,
  MEDIA_TYPES,
} from '../oci/mediatype.ts';
import { show } from '../oci/show.ts';
import type { LayerMessage, Scope } from '../queue/messages.ts';

export type Blob = LayerMessage['blob'];

export interface Claims {
  /** Every blob that is part of the image as it is mirrored, in the order of the manifest. */
  readonly blobs: readonly Blob[];
  /** The diffIDs that the config names, base first. */
  readonly diffIds: readonly Digest[] | undefined;
  /** The parsed config, where it was read. */
  readonly config: ImageConfig | undefined;
  readonly notes: readonly string[];
}

/** The document that contains the claims of a manifest about its layers; undefined if it has none. */
export function claimingConfig(manifest: Manifest): Descriptor | undefined {
  return manifest.kind === 'image' && hasImageConfig(manifest) ? manifest.config : undefined;
}

/**
 * @param config the bytes of the document that `claimingConfig` names
 * @throws {Failure} `layers-mismatch` where the config names more or fewer diffIDs than there are layers
 */
export function claimsOf(
  manifest: Manifest,
  config: Uint8Array | undefined,
  scope: Pick<Scope, 'foreignLayers'>,
): Claims {
  const nothing = { diffIds: undefined, config: undefined, notes: [] };
  switch (manifest.kind) {
    case 'image':
      if (config !== undefined) return claimsOfImage(manifest, parseImageConfig(config), scope);
      return { ...nothing, blobs: [manifest.config, ...withoutForeign(manifest.layers, scope)].map(opaque) };
    case 'artifact':
      return { ...nothing, blobs: manifest.blobs.map(opaque) };
    case 'schema1':
      // Schema 1 contains neither sizes nor diffIDs; `convert` needs diffIDs (distribution spec, schema 1: all its
      // layers are gzip).
      return {
        ...nothing,
        blobs: manifest.layers
          .filter(({ throwaway }) => !throwaway)
          .map(({ digest }) => ({ digest, mediaType: MEDIA_TYPES.dockerLayerGzip, diffIds: ['sha256'] })),
      };
    case 'index':
      return { ...nothing, blobs: manifest.manifests.filter((child) => !isManifest(child)).map(opaque) };
  }
}

/** The blobs of a manifest whose claims cannot be read, so that only digests and sizes can be checked. */
export function unclaimedBlobs(manifest: Manifest, scope: Pick<Scope, 'foreignLayers'>): readonly Blob[] {
  return manifest.kind === 'image'
    ? withoutForeign(manifest.layers, scope).map(opaque)
    : claimsOf(manifest, undefined, scope).blobs;
}

function claimsOfImage(
  { config: { digest }, layers }: ImageManifest,
  config: ImageConfig,
  scope: Pick<Scope, 'foreignLayers'>,
): Claims {
  const { diffIds } = config;
  if (diffIds === undefined)
    return { config, diffIds, blobs: withoutForeign(layers, scope).map(opaque), notes: ['no diffIDs claimed'] };
  if (diffIds.length !== layers.length)
    throw new Failure({
      operation: 'compare layers with config',
      side: 'input',
      code: 'layers-mismatch',
      detail:
        `layers from manifest don't match image configuration: ${layers.length} layers, but ` +
        `${diffIds.length} diffIDs in config ${digest}`,
    });
  const notes: string[] = [];
  const blobs: Blob[] = [];
  for (const [at, layer] of layers.entries()) {
    const diffId = diffIds[at];
    if (diffId === undefined || isLeftOut(layer, scope)) continue;
    if (isTarLayer(layer.mediaType)) blobs.push({ ...layer, diffIds: [digestParts(diffId).algorithm] });
    else {
      blobs.push(opaque(layer));
      if (isEncryptedLayer(layer.mediaType))
        notes.push(`layer ${layer.digest} is encrypted: its diffID cannot be proven`);
      else if (diffId !== layer.digest)
        notes.push(`layer ${layer.digest} is of type ${show(layer.mediaType)}: its diffID cannot be proven`);
    }
  }
  return { config, diffIds, blobs, notes };
}

/** A blob for which only digest and size are claimed. */
function opaque(blob: Descriptor): Blob {
  return { ...blob, diffIds: [] };
}

function withoutForeign(layers: readonly Descriptor[], scope: Pick<Scope, 'foreignLayers'>): readonly Descriptor[] {
  return layers.filter((layer) => !isLeftOut(layer, scope));
}

/** A foreign layer of an image whose policy leaves it out. */
export function isLeftOut({ mediaType }: Pick<Descriptor, 'mediaType'>, scope: Pick<Scope, 'foreignLayers'>): boolean {
  return scope.foreignLayers === 'skip' && isForeignLayer(mediaType);
}

/**
 * Whether a child of an index is a manifest. An index may name anything, and an unknown type must not be an error (OCI
 * image spec, image-index.md, `mediaType`): BuildKit's build caches are indexes of layers. A child that is not a
 * manifest is a blob.
 */
export function isManifest({ mediaType }: Pick<Descriptor, 'mediaType'>): boolean {
  return manifestKind(mediaType) !== undefined;
}
