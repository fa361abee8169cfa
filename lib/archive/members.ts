/**
 * Records the child manifests of the indexes of a repository, which its tag index does not name. The finalizer writes a record
 * per child before it writes the reference. A record is not a proof: it names the root of the child, and the tag index
 * states whether the archive has that root. So a server needs one read to decide whether a manifest belongs to a
 * repository, and ignores a record that outlives its image.
 */
import { Failure } from '../core/failure.ts';
import { settleEach } from '../core/settle-all.ts';
import type { Digest } from '../oci/digest.ts';
import { Place } from '../oci/document.ts';
import { formatPlatform, parsePlatform } from '../oci/platform.ts';
import type { Cancel } from '../store/store.ts';
import type { Archive } from './archive.ts';
import { isWithin, type Platforms, scopesOf, type TagIndex } from './tag-index/tag-index.ts';

/** 100 platforms with long names. */
const MAX_MEMBER_BYTES = 65_536;
const MAX_PLATFORMS = 100;

/** The number of concurrent writes. */
const SIDE_BY_SIDE = 8;

/** A child manifest of an image. */
export interface Member {
  readonly mediaType: string;
  /** The digest of the image. */
  readonly root: Digest;
  /** The platforms with which the image was proven; the child is one of them, or an index above one. */
  readonly platforms: Platforms;
}

/** Records manifests. Repeating it is safe. A manifest of several images has only the record of the last image. */
export async function recordMembers(
  { store, layout }: Archive,
  repository: string,
  members: ReadonlyMap<Digest, Member>,
  options: Cancel = {},
): Promise<void> {
  await settleEach(members, SIDE_BY_SIDE, async ([digest, { mediaType, root, platforms: proven }]) => {
    const platforms = proven === 'all' ? proven : proven.map(formatPlatform);
    const bytes = Buffer.from(`${JSON.stringify({ version: 2, mediaType, root, platforms })}\n`);
    await store.put(layout.member(repository, digest), bytes, { contentType: 'application/json', ...options });
  });
}

/** The record of a manifest; undefined without one, and for a record of an earlier release, which names no root. */
export async function memberOf(
  { store, layout }: Archive,
  repository: string,
  digest: Digest,
  options: Cancel = {},
): Promise<Member | undefined> {
  const key = layout.member(repository, digest);
  const found = await store.get(key, { maxBytes: MAX_MEMBER_BYTES, ...options });
  if (found === undefined) return undefined;
  try {
    return readMember(Place.ofBytes(`read ${key}`, found.bytes));
  } catch (error) {
    // The next sync of the image writes it again.
    if (error instanceof Failure) return undefined;
    throw error;
  }
}

function readMember(place: Place): Member | undefined {
  if (!place.at('root').given) return undefined;
  const platforms = place.at('platforms');
  return {
    mediaType: place.at('mediaType').mediaType(),
    root: place.at('root').digest(),
    platforms: platforms.is('all') ? 'all' : platforms.list(MAX_PLATFORMS).map((each) => parsePlatform(each.text())),
  };
}

/** Whether a tag index names the image of a manifest, with proof for its platforms. */
export function isProvenMember(index: TagIndex, { root, platforms }: Member): boolean {
  const entry = index.byDigest(root);
  return entry !== undefined && scopesOf(entry).some((scope) => isWithin(platforms, scope.platforms));
}
