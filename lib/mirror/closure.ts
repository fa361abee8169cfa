/**
 * What a reference stands for, all the way down, and whether the archive holds all of it, proven. Both the finalizer
 * (before it writes a reference) and `verify` (afterwards) walk an image through here.
 */
import { Failure } from '../base/failure.ts';
import type { Archive } from '../archive/archive.ts';
import { parseImageConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import {
  type ImageManifest,
  type IndexManifest,
  MANIFEST_LIMITS,
  type Manifest,
  parseManifest,
} from '../oci/manifest.ts';
import { compressionOf, hasImageConfig, isForeignLayer, manifestKind, MEDIA_TYPES } from '../oci/mediatype.ts';
import type { Platform } from '../oci/platform.ts';
import { PlatformChoice } from '../oci/platform-choice.ts';
import type { LayerMessage, PlatformPolicy, Scope } from '../queue/messages.ts';
import { provenDiffId } from './receipts.ts';

export type Blob = LayerMessage['blob'];

/** Configs of images are small documents: moby refuses more than 4 MB as well. */
export const MAX_CONFIG_BYTES = 4 * 1024 * 1024;

/** How a closure is looked at: what is there is told, and nothing else is known of where it comes from. */
export interface ClosureReader {
  /** Whether a blob is proven, as whatever. */
  has(digest: Digest): Promise<boolean>;
  /** Verified bytes, or undefined where the archive lacks them. */
  content(digest: Digest, maxBytes: number): Promise<Uint8Array | undefined>;
  /** Size in bytes and diffID of a blob that is proven as this media type, or undefined. */
  proof(blob: Blob): Promise<{ readonly size: number; readonly diffId: Digest } | undefined>;
}

export type ClosureState =
  | {
      readonly complete: true;
      readonly bytes: number;
      /** Warnings, each a sentence. */
      readonly notes: readonly string[];
    }
  /** The first thing that is not there. */
  | { readonly complete: false; readonly missing: Digest };

/** A manifest of a closure; without `manifest` where the archive lacks it. */
export interface Node {
  readonly digest: Digest;
  readonly bytes: number;
  readonly manifest: Manifest | undefined;
}

/**
 * The manifests of a closure, parents first. Throws a Failure where one is corrupt or cannot be parsed, and at the end
 * where none of the platforms was there.
 */
export async function* traverse(
  root: Digest,
  platforms: PlatformPolicy,
  content: ClosureReader['content'],
  choice = new PlatformChoice(platforms),
): AsyncGenerator<Node, void, void> {
  const seen = new Set([root]);
  let level: readonly Pick<Descriptor, 'digest' | 'platform'>[] = [{ digest: root }];
  for (let depth = 0; level.length > 0; depth += 1) {
    const below: Descriptor[] = [];
    for (const { digest, platform } of level) {
      const bytes = await content(digest, MANIFEST_LIMITS.bytes);
      const manifest = bytes === undefined ? undefined : parseManifest(bytes);
      if (manifest?.kind === 'index') {
        if (depth >= MANIFEST_LIMITS.nesting)
          throw refuse(digest, 'too-deep', `indexes are nested more than ${MANIFEST_LIMITS.nesting} deep`);
        for (const child of childrenOf(manifest, choice))
          if (!seen.has(child.digest)) {
            seen.add(child.digest);
            below.push(child);
          }
      }
      yield { digest, bytes: bytes?.length ?? 0, manifest };
      if (manifest?.kind === 'image' && platform === undefined && !choice.matched)
        choice.image(await platformOf(manifest, content));
    }
    level = below;
  }
  choice.conclude();
}

async function platformOf(manifest: ImageManifest, content: ClosureReader['content']): Promise<Platform | undefined> {
  const bytes = hasImageConfig(manifest) ? await content(manifest.config.digest, MAX_CONFIG_BYTES) : undefined;
  return bytes === undefined ? undefined : parseImageConfig(bytes).platform;
}

/**
 * That an image which the archive holds has one of the platforms, without reading more of it than that takes.
 *
 * @throws {Failure} `no-platform`
 */
export async function checkPlatforms(
  root: Digest,
  platforms: PlatformPolicy,
  content: ClosureReader['content'],
): Promise<void> {
  const choice = new PlatformChoice(platforms);
  for await (const _ of traverse(root, platforms, content, choice)) if (choice.matched) return;
}

/** What a manifest refers to as large content. The config of an image is not: it is read, and checked, as a document. */
export function blobsOf(manifest: Manifest, { foreignLayers }: Pick<Scope, 'foreignLayers'>): readonly Blob[] {
  switch (manifest.kind) {
    case 'image': {
      const layers = manifest.layers.filter((layer) => !isLeftOut(layer, foreignLayers));
      return hasImageConfig(manifest) ? layers : [manifest.config, ...layers];
    }
    case 'artifact':
      return manifest.blobs;
    case 'schema1':
      // It does not say sizes; all its layers are gzip (distribution spec, schema 1).
      return manifest.layers
        .filter(({ throwaway }) => !throwaway)
        .map(({ digest }) => ({ digest, mediaType: MEDIA_TYPES.dockerLayerGzip }));
    case 'index':
      return manifest.manifests.filter((child) => !isManifest(child));
  }
}

function isLeftOut({ mediaType }: Descriptor, foreignLayers: Scope['foreignLayers']): boolean {
  return foreignLayers === 'skip' && isForeignLayer(mediaType);
}

/** The manifests of an index that are wanted. */
export function childrenOf({ manifests }: IndexManifest, choice: PlatformChoice): readonly Descriptor[] {
  return choice.among(manifests.filter(isManifest));
}

/**
 * An index may name anything, and what is unknown must not be an error (OCI image spec, image-index.md, `mediaType`):
 * BuildKit's build caches are indexes of layers. What is no manifest is a blob.
 */
function isManifest({ mediaType }: Descriptor): boolean {
  return manifestKind(mediaType) !== undefined;
}

/**
 * Walks a closure, the largest blob of each manifest first, and stops at the first one missing. Throws a Failure where
 * what is there does not fit together.
 */
export async function checkClosure(root: Digest, scope: Scope, reader: ClosureReader): Promise<ClosureState> {
  let sum = 0;
  for await (const { digest, bytes, manifest } of traverse(root, scope.platforms, (...of) => reader.content(...of))) {
    if (manifest === undefined) return { complete: false, missing: digest };
    const blobs = await checkBlobs(digest, blobsOf(manifest, scope), reader);
    if (!blobs.complete) return blobs;
    const config = manifest.kind === 'image' ? await checkConfig(digest, manifest, scope, reader) : NOTHING;
    if (!config.complete) return config;
    sum += bytes + blobs.bytes + config.bytes;
  }
  return { complete: true, bytes: sum, notes: [] };
}

const NOTHING: ClosureState = { complete: true, bytes: 0, notes: [] };

/** That the layers unpack to what the config says, in number and order (OCI image spec, config.md, rootfs.diff_ids). */
export async function checkConfig(
  digest: Digest,
  manifest: ImageManifest,
  { foreignLayers }: Pick<Scope, 'foreignLayers'>,
  reader: Pick<ClosureReader, 'content' | 'proof'>,
): Promise<ClosureState> {
  if (!hasImageConfig(manifest)) return NOTHING;
  const { config, layers } = manifest;
  const bytes = await reader.content(config.digest, MAX_CONFIG_BYTES);
  if (bytes === undefined) return { complete: false, missing: config.digest };
  const { diffIds } = parseImageConfig(bytes);
  if (diffIds.length !== layers.length)
    throw refuse(
      digest,
      'layers-mismatch',
      `layers from manifest don't match image configuration: ${layers.length} layers, but ${diffIds.length} diffIDs`,
    );
  for (const [at, layer] of layers.entries()) {
    if (isLeftOut(layer, foreignLayers)) continue;
    const proof = await reader.proof(layer);
    if (proof === undefined) return { complete: false, missing: layer.digest };
    if (proof.diffId !== diffIds[at])
      throw refuse(
        digest,
        'diffid-mismatch',
        `layers from manifest don't match image configuration: layer ${at} (${layer.digest}) unpacks to ` +
          `${proof.diffId}, config ${config.digest} says ${String(diffIds[at])}`,
      );
  }
  return { complete: true, bytes: bytes.length, notes: [] };
}

async function checkBlobs(digest: Digest, blobs: readonly Blob[], reader: ClosureReader): Promise<ClosureState> {
  const largestFirst = [...blobs].sort((a, b) => (b.size ?? 0) - (a.size ?? 0));
  let sum = 0;
  for (const blob of largestFirst) {
    const proof = await reader.proof(blob);
    if (proof === undefined) return { complete: false, missing: blob.digest };
    if (blob.size !== undefined && proof.size !== blob.size)
      throw refuse(
        digest,
        'size-mismatch',
        `blob ${blob.digest} has ${proof.size} bytes, its descriptor says ${blob.size}`,
      );
    sum += proof.size;
  }
  return { complete: true, bytes: sum, notes: [] };
}

/** What the archive holds already. What has rotted there is as good as not there: it is fetched, and replaced. */
export async function held(
  archive: Archive,
  digest: Digest,
  options: { readonly maxBytes: number; readonly signal: AbortSignal },
): Promise<Uint8Array | undefined> {
  try {
    return await archive.content(digest, options);
  } catch (error) {
    if (error instanceof Failure && error.code === 'corrupt') return undefined;
    throw error;
  }
}

/** The reader of the finalizer: receipts are the proof. */
export function receiptReader(archive: Archive, signal: AbortSignal): ClosureReader {
  return {
    has: async (digest) => (await archive.receipt(digest, { signal })) !== undefined,
    content: (digest, maxBytes) => archive.content(digest, { maxBytes, signal }),
    async proof(blob) {
      const receipt = await archive.receipt(blob.digest, { signal });
      if (receipt === undefined) return undefined;
      const declared = compressionOf(blob.mediaType);
      const diffId = provenDiffId(receipt, declared);
      if (diffId !== undefined) return { size: receipt.size, diffId };
      // Proven as plain bytes so far: the layer function is told to prove it as what this image says it is.
      if (receipt.compression === 'none') return undefined;
      throw refuse(
        blob.digest,
        'not-as-declared',
        `it is proven to be ${receipt.compression}, but ${blob.mediaType} says ${declared}`,
      );
    },
  };
}

function refuse(digest: Digest, code: Failure['code'], detail: string): Failure {
  return new Failure({ operation: `check ${digest}`, side: 'source', code, detail });
}
