/**
 * Walks from a root manifest down to the blobs. Small content is fetched, proven and stored on the way; large blobs are
 * listed. An image whose layers and diffIDs cannot fit together is refused here, before a layer is fetched.
 */
import { Failure } from '../../core/failure.ts';
import { Semaphore } from '../../core/semaphore.ts';
import { settleAll } from '../../core/settle-all.ts';
import type { Archive } from '../../archive/archive.ts';
import { defined } from '../../core/defined.ts';
import { type Descriptor, knownContent } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { type Manifest, MANIFEST_LIMITS, parseManifest } from '../../oci/manifest.ts';
import { isForeignLayer } from '../../oci/mediatype.ts';
import { isAttestation, PlatformChoice } from '../../oci/platform-choice.ts';
import type { Scope } from '../../queue/messages.ts';
import type { FetchedManifest, Source } from '../../registry/source.ts';
import { claimsOf } from '../claims.ts';
import { childrenOf, held, MAX_CONFIG_BYTES } from '../closure.ts';
import { isLargeManifest, turnToFetch } from '../large-manifests.ts';
import { algorithmsOf } from '../../proof/algorithms.ts';
import { inTurn, needsOf, type NeededBlob, opened } from './parsing.ts';

/** The number of URLs of a foreign layer that are tried. */
const MAX_URLS = 4;

/**
 * The characters of embedded content that are kept until the blobs of an image are ordered. Embedded content is meant to
 * be small; what exceeds the limit is fetched.
 */
const MAX_EMBEDDED = 256 * 1024;

/** Manifests of one image that are fetched concurrently; the host's connections limit them further. */
const SIDE_BY_SIDE = 8;

export interface Walked {
  readonly mediaType: string;
  /** Bytes of the root manifest. */
  readonly size: number;
  /** Every blob once. */
  readonly blobs: readonly NeededBlob[];
  /** Every manifest once, the root first. */
  readonly manifests: readonly Digest[];
  /** Attestations that are left out, because upstream lacks their config or one of their blobs. */
  readonly lost: readonly Digest[];
  /** Bytes that the walk itself fetched. */
  readonly fetchedBytes: number;
}

export interface WalkOptions {
  readonly source: Source;
  readonly archive: Archive;
  readonly scope: Scope;
  readonly signal: AbortSignal;
  /** Bytes of the root manifest, if they are known. */
  readonly size?: number | undefined;
  /** Called before each manifest is read. */
  readonly onManifest?: ((digest: Digest) => void) | undefined;
}

/** The registry does not have the root manifest of a walk. */
export class RootUnknown extends Error {
  override readonly name = 'RootUnknown';
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message, { cause: failure });
    this.failure = failure;
  }
}

/**
 * @param root the result of an earlier GET, if any
 * @throws RootUnknown where the registry does not have it
 */
export async function walk(digest: Digest, root: FetchedManifest | undefined, options: WalkOptions): Promise<Walked> {
  return new Walk(options).run(digest, root);
}

/** The parts of a parsed manifest that are still needed. */
interface Read {
  readonly mediaType: string;
  readonly size: number;
  /** The wanted children of an index. */
  readonly children: readonly Child[] | undefined;
}

type Child = Pick<Descriptor, 'digest' | 'size' | 'mediaType' | 'platform' | 'data'> & {
  /** Whether the image is mirrored even without it. */
  readonly optional: boolean;
};

class Walk {
  readonly #o: WalkOptions;
  readonly #blobs = new Map<Digest, NeededBlob>();
  readonly #seen = new Set<Digest>();
  readonly #permits = new Semaphore(SIDE_BY_SIDE);
  readonly #choice: PlatformChoice;
  readonly #lost: Digest[] = [];
  #fetchedBytes = 0;
  #embedded = 0;

  constructor(options: WalkOptions) {
    this.#o = options;
    this.#choice = new PlatformChoice(options.scope.platforms);
  }

  async run(digest: Digest, root: FetchedManifest | undefined): Promise<Walked> {
    this.#seen.add(digest);
    const { mediaType, size, children } = await this.#read(digest, undefined, root, this.#o.size).catch(
      (error: unknown) => {
        throw error instanceof Failure && error.code === 'manifest-unknown' ? new RootUnknown(error) : error;
      },
    );
    await this.#descend(digest, children, 1);
    this.#told(digest, () => {
      this.#choice.conclude();
    });
    const [blobs, manifests, lost] = [[...this.#blobs.values()], [...this.#seen], this.#lost];
    return { mediaType, size, blobs, manifests, lost, fetchedBytes: this.#fetchedBytes };
  }

  async #descend(parent: Digest, children: readonly Child[] | undefined, depth: number): Promise<void> {
    if (children === undefined) return;
    if (depth > MANIFEST_LIMITS.nesting)
      throw this.#refuse(parent, 'too-deep', `indexes are nested more than ${MANIFEST_LIMITS.nesting} deep`);
    const fresh: Child[] = [];
    for (const child of children) {
      if (this.#seen.has(child.digest)) continue;
      this.#seen.add(child.digest);
      fresh.push(child);
    }
    const { manifests: limit } = MANIFEST_LIMITS;
    if (this.#seen.size > limit) throw this.#refuse(parent, 'too-large', `the image has more than ${limit} manifests`);
    await settleAll(fresh.map((child) => this.#child(child, depth)));
  }

  async #child(child: Child, depth: number): Promise<void> {
    const { digest } = child;
    let read: Read;
    try {
      read = await this.#permits.with(() => this.#read(digest, child));
    } catch (error) {
      if (!child.optional || !(error instanceof Failure)) throw error;
      // The finalizer adds a note, since the archive lacks the manifest as well.
      if (error.code === 'manifest-unknown') return;
      if (error.code !== 'blob-unknown' || error.side !== 'source') throw error;
      this.#lost.push(digest);
      return;
    }
    await this.#descend(digest, read.children, depth + 1);
  }

  /** Reads a manifest of an expected size. Only one large manifest of each registry is in memory at a time. */
  async #read(digest: Digest, child?: Child, brought?: FetchedManifest, size = 0): Promise<Read> {
    const { source, signal, onManifest } = this.#o;
    onManifest?.(digest);
    const expected = child?.size ?? brought?.bytes.length ?? size;
    using _turn = await turnToFetch(expected, source.repository, signal);
    const { bytes, fetched } = await this.#bytes(digest, child, brought);
    if (!isLargeManifest(bytes.length) || isLargeManifest(expected))
      return await this.#parse(digest, bytes, fetched, child);
    if (child !== undefined) throw this.#wrongSize(child, bytes.length);
    // It is read again in its turn, so that it is not in memory while it waits.
    return await this.#read(digest, undefined, undefined, bytes.length);
  }

  /** A manifest is read from the archive if it is there, because registries count the requests for manifests. */
  async #bytes(
    digest: Digest,
    child: Child | undefined,
    brought: FetchedManifest | undefined,
  ): Promise<{ readonly bytes: Uint8Array; readonly fetched?: Partial<Pick<FetchedManifest, 'mediaType'>> }> {
    const { archive, source, signal } = this.#o;
    if (brought !== undefined) return { bytes: brought.bytes, fetched: brought };
    const kept = await held(archive, digest, { maxBytes: MANIFEST_LIMITS.bytes, signal });
    if (kept !== undefined) return { bytes: kept };
    const known = child === undefined ? undefined : knownContent(child);
    if (known !== undefined) return { bytes: known, fetched: {} };
    const fetched = await source.manifest(digest, { signal });
    return { bytes: fetched.bytes, fetched };
  }

  /** Parses a manifest, and reads its config. A large manifest is dropped while its config arrives, and then parsed again. */
  async #parse(
    digest: Digest,
    bytes: Uint8Array,
    fetched: Partial<Pick<FetchedManifest, 'mediaType'>> | undefined,
    child: Child | undefined,
  ): Promise<Read> {
    const { archive, scope, signal } = this.#o;
    const parse = (): Manifest =>
      child === undefined ? parseManifest(bytes, fetched?.mediaType) : parseManifest(bytes, child.mediaType, 'index');
    const first = await inTurn(bytes, signal, () => opened(this.#told(digest, parse), bytes));
    const { length: size } = first.content;
    if (fetched !== undefined) {
      this.#fetchedBytes += bytes.length;
      await archive.putContent(digest, first.content, { signal });
    }
    if (child !== undefined && size !== child.size) throw this.#wrongSize(child, size);
    const config = first.config === undefined ? undefined : await this.#config(first.config);
    const { children, ...needs } = await inTurn(bytes, signal, () =>
      this.#told(digest, () => {
        const manifest = first.manifest ?? parse();
        const needs = needsOf(manifest, claimsOf(manifest, config, scope));
        const chosen = manifest.kind === 'index' ? childrenOf(manifest, this.#choice) : undefined;
        return { ...needs, children: chosen?.map((each) => this.#slim(each)) };
      }),
    );
    if (child?.optional === true) await this.#requireUpstream(needs.blobs);
    if (needs.isImage && child?.platform === undefined) this.#choice.image(needs.platform);
    for (const blob of needs.blobs) this.#need(blob);
    return { mediaType: needs.mediaType, size, children };
  }

  /** Drops the annotations, which may be megabytes in a large index. */
  #slim(child: Descriptor): Child {
    const { digest, size, mediaType, platform } = child;
    const data = this.#keep(child.data);
    const optional = this.#o.scope.platforms !== 'all' && isAttestation(child);
    return defined({ digest, size, mediaType, platform, data, optional });
  }

  #keep(data: string | undefined): string | undefined {
    if (data === undefined || this.#embedded + data.length > MAX_EMBEDDED) return undefined;
    this.#embedded += data.length;
    return data;
  }

  #need(blob: NeededBlob): void {
    const { digest, size } = blob;
    // URLs count only for foreign layers: otherwise any manifest could direct mirrors to a third party.
    const urls = isForeignLayer(blob.mediaType) ? blob.urls?.slice(0, MAX_URLS) : undefined;
    const known = this.#blobs.get(digest);
    if (known?.size !== undefined && size !== undefined && known.size !== size)
      throw this.#refuse(digest, 'size-mismatch', `the image says both ${known.size} and ${size} bytes of it`);
    const data = known?.data ?? this.#keep(blob.data);
    const before = known === undefined ? [] : algorithmsOf(known);
    const diffIds = [...new Set([...before, ...algorithmsOf(blob)])];
    // Where one declaration is opaque and the other has diffIDs, the diffIDs have to be proven.
    const { mediaType } = known === undefined || before.length === 0 ? blob : known;
    this.#blobs.set(digest, defined({ digest, mediaType, size, urls: urls ?? known?.urls, data, diffIds }));
    const { blobs: limit } = MANIFEST_LIMITS;
    if (this.#blobs.size > limit) throw this.#refuse(digest, 'too-large', `the image has more than ${limit} blobs`);
  }

  /**
   * Checks that each blob is in the archive or upstream. Only the resolver can leave out an attestation, because a
   * layer function knows one blob and not the rest of the image.
   *
   * @throws {Failure} `blob-unknown`
   */
  async #requireUpstream(blobs: readonly NeededBlob[]): Promise<void> {
    const { archive, source, signal } = this.#o;
    for (const blob of blobs) {
      if (knownContent(blob) !== undefined || (await archive.receipt(blob.digest, { signal })) !== undefined) continue;
      const { body } = await source
        .blob(blob.digest, { signal, ...defined({ size: blob.size }) })
        .open({ start: 0, end: 1 });
      await body[Symbol.asyncIterator]().return?.();
    }
  }

  /** Adds the manifest's digest to the failure of a pure function. */
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
    const known = kept ?? knownContent(config);
    const bytes = known ?? (await source.smallBlob(digest, { maxBytes: MAX_CONFIG_BYTES, size, signal }));
    if (bytes.length !== size)
      throw this.#refuse(digest, 'size-mismatch', `expected a config of ${size} bytes, got ${bytes.length}`);
    if (kept === undefined) {
      if (known === undefined) this.#fetchedBytes += bytes.length;
      await archive.putContent(digest, bytes, { signal });
    }
    return bytes;
  }

  #operation(digest: Digest): string {
    return `resolve ${this.#o.source.repository}@${digest}`;
  }

  #wrongSize({ digest, size }: Child, found: number): Failure {
    return this.#refuse(digest, 'size-mismatch', `expected ${size} bytes, got ${found}`);
  }

  #refuse(digest: Digest, code: Failure['code'], detail: string): Failure {
    return new Failure({ operation: this.#operation(digest), side: 'source', code, detail });
  }
}
