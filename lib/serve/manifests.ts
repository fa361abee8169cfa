import type { Archive } from '../archive/archive.ts';
import { isProvenMember, memberOf } from '../archive/members.ts';
import { scopesOf, type TagIndex } from '../archive/tag-index/tag-index.ts';
import { Lru } from '../core/lru.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { MANIFEST_LIMITS, parseManifest } from '../oci/manifest.ts';
import { manifestKind } from '../oci/mediatype.ts';
import { PlatformChoice } from '../oci/platform-choice.ts';
import { RegistryError } from './errors.ts';
import type { Repository } from './repositories.ts';
import { soundContent } from './sound-content.ts';
import { withheldDigest, withheldTag } from './withheld.ts';

const MiB = 1024 * 1024;

/** The manifests in memory. They never change, so they need no revalidation. */
const CACHE_BYTES = 64 * MiB;
/** The maximum number of indexes that are searched for a child manifest without a record. */
const MAX_SEARCHED = 2_000;

export interface Found {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** Serves the manifests of a repository's images. */
export class Manifests {
  readonly #archive: Archive;
  readonly #onFault: (text: string) => void;
  readonly #bytes = new Lru<Digest, Uint8Array>(CACHE_BYTES, (bytes) => bytes.length + 1_000);
  /** The children of all indexes in a tag index, with their media types. */
  readonly #children = new WeakMap<TagIndex, Promise<ReadonlyMap<Digest, string>>>();

  constructor(archive: Archive, onFault: (text: string) => void) {
    this.#archive = archive;
    this.#onFault = onFault;
  }

  /** @throws RegistryError for a tag that the repository does not have or show, or did not have at `asOf` */
  async byTag(of: Repository, tag: string, asOf: number | undefined, signal: AbortSignal): Promise<Found> {
    const entry = asOf === undefined ? of.index.byTag(tag) : of.index.tagAsOf(tag, asOf);
    const when = asOf === undefined ? '' : ` at ${new Date(asOf).toISOString()}`;
    if (entry === undefined)
      throw (asOf === undefined ? withheldTag(of, tag) : undefined) ?? unknown(`${of.name} has no tag ${tag}${when}`);
    return await this.#read(of, entry.digest, entry.mediaType, signal);
  }

  /** @throws RegistryError for a digest that belongs to no image of the repository */
  async byDigest(of: Repository, digest: Digest, signal: AbortSignal): Promise<Found> {
    const mediaType =
      of.index.byDigest(digest)?.mediaType ??
      (await this.#recorded(of, digest, signal)) ??
      (await this.#childrenOf(of)).get(digest);
    if (mediaType === undefined)
      throw withheldDigest(of, digest) ?? unknown(`no image of ${of.name} has the manifest ${digest}; ${SPARSE}`);
    return await this.#read(of, digest, mediaType, signal);
  }

  /** The record finds the image with one read. Without it, all indexes of the repository are searched. */
  async #recorded(of: Repository, digest: Digest, signal: AbortSignal): Promise<string | undefined> {
    const member = await memberOf(this.#archive, of.name, digest, { signal });
    return member !== undefined && isProvenMember(of.index, member) ? member.mediaType : undefined;
  }

  async #read(of: Repository, digest: Digest, mediaType: string, signal: AbortSignal): Promise<Found> {
    const bytes = await this.#content(digest, signal);
    if (bytes !== undefined) return { digest, mediaType, bytes };
    this.#onFault(`serve ${of.name}@${digest}: the manifest is missing, corrupt or too large; run verify`);
    throw unknown(`the archive lacks the manifest ${digest}; ${SPARSE}`);
  }

  /** The bytes, if they match the digest; undefined if they are missing, corrupt, or larger than a manifest may be. */
  async #content(digest: Digest, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
    const known = this.#bytes.get(digest);
    if (known !== undefined) return known;
    const bytes = await soundContent(this.#archive, digest, { maxBytes: MANIFEST_LIMITS.bytes, signal });
    if (bytes !== undefined) this.#bytes.set(digest, bytes);
    return bytes;
  }

  /**
   * Searches once per version of a tag index, for all requests. The end of one request therefore does not abort the
   * search.
   */
  async #childrenOf(of: Repository): Promise<ReadonlyMap<Digest, string>> {
    const known = this.#children.get(of.index);
    if (known !== undefined) return await known;
    const searching = this.#search(of);
    this.#children.set(of.index, searching);
    try {
      return await searching;
    } catch (error) {
      this.#children.delete(of.index);
      throw error;
    }
  }

  /** The children that the entries are proven for. The archive may lack the layers of other children. */
  async #search({ index }: Repository): Promise<ReadonlyMap<Digest, string>> {
    const found = new Map<Digest, string>();
    let level: readonly Searched[] = indexesOf(index);
    for (let left = MAX_SEARCHED; level.length > 0 && left > 0; left -= level.length) {
      const below: Searched[] = [];
      for (const { digest, choice } of level.slice(0, left))
        for (const child of choice.among(await this.#childrenIn(digest))) {
          found.set(child.digest, child.mediaType);
          if (manifestKind(child.mediaType) === 'index') below.push({ digest: child.digest, choice });
        }
      level = below;
    }
    return found;
  }

  async #childrenIn(digest: Digest): Promise<readonly Descriptor[]> {
    const bytes = await this.#content(digest, undefined);
    if (bytes === undefined) return [];
    const manifest = parseManifest(bytes);
    return manifest.kind === 'index' ? manifest.manifests : [];
  }
}

/** The indexes of a tag index, each once for each set of platforms that it is proven for. */
function indexesOf(index: TagIndex): readonly Searched[] {
  const found = new Map<string, Searched>();
  for (const entry of index.entries()) {
    const { digest, mediaType } = entry;
    if (manifestKind(mediaType) !== 'index') continue;
    for (const { platforms } of scopesOf(entry))
      found.set(JSON.stringify([digest, platforms]), { digest, choice: new PlatformChoice(platforms) });
  }
  return [...found.values()];
}

/** An index to search, and the wanted platforms. */
interface Searched {
  readonly digest: Digest;
  readonly choice: PlatformChoice;
}

const SPARSE = 'an image may be archived for some of its platforms only, and mirror-sync ls lists them';

function unknown(message: string): RegistryError {
  return new RegistryError(404, 'MANIFEST_UNKNOWN', message);
}
