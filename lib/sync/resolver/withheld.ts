/** Decides by the policy in the tag index whether an image that was found upstream needs no request to upstream. */
import { covers, type TagEntry, type TagIndex } from '../../archive/tag-index/tag-index.ts';
import { decisionIn, heldAs, heldFor } from '../../archive/tag-index/withheld.ts';
import { defined } from '../../core/defined.ts';
import { wordsOf } from '../../policy/decisions.ts';
import type { Image } from '../../queue/messages.ts';
import { finalizeMessage } from '../../queue/outgoing.ts';
import type { SliceWork, Sought } from './order.ts';

/**
 * Whether the policy decides without a request to upstream: a digest that is held, due or rejected, a tag that has drifted, and a
 * tag that returns to its visible digest. A hold that is not over costs no write.
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
  if (tag !== undefined && visible !== undefined && visible.digest !== digest && decision === undefined)
    if (await isDrifted(slice, sought, visible)) return true;
  if (visible?.digest === digest) {
    const isOver = tag !== undefined && covers(visible, message) && heldFor(index, tag) !== undefined;
    if (isOver) await finalizeArchived(slice, sought, visible);
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
  if (policyOf(index).verify === 'require') return false;
  await finalizeArchived(slice, sought, held.entry);
  return true;
}

function policyOf({ control }: TagIndex): TagIndex['control']['policy'] {
  return control.policy;
}

async function isDrifted(
  { index, context, message, signal }: SliceWork,
  sought: Sought,
  { digest: current, mediaType }: TagEntry,
): Promise<boolean> {
  const moved = index?.control.policy.moved ?? 'follow';
  if (moved === 'follow') return false;
  const image = imageOf(sought, { mediaType, size: 0 });
  const reason = `upstream has moved the tag to ${image.digest}, and the policy keeps it at ${current}`;
  const failure = { code: moved === 'keep' ? 'drifted' : 'moved', reason, current };
  await context.queues.send('finalize', [finalizeMessage(message, image, 'resolver', failure)], { signal });
  return true;
}

/** Sends an image whose content is archived to the finalizer, which checks its closure. */
async function finalizeArchived(
  { context, message, signal }: SliceWork,
  sought: Sought,
  entry: TagEntry,
): Promise<void> {
  const outgoing = finalizeMessage(message, imageOf(sought, entry), 'resolver');
  await context.queues.send('finalize', [outgoing], { signal });
}

function imageOf(
  { wanted, found, observed }: Sought,
  { mediaType, size }: Pick<TagEntry, 'mediaType' | 'size'>,
): Image {
  const { digest, tag, note } = found;
  const asked = wanted.tag === undefined || wanted.digest === undefined ? undefined : wanted;
  return defined({ digest, mediaType, size, observed, tag, note, asked });
}
