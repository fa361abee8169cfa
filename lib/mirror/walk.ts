/**
 * From a root manifest down to the blobs: everything small is fetched, proven and stored on the way; what is large is
 * named. An image whose layers and diffIDs cannot fit together is refused here, before a single layer is fetched.
 */
import { Failure } from '../base/failure.ts';
import { Permits } from '../base/permits.ts';
import { settleAll } from '../base/settle-all.ts';
import type { Archive } from '../archive/archive.ts';
import { type ImageConfig, parseImageConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { type ImageManifest, MANIFEST_LIMITS, type Manifest, parseManifest } from '../oci/manifest.ts';
import { compressionOf, hasImageConfig, isEncryptedLayer, MEDIA_TYPES } from '../oci/mediatype.ts';
import { PlatformChoice } from '../oci/platform-choice.ts';
import type { Scope } from '../queue/messages.ts';
import type { FetchedManifest, Source } from '../registry/source.ts';
import { type Blob, blobsOf, childrenOf, held, MAX_CONFIG_BYTES } from './closure.ts';

/** Manifests of one image that are fetched side by side; the host's connections bound them once more. */
const SIDE_BY_SIDE = 8;

export interface Walked {
  readonly mediaType: string;
  /** Bytes of the root manifest. */
  readonly size: number;
  /** Every blob once. */
  readonly blobs: readonly Blob[];
  /** Bytes that had to be fetched for the walk itself. */
  readonly fetchedBytes: number;
}

export interface WalkOptions {
  readonly source: Source;
  readonly archive: Archive;
  readonly scope: Scope;
  readonly signal: AbortSignal;
}

/** The registry does not have the manifest that a walk begins with. */
export class RootUnknown extends Error {
  override readonly name = 'RootUnknown';
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message, { cause: failure });
    this.failure = failure;
  }
}

/**
 * @param root what a GET has brought already, if anything
 * @throws RootUnknown where the registry does not have it
 */
export async function walk(digest: Digest, root: FetchedManifest | undefined, options: WalkOptions): Promise<Walked> {
  return new Walk(options).run(digest, root);
}

class Walk {
  readonly #o: WalkOptions;
  readonly #blobs = new Map<Digest, Blob>();
  readonly #seen = new Set<Digest>();
  readonly #permits = new Permits(SIDE_BY_SIDE);
  readonly #choice: PlatformChoice;
  #fetchedBytes = 0;

  constructor(options: WalkOptions) {
    this.#o = options;
    this.#choice = new PlatformChoice(options.scope.platforms);
  }

  async run(digest: Digest, root: FetchedManifest | undefined): Promise<Walked> {
    this.#seen.add(digest);
    const { mediaType, size, manifest } = await this.#manifest(digest, root).catch((error: unknown) => {
      throw error instanceof Failure && error.code === 'manifest-unknown' ? new RootUnknown(error) : error;
    });
    await this.#descend({ digest }, manifest, 1);
    this.#told(digest, () => {
      this.#choice.conclude();
    });
    return { mediaType, size, blobs: [...this.#blobs.values()], fetchedBytes: this.#fetchedBytes };
  }

  async #descend(from: Pick<Descriptor, 'digest' | 'platform'>, manifest: Manifest, depth: number): Promise<void> {
    const { digest, platform } = from;
    if (manifest.kind === 'image') {
      const config = await this.#checkNumbers(digest, manifest);
      if (platform === undefined) this.#choice.image(config?.platform);
    }
    for (const blob of blobsOf(manifest, this.#o.scope)) this.#need(blob);
    if (manifest.kind === 'index') await this.#children(digest, childrenOf(manifest, this.#choice), depth);
  }

  async #children(parent: Digest, children: readonly Descriptor[], depth: number): Promise<void> {
    if (depth > MANIFEST_LIMITS.nesting)
      throw this.#refuse(parent, 'too-deep', `indexes are nested more than ${MANIFEST_LIMITS.nesting} deep`);
    const fresh: Descriptor[] = [];
    for (const child of children) {
      if (this.#seen.has(child.digest)) continue;
      this.#seen.add(child.digest);
      fresh.push(child);
    }
    const { manifests: limit } = MANIFEST_LIMITS;
    if (this.#seen.size > limit) throw this.#refuse(parent, 'too-large', `the image has more than ${limit} manifests`);
    const walked = fresh.map(async (child) => {
      const { manifest, size } = await this.#permits.with(() => this.#manifest(child.digest, undefined, child));
      if (size !== child.size)
        throw this.#refuse(child.digest, 'size-mismatch', `it has ${size} bytes, the index says ${child.size}`);
      await this.#descend(child, manifest, depth + 1);
    });
    await settleAll(walked);
  }

  /** An image whose layers and diffIDs differ in number can never be right. */
  async #checkNumbers(digest: Digest, manifest: ImageManifest): Promise<ImageConfig | undefined> {
    if (!hasImageConfig(manifest)) return undefined;
    const { config, layers } = manifest;
    const locked = layers.find(({ mediaType }) => isEncryptedLayer(mediaType));
    if (locked !== undefined)
      throw this.#refuse(
        digest,
        'unsupported',
        `layer ${locked.digest} is encrypted (${locked.mediaType}): without its key nobody can prove what it unpacks to`,
      );
    const bytes = await this.#config(config);
    const read = this.#told(config.digest, () => parseImageConfig(bytes));
    const { diffIds } = read;
    if (diffIds.length !== layers.length)
      throw this.#refuse(
        digest,
        'layers-mismatch',
        `layers from manifest don't match image configuration: ${layers.length} layers, but ` +
          `${diffIds.length} diffIDs in config ${config.digest}`,
      );
    return read;
  }

  #need(blob: Blob): void {
    const { digest, mediaType, size, urls } = blob;
    const known = this.#blobs.get(digest);
    if (known?.size !== undefined && size !== undefined && known.size !== size)
      throw this.#refuse(digest, 'size-mismatch', `the image says both ${known.size} and ${size} bytes of it`);
    // Declared twice, once as compressed: that is the proof that both can live with.
    const more =
      known !== undefined && compressionOf(known.mediaType) === 'none' && compressionOf(mediaType) !== 'none';
    if (known !== undefined && !more) return;
    this.#blobs.set(digest, {
      digest,
      mediaType,
      ...(size === undefined ? {} : { size }),
      ...(urls === undefined ? {} : { urls }),
    });
  }

  /** A manifest that the archive holds already costs upstream nothing: registries count these requests. */
  async #manifest(
    digest: Digest,
    brought: FetchedManifest | undefined,
    descriptor?: Descriptor,
  ): Promise<{ manifest: Manifest; mediaType: string; size: number }> {
    const { archive, source, signal } = this.#o;
    const kept =
      brought === undefined ? await held(archive, digest, { maxBytes: MANIFEST_LIMITS.bytes, signal }) : undefined;
    const fetched = kept === undefined ? (brought ?? (await source.manifest(digest, { signal }))) : undefined;
    const bytes = kept ?? fetched?.bytes ?? new Uint8Array();
    const manifest = this.#told(digest, () => parseManifest(bytes, descriptor?.mediaType ?? fetched?.mediaType));
    if (fetched !== undefined) {
      this.#fetchedBytes += bytes.length;
      await archive.putContent(digest, contentOf(manifest, bytes), { signal });
    }
    // What is kept of a signed schema1 manifest is not signed any more, and so of the other type.
    const mediaType = manifest.kind === 'schema1' ? MEDIA_TYPES.schema1 : manifest.mediaType;
    return { manifest, mediaType, size: contentOf(manifest, bytes).length };
  }

  /** What a pure function refuses is told with what it was about. */
  #told<T>(digest: Digest, read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw error instanceof Failure ? error.within(this.#operation(digest), 'source') : error;
    }
  }

  async #config(config: Descriptor): Promise<Uint8Array> {
    const { archive, source, signal } = this.#o;
    const { digest, size } = config;
    if (size > MAX_CONFIG_BYTES)
      throw this.#refuse(digest, 'too-large', `the config has ${size} bytes, more than ${MAX_CONFIG_BYTES}`);
    const kept = await held(archive, digest, { maxBytes: MAX_CONFIG_BYTES, signal });
    const bytes = kept ?? (await source.smallBlob(digest, { maxBytes: MAX_CONFIG_BYTES, size, signal }));
    if (bytes.length !== size)
      throw this.#refuse(digest, 'size-mismatch', `the config has ${bytes.length} bytes, the manifest says ${size}`);
    if (kept === undefined) {
      this.#fetchedBytes += bytes.length;
      await archive.putContent(digest, bytes, { signal });
    }
    return bytes;
  }

  #operation(digest: Digest): string {
    return `resolve ${this.#o.source.repository}@${digest}`;
  }

  #refuse(digest: Digest, code: Failure['code'], detail: string): Failure {
    return new Failure({ operation: this.#operation(digest), side: 'source', code, detail });
  }
}

/** A signed schema1 manifest's digest is that of its payload: that is what can be kept under it. */
function contentOf(manifest: Manifest, bytes: Uint8Array): Uint8Array {
  return manifest.kind === 'schema1' ? manifest.payload : bytes;
}
