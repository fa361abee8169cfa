/**
 * Sizes and platforms of images, from their manifests. A page reads a bounded number of manifests, and the server keeps a
 * bounded number of outlines: they never change.
 */
import type { Archive } from '../../archive/archive.ts';
import { scopesOf, type TagEntry } from '../../archive/tag-index/tag-index.ts';
import { defined } from '../../core/defined.ts';
import { Lru } from '../../core/lru.ts';
import { settleAll } from '../../core/settle-all.ts';
import { parseImageConfig } from '../../oci/config.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { MANIFEST_LIMITS, type Manifest, parseManifest } from '../../oci/manifest.ts';
import { hasImageConfig, isForeignLayer } from '../../oci/mediatype.ts';
import { formatPlatform } from '../../oci/platform.ts';
import { PlatformChoice } from '../../oci/platform-choice.ts';
import { soundContent } from '../sound-content.ts';
import { parsed, type Reads } from './reads.ts';

const MiB = 1024 * 1024;

/** The approximate number of characters of all outlines in memory. */
const KEPT = 32 * MiB;
/** A larger config is not read for its platform. */
const MAX_CONFIG_BYTES = MiB;

/** The part of a manifest that gives sizes and platforms. */
interface Outline {
  /** The manifest, its config and its blobs, with their bytes. */
  readonly objects: readonly (readonly [Digest, number])[];
  /** The foreign layers among them. */
  readonly foreign: ReadonlySet<Digest>;
  readonly children: readonly Descriptor[];
  /** The config of an image. */
  readonly config: Descriptor | undefined;
}

/** The images of one or more references. */
export interface Summary {
  /** All objects, with their bytes. */
  readonly objects: Map<Digest, number>;
  readonly platforms: Set<string>;
  /** False if the limit of reads was reached before. */
  isWhole: boolean;
}

export function emptySummary(): Summary {
  return { objects: new Map(), platforms: new Set(), isWhole: true };
}

export function bytesOf({ objects }: Summary): number {
  let sum = 0;
  for (const size of objects.values()) sum += size;
  return sum;
}

/** An image, and the platforms that it is proven for. */
type Outlined = Pick<TagEntry, 'digest' | 'mediaType' | 'size' | 'platforms' | 'skipping'>;

export class Outlines {
  readonly #archive: Archive;
  readonly #outlines = new Lru<Digest, Outline>(
    KEPT,
    ({ objects, children }) => 500 + 150 * (objects.length + children.length),
  );
  readonly #platforms = new Lru<Digest, string>(10_000);

  constructor(archive: Archive) {
    this.#archive = archive;
  }

  /** Adds an image to a summary, as far as it is in the archive. */
  async add(image: Outlined, summary: Summary, reads: Reads): Promise<void> {
    const [scope] = scopesOf(image);
    const choice = new PlatformChoice(scope.platforms);
    const context = { choice, summary, reads, skipsForeign: scope.foreignLayers === 'skip' };
    await this.#walk([image], 0, context);
  }

  async #walk(level: readonly Descriptor[], depth: number, context: Walk): Promise<void> {
    if (level.length === 0 || depth > MANIFEST_LIMITS.nesting) return;
    const { summary, reads, choice, skipsForeign } = context;
    const found = await settleAll(level.map((descriptor) => this.#outline(descriptor.digest, reads)));
    const below: Descriptor[] = [];
    for (const outline of found) {
      if (outline === 'none-left') summary.isWhole = false;
      if (typeof outline !== 'object') continue;
      for (const [digest, size] of outline.objects)
        if (!(skipsForeign && outline.foreign.has(digest))) summary.objects.set(digest, size);
      for (const child of choice.among(outline.children)) below.push(child);
    }
    const platforms = level.map(async ({ platform }, at) => {
      const outline = found[at];
      if (typeof outline !== 'object') return undefined;
      return platform === undefined ? await this.#platformIn(outline.config, reads) : formatPlatform(platform);
    });
    for (const platform of await settleAll(platforms))
      if (platform === 'none-left') summary.isWhole = false;
      else if (platform !== undefined && !platform.startsWith('unknown/')) summary.platforms.add(platform);
    await this.#walk(below, depth + 1, context);
  }

  /** Undefined for a manifest that the archive lacks, or that is corrupt. */
  async #outline(digest: Digest, reads: Reads): Promise<Outline | 'none-left' | undefined> {
    const known = this.#outlines.get(digest);
    if (known !== undefined) return known;
    const bytes = await this.#content(digest, MANIFEST_LIMITS.bytes, reads);
    if (bytes === 'none-left' || bytes === undefined) return bytes;
    const manifest = parsed(() => parseManifest(bytes));
    if (manifest === undefined) return undefined;
    const outline = outlineOf(digest, bytes.length, manifest, await this.#unsized(manifest, reads));
    this.#outlines.set(digest, outline);
    return outline;
  }

  async #platformIn(config: Descriptor | undefined, reads: Reads): Promise<string | undefined> {
    if (config === undefined || config.size > MAX_CONFIG_BYTES) return undefined;
    const known = this.#platforms.get(config.digest);
    if (known !== undefined) return known === '' ? undefined : known;
    const bytes = await this.#content(config.digest, MAX_CONFIG_BYTES, reads);
    if (bytes === 'none-left' || bytes === undefined) return bytes;
    const platform = parsed(() => parseImageConfig(bytes))?.platform;
    const text = platform && formatPlatform(platform);
    this.#platforms.set(config.digest, text ?? '');
    return text;
  }

  #content(digest: Digest, maxBytes: number, reads: Reads): Promise<Uint8Array | 'none-left' | undefined> {
    return reads.read(() => soundContent(this.#archive, digest, { maxBytes, signal: reads.signal }));
  }

  /** A schema 1 manifest has no sizes; receipts have them. */
  async #unsized(manifest: Manifest, reads: Reads): Promise<readonly (readonly [Digest, number])[]> {
    if (manifest.kind !== 'schema1') return [];
    const { signal } = reads;
    const sizes = manifest.layers.map(async ({ digest }) => {
      const receipt = await reads.read(() => this.#archive.receipt(digest, { signal }));
      return [digest, typeof receipt === 'object' ? receipt.size : 0] as const;
    });
    return await settleAll(sizes);
  }
}

interface Walk {
  readonly choice: PlatformChoice;
  readonly summary: Summary;
  readonly reads: Reads;
  readonly skipsForeign: boolean;
}

function outlineOf(
  digest: Digest,
  size: number,
  manifest: Manifest,
  unsized: readonly (readonly [Digest, number])[],
): Outline {
  const blobs = blobsOf(manifest);
  return {
    objects: [[digest, size], ...blobs.map((blob) => [blob.digest, blob.size] as const), ...unsized],
    foreign: new Set(blobs.filter(({ mediaType }) => isForeignLayer(mediaType)).map((blob) => blob.digest)),
    children: manifest.kind === 'index' ? manifest.manifests.map(slim) : [],
    config: manifest.kind === 'image' && hasImageConfig(manifest) ? slim(manifest.config) : undefined,
  };
}

function blobsOf(manifest: Manifest): readonly Descriptor[] {
  switch (manifest.kind) {
    case 'image':
      return [manifest.config, ...manifest.layers];
    case 'artifact':
      return manifest.blobs;
    case 'index':
    case 'schema1':
      return [];
  }
}

const ATTESTS = 'vnd.docker.reference.digest';

/** A descriptor without its content, and with only the annotation that names an attestation. */
function slim({ mediaType, digest, size, platform, annotations }: Descriptor): Descriptor {
  const of = annotations?.[ATTESTS];
  return defined({ mediaType, digest, size, platform, annotations: of === undefined ? undefined : { [ATTESTS]: of } });
}
