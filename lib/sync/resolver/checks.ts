/** Checks unchanged images for new referrers (policy/referrer-checks.ts). */
import { defined } from '../../core/defined.ts';
import { Failure } from '../../core/failure.ts';
import type { TagEntry } from '../../archive/tag-index/tag-index.ts';
import type { Digest } from '../../oci/digest.ts';
import { isCheckDue } from '../../policy/referrer-checks.ts';
import type { Wanted } from '../../queue/messages.ts';
import { checksMessage } from '../../queue/outgoing.ts';
import { held, traverse } from '../closure.ts';
import { isTemporary } from './options.ts';
import type { SliceWork } from './order.ts';
import { checkOf, findReferrers, orderReferrers } from './referrers.ts';

/**
 * Checks an unchanged image for new referrers, if that is due.
 *
 * @returns warnings, each a sentence
 */
export async function checkReferrers(slice: SliceWork, wanted: Wanted, entry: TagEntry): Promise<readonly string[]> {
  const { context, referrers } = slice;
  if (referrers.policy === 'none' || !isCheckDue(entry, context.now()) || referrers.left <= 0) return [];
  referrers.left -= 1;
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

/** Sends the checks of a message's images to the finalizer: one message, and so one write. */
export async function sendChecks({ context, message, signal, referrers: { checks } }: SliceWork): Promise<void> {
  const [first] = checks;
  if (first === undefined) return;
  const outgoing = checksMessage(
    message,
    first.image,
    checks.map(({ check }) => check),
  );
  await context.queues.send('finalize', [outgoing], { signal });
}
