/** Reads two images from an archive, and compares them. The number of reads is bounded. */
import { Failure } from '../core/failure.ts';
import { plural } from '../core/format.ts';
import { Semaphore } from '../core/semaphore.ts';
import { settleAll } from '../core/settle-all.ts';
import { parseImageConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { parseManifest } from '../oci/manifest.ts';
import { hasImageConfig, manifestKind } from '../oci/mediatype.ts';
import { normalizePlatform, type Platform } from '../oci/platform.ts';
import { isAttestation, PlatformChoice } from '../oci/platform-choice.ts';
import { type Changes, changesOf, type Pair, pairsOf, type Part, type ReadPart } from './changes.ts';
import { type Layers, layersOf, type Settings, settingsIn, settingsOf } from './parts.ts';

/** Verified bytes, or undefined where the archive lacks them. */
export type ReadContent = (digest: Digest, maxBytes: number) => Promise<Uint8Array | undefined>;

export interface Comparison {
  readonly previous: Digest;
  readonly digest: Digest;
  /** The mirrored platforms of an index. */
  readonly platforms: 'all' | readonly Platform[];
}

/**
 * The maximum number of images of one platform that are read on each side, in addition to the root, its config and
 * nested indexes.
 */
const MAX_IMAGES = 16;
/** The maximum number of nested indexes that are read on each side. */
const MAX_NESTED = 4;
/** Larger manifests and configs are not compared. An index of 1,024 images has less than half of this. */
const MAX_MANIFEST_BYTES = 1024 * 1024;
const MAX_CONFIG_BYTES = 1024 * 1024;
/** The number of concurrent reads. */
const SIDE_BY_SIDE = 4;

/**
 * Compares two images in the archive. Reads at most 78 objects: 39 on each side.
 *
 * @throws Failure for a temporary error of the archive; an image that cannot be read is named in the notes
 */
export async function compareImages(
  { previous, digest, platforms }: Comparison,
  content: ReadContent,
): Promise<Changes> {
  const reader = new Reader(content);
  const [before, after] = await settleAll([reader.images(previous, platforms), reader.images(digest, platforms)]);
  const pairs = before === undefined || after === undefined ? [] : pairsOf(before, after);
  const chosen = pairs.slice(0, MAX_IMAGES);
  const permits = new Semaphore(SIDE_BY_SIDE);
  const part = (of: Part | undefined): Promise<ReadPart | undefined> =>
    permits.with(async () => (of === undefined ? undefined : await reader.part(of)));
  const read = await settleAll(
    chosen.map(async (pair): Promise<Pair<ReadPart>> => ({
      before: await part(pair.before),
      after: await part(pair.after),
    })),
  );
  return changesOf(pairs, read, [
    ...reader.notes,
    ...(chosen.length < pairs.length ? [`${chosen.length} of ${plural(pairs.length, 'platform')} are compared`] : []),
  ]);
}

/** The parts of a manifest that a comparison needs. A whole manifest may take fifty times as much memory. */
interface Outline {
  readonly layers: Layers;
  readonly platform: Platform | undefined;
  readonly settings: Settings | undefined;
  /** The children of an index. */
  readonly children: readonly Descriptor[] | undefined;
}

class Reader {
  readonly notes: string[] = [];
  readonly #content: ReadContent;
  /** An image that is on both sides is read once. */
  readonly #outlines = new Map<Digest, Promise<Outline | undefined>>();

  constructor(content: ReadContent) {
    this.#content = content;
  }

  /** The images of a reference; undefined if it cannot be read. */
  async images(root: Digest, platforms: Comparison['platforms']): Promise<readonly Part[] | undefined> {
    const outline = await this.#outline(root);
    if (outline === undefined) return undefined;
    const { children, platform } = outline;
    if (children === undefined) return [{ platform, digest: root }];
    return this.#below(children, new PlatformChoice(platforms), { left: MAX_NESTED });
  }

  async #below(
    children: readonly Descriptor[],
    choice: PlatformChoice,
    nested: { left: number },
  ): Promise<readonly Part[]> {
    const parts: Part[] = [];
    for (const child of choice.among(children)) {
      const { platform, digest, mediaType } = child;
      const kind = manifestKind(mediaType);
      if (kind === undefined || isAttestation(child)) continue;
      if (kind !== 'index')
        parts.push({ platform: platform === undefined ? undefined : normalizePlatform(platform), digest });
      else if (nested.left > 0) {
        nested.left -= 1;
        const below = (await this.#outline(digest))?.children ?? [];
        for (const part of await this.#below(below, choice, nested)) parts.push(part);
      } else this.#note('some nested indexes are not compared');
    }
    return parts;
  }

  async part(part: Part): Promise<ReadPart | undefined> {
    const outline = await this.#outline(part.digest);
    return outline === undefined ? undefined : { ...part, layers: outline.layers, settings: outline.settings };
  }

  #outline(digest: Digest): Promise<Outline | undefined> {
    const known = this.#outlines.get(digest);
    if (known !== undefined) return known;
    const reading = this.#read(digest);
    this.#outlines.set(digest, reading);
    return reading;
  }

  async #read(digest: Digest): Promise<Outline | undefined> {
    const bytes = await this.#bytes(digest, MAX_MANIFEST_BYTES);
    const manifest = bytes === undefined ? undefined : await this.#readable(digest, () => parseManifest(bytes));
    if (manifest === undefined) return undefined;
    const layers = layersOf(manifest);
    const nothing = { layers, platform: undefined, settings: undefined, children: undefined };
    switch (manifest.kind) {
      case 'index':
        return { ...nothing, children: manifest.manifests };
      case 'artifact':
        return nothing;
      case 'schema1': {
        const { architecture } = manifest;
        const platform = architecture === '' ? undefined : { os: 'linux', architecture };
        return { ...nothing, platform, settings: settingsOf(manifest.layers.at(-1)?.v1 ?? {}) };
      }
      case 'image': {
        const config = hasImageConfig(manifest) ? await this.#config(manifest.config) : undefined;
        if (config === undefined) return nothing;
        const platform = await this.#readable(manifest.config.digest, () => parseImageConfig(config).platform);
        const normal = platform === undefined ? undefined : normalizePlatform(platform);
        return { ...nothing, platform: normal, settings: settingsIn(config) };
      }
    }
  }

  async #config({ digest, size }: Descriptor): Promise<Uint8Array | undefined> {
    if (size <= MAX_CONFIG_BYTES) return this.#bytes(digest, MAX_CONFIG_BYTES);
    this.#note(`config ${digest} has ${size} bytes and is not compared`);
    return undefined;
  }

  #bytes(digest: Digest, maxBytes: number): Promise<Uint8Array | undefined> {
    return this.#readable(digest, async () => {
      const bytes = await this.#content(digest, maxBytes);
      if (bytes === undefined) this.#note(`${digest} is not in the archive`);
      return bytes;
    });
  }

  /** The result of a read; undefined, with a note, for a document that is corrupt or cannot be parsed. */
  async #readable<T>(digest: Digest, read: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof Failure) || error.remedy !== 'never') throw error;
      this.#note(`${digest} cannot be compared: ${error.detail}`);
      return undefined;
    }
  }

  #note(note: string): void {
    if (!this.notes.includes(note)) this.notes.push(note);
  }
}
