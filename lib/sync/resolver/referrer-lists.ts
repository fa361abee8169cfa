/** The tags `sha256-…` in a list of tags: most name a list of referrers, and some an image. */
import { defined } from '../../core/defined.ts';
import type { TagIndex } from '../../archive/tag-index/tag-index.ts';
import { type Manifest, parseManifest } from '../../oci/manifest.ts';
import { isReferrersTag, subjectOfTag } from '../../oci/referrer-tags.ts';
import type { ResolveMessage } from '../../queue/messages.ts';
import { ReferrerList } from '../../registry/referrer-list.ts';
import type { SliceWork, Sought } from './order.ts';
import { orderReferrers } from './referrers.ts';

/** Whether a tag was found in a list of tags, and may name a list of referrers instead of an image. */
export function mayNameList({ what }: ResolveMessage, tag: string): boolean {
  return what.kind === 'images' && what.listed === true && isReferrersTag(tag);
}

/** Whether a tag names the list of referrers of an archived image, whose checks read that list. */
export function isListOfArchived(tag: string, index: TagIndex | undefined): boolean {
  const subject = isReferrersTag(tag) ? subjectOfTag(tag) : undefined;
  return subject !== undefined && index?.byDigest(subject) !== undefined && index.byTag(tag) === undefined;
}

/**
 * Whether a tag of a list names a list of referrers. It is not mirrored as an image, because `serve` answers the referrers
 * API. Its referrers are mirrored, because upstream may have no tag for their subject.
 */
export async function isListOfReferrers(slice: SliceWork, { found, name, wanted, observed }: Sought): Promise<boolean> {
  const { context, message, policy } = slice;
  const { tag, fetched } = found;
  const subject = tag !== undefined && mayNameList(message, tag) ? subjectOfTag(tag) : undefined;
  if (subject === undefined || fetched === undefined) return false;
  if (!isList(parseManifest(fetched.bytes, fetched.mediaType))) return false;
  const list = new ReferrerList(subject, undefined);
  list.addPage(fetched.bytes, `resolve ${name.reference}`);
  const referrers = list.manifests.map((referrer) => ({ referrer, subject, observed }));
  if (policy.referrers !== 'none') await orderReferrers(slice, wanted, { found: referrers });
  const notes = list.notes.length === 0 ? undefined : list.notes;
  const reason = `a list of the referrers of ${subject}, which are mirrored without it`;
  context.observe({ type: 'image', status: 'unchanged', ...name, reason, ...defined({ notes }) });
  return true;
}

/** Whether a manifest may be a list of referrers. Only the entries of an image with several platforms have platforms. */
function isList(manifest: Manifest): boolean {
  return manifest.kind === 'index' && manifest.manifests.every(({ platform }) => platform === undefined);
}
