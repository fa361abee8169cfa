/** Checks unchanged images for new referrers (policy/referrer-checks.ts). */
import { defined } from '../../core/defined.ts';
import { Failure } from '../../core/failure.ts';
import type { TagEntry, TagIndex } from '../../archive/tag-index/tag-index.ts';
import type { Digest } from '../../oci/digest.ts';
import { nextCheck } from '../../policy/referrer-checks.ts';
import type { Wanted } from '../../queue/messages.ts';
import { held, traverse } from '../closure.ts';
import type { TagChoice } from '../context.ts';
import { imageName } from '../events.ts';
import { isTemporary } from '../delivery.ts';
import type { SliceWork } from './order.ts';
import { checkOf, findReferrers, orderReferrers } from './referrers.ts';

/** The images of a repository that one run checks. */
const MAX_DUE = 200;

/**
 * The tags whose check is due, as many as a run may check. If more checks are due, as in an archive of an earlier
 * release, the newest and the oldest come first, so that neither a new signature nor an old image waits for all others.
 */
export function dueEntries(index: TagIndex, choice: TagChoice, now: number): readonly TagEntry[] {
  const byTag = new Map(index.entries().flatMap((entry) => (entry.tag === undefined ? [] : [[entry.tag, entry]])));
  const due = [...choice.page([...byTag.keys()]), ...choice.end()]
    .flatMap((tag) => byTag.get(tag) ?? [])
    .map((entry) => ({ entry, at: nextCheck(entry) ?? Infinity }))
    .filter(({ at }) => at <= now)
    .sort((a, b) => b.at - a.at)
    .map(({ entry }) => entry);
  return due.length <= MAX_DUE ? due : [...due.slice(0, MAX_DUE / 2), ...due.slice(-MAX_DUE / 2)];
}

/**
 * Checks an unchanged image for new referrers.
 *
 * @returns warnings, each a sentence
 */
export async function checkReferrers(slice: SliceWork, wanted: Wanted, entry: TagEntry): Promise<readonly string[]> {
  const { policy, referrers } = slice;
  if (policy.referrers === 'none') return [];
  const search = await findReferrers(slice, await manifestsOf(slice, entry.digest));
  const { checked: at, awaited } = checkOf(search.checked, await orderReferrers(slice, wanted, search));
  const { digest, mediaType, size, tag, observed } = entry;
  if (at !== undefined)
    referrers.checks.push({
      image: defined({ digest, mediaType, size, tag, observed }),
      check: defined({ tag, digest, at, awaited }),
    });
  return search.notes;
}

/** The same, but separate from the event of the image: a problem of the check is reported as a failed referrer. */
export async function checkApart(slice: SliceWork, entry: TagEntry): Promise<void> {
  const { context, message } = slice;
  const { tag, digest, mediaType, size, observed } = entry;
  const wanted = tag === undefined ? { digest } : { tag };
  const notes = await checkReferrers(slice, wanted, entry);
  if (notes.length === 0) return;
  const name = imageName(message, { digest, mediaType, size, observed, subject: digest, root: wanted });
  context.observe({ type: 'image', status: 'failed', ...name, reason: notes.join('; ') });
}

/** The manifests of an image in the archive. */
async function manifestsOf({ context, message, signal }: SliceWork, root: Digest): Promise<readonly Digest[]> {
  const manifests = [root];
  const content = (digest: Digest, maxBytes: number): Promise<Uint8Array | undefined> =>
    held(context.archive, digest, { maxBytes, signal });
  try {
    for await (const { digest, manifest } of traverse(root, message.platforms, content))
      if (manifest !== undefined && digest !== root) manifests.push(digest);
  } catch (error) {
    // `verify` reports an image that cannot be read.
    if (!(error instanceof Failure) || isTemporary(error)) throw error;
  }
  return manifests;
}
