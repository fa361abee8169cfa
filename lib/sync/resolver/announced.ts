/**
 * Referrers that a push or a request announces: their subjects are checked at once, and an image without the required signature is
 * verified again. An announcement is a hint, and decides nothing: the lists of upstream and the policy do.
 */
import { memberOf } from '../../archive/members.ts';
import type { TagEntry } from '../../archive/tag-index/tag-index.ts';
import { heldIn } from '../../archive/tag-index/withheld.ts';
import { defined } from '../../core/defined.ts';
import { Failure } from '../../core/failure.ts';
import type { Digest } from '../../oci/digest.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { referralOf } from '../../oci/referral.ts';
import { subjectOfTag } from '../../oci/referrer-tags.ts';
import type { Wanted } from '../../queue/messages.ts';
import { ALL_TAGS } from './list-tags.ts';
import type { Found, SliceWork } from './order.ts';

/** Announces the subject of a referrer's tag that is requested itself, if the tag is new, or its subject lacks a signature. */
export function announce({ referrers, index, message: { what } }: SliceWork, { tag, digest }: Found): void {
  const subject = tag === undefined ? undefined : subjectOfTag(tag);
  if (tag === undefined || subject === undefined || (what.kind === 'images' && what.listed === true)) return;
  const isKnown = index?.byTag(tag)?.digest === digest;
  const isUnverified = index?.control.unverified.some((each) => each.digest === subject) === true;
  if (!isKnown || isUnverified) referrers.announced.add(subject);
}

/** The subject of an announced referrer; undefined if upstream has no such referrer. */
export async function announcedSubject(
  { source, index, signal }: SliceWork,
  { tag, digest }: Wanted,
): Promise<Digest | undefined> {
  if (tag !== undefined) return subjectOfTag(tag);
  if (digest === undefined) return undefined;
  const known = index?.byDigest(digest)?.subject;
  if (known !== undefined) return known;
  try {
    const { bytes, mediaType } = await source.manifest(digest, { signal });
    return referralOf(parseManifest(bytes, mediaType)).subject;
  } catch (error) {
    if (error instanceof Failure && error.remedy === 'never' && error.code !== 'aborted') return undefined;
    throw error;
  }
}

/** The images that an announced referrer concerns. */
export interface Concerned {
  /** The image to check: the subject itself, or the one that it is a part of. */
  readonly entry: TagEntry | undefined;
  /** Images that lack the required signature. */
  readonly unverified: readonly Wanted[];
}

/** A rejected image is neither in the index nor held, so it is not found. */
export async function concernedBy(slice: SliceWork, subject: Digest): Promise<Concerned> {
  const { index, context, message, signal } = slice;
  if (index === undefined) return { entry: undefined, unverified: [] };
  const choice = context.chooseTags?.(message) ?? ALL_TAGS;
  const isWanted = ({ tag }: Wanted): boolean =>
    tag === undefined || [...choice.page([tag]), ...choice.end()].length > 0;
  const all = [...index.entries(), ...heldIn(index).map(({ entry }) => entry)];
  const entryOf = (root: Digest | undefined): TagEntry | undefined =>
    all.find((entry) => entry.digest === root && isWanted(defined({ tag: entry.tag })));
  const unverified = index.control.unverified
    .filter(({ digest }) => digest === subject)
    .map(({ tag, digest }) => (tag === undefined ? { digest } : { tag }))
    .filter(isWanted);
  const entry =
    entryOf(subject) ?? entryOf((await memberOf(context.archive, message.repository, subject, { signal }))?.root);
  return { entry, unverified };
}
