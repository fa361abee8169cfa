/** Decides by the policy in the tag index whether an image that was found upstream needs no request to upstream. */
import { covers } from '../../archive/tag-index/tag-index.ts';
import { currentOf, decisionIn, heldAs, heldFor } from '../../archive/tag-index/withheld.ts';
import type { Digest } from '../../oci/digest.ts';
import { wordsOf } from '../../policy/decisions.ts';
import { subjectOfCosignTag } from '../../oci/referrer-tags.ts';
import { finalizeMessage } from '../../queue/outgoing.ts';
import { notFetched, order, type SliceWork, type Sought, withWalked } from './order.ts';

/**
 * Whether the policy decides without a request to upstream: a digest that is held, due or rejected, a tag that has drifted, and a
 * tag that returns to its visible digest. A hold that continues costs no write.
 */
export async function isWithheld(slice: SliceWork, sought: Sought): Promise<boolean> {
  const { index, context, message } = slice;
  const { found, name, observed } = sought;
  const { tag, digest } = found;
  if (index === undefined) return false;
  const decision = decisionIn(index, tag, digest);
  if (decision?.action === 'reject') {
    context.observe({ type: 'image', status: 'rejected', ...name, reason: wordsOf(decision) });
    return true;
  }
  const visible = tag === undefined ? index.byDigest(digest) : index.byTag(tag);
  // A further signature moves the tag of cosign.
  const current = tag === undefined || subjectOfCosignTag(tag) !== undefined ? undefined : currentOf(index, tag);
  if (current !== undefined && current !== digest && decision === undefined)
    if (await isDrifted(slice, sought, current)) return true;
  if (visible?.digest === digest) {
    const isOver = tag !== undefined && covers(visible, message) && heldFor(index, tag) !== undefined;
    if (isOver) await orderArchived(slice, sought);
    return isOver;
  }
  const held = heldAs(index, tag, digest);
  if (held === undefined || !covers(held.entry, message)) return false;
  if (held.isLast && held.until > observed) {
    const until = new Date(held.until).toISOString();
    context.observe({ type: 'image', status: 'held', ...name, until });
    return true;
  }
  // The archive does not record that a held image was verified.
  if (index.control.policy.verify === 'require') return false;
  await orderArchived(slice, sought);
  return true;
}

async function isDrifted(
  { index, context, message, signal }: SliceWork,
  sought: Sought,
  current: Digest,
): Promise<boolean> {
  const moved = index?.control.policy.moved ?? 'follow';
  if (moved === 'follow') return false;
  const image = notFetched(sought);
  const reason = `upstream has moved the tag to ${image.digest}, and the policy keeps it at ${current}`;
  const failure = { code: moved === 'keep' ? 'drifted' : 'moved', reason, current };
  await context.queues.send('finalize', [finalizeMessage(message, image, 'resolver', failure)], { signal });
  return true;
}

/**
 * Orders an image whose content is archived, without its referrers, which were ordered with it. The finalizer is asked
 * at once, because the archive has the content; only content that a repair removed is fetched.
 */
async function orderArchived(slice: SliceWork, sought: Sought): Promise<void> {
  await withWalked(slice, { sought }, (walked) => order(slice, sought, walked, {}));
}
