/** Work on unchanged images that costs no request to upstream: records of checks, and attestations that are missing. */
import type { TagEntry, TagIndex } from '../../archive/tag-index/tag-index.ts';
import { defined } from '../../core/defined.ts';
import { isReferrerTag } from '../../oci/referrer-tags.ts';
import { checksMessage } from '../../queue/outgoing.ts';
import type { Found, SliceWork } from './order.ts';

/** The maximum number of images that one message attests; later runs attest the others. */
const ATTESTATIONS = 25;

/** Orders the attestation of an unchanged image that the archive had before attestations were switched on. */
export function orderAttestation({ policy, index, unattested }: SliceWork, found: Found, entry: TagEntry): void {
  if (policy.attest === 'off' || index === undefined || !lacksAttestation(index, entry)) return;
  if (!isOfUpstream(found, entry)) return;
  const { digest, mediaType, size, tag, observed } = entry;
  if (unattested.size < ATTESTATIONS) unattested.set(digest, defined({ digest, mediaType, size, tag, observed }));
}

/**
 * A statement names upstream as the source. Upstream names the digest for this tag now. Without a tag, upstream is not
 * asked, and `convert` may have made the digest if it has or had a tag.
 */
function isOfUpstream(found: Found, { tag, hadTag }: TagEntry): boolean {
  return found.tag !== undefined || (tag ?? hadTag) === undefined;
}

/** The tag index alone decides this. Referrers, and lists of them, are not attested. */
function lacksAttestation(index: TagIndex, { tag, digest, subject }: TagEntry): boolean {
  const isImage = tag === undefined ? subject === undefined : !isReferrerTag(tag);
  return isImage && index.referrersOf(digest).every(({ attestedBy }) => attestedBy === undefined);
}

/** Sends the checks of a message's images, and the images to attest, to the finalizer: one message. */
export async function sendUnchanged({ context, message, signal, referrers, unattested }: SliceWork): Promise<void> {
  const { checks } = referrers;
  const [first] = [...checks.map(({ image }) => image), ...unattested.values()];
  if (first === undefined) return;
  const outgoing = checksMessage(message, first, {
    checks: checks.map(({ check }) => check),
    attest: [...unattested.values()].map(({ tag, digest }) => defined({ tag, digest })),
  });
  await context.queues.send('finalize', [outgoing], { signal });
}
