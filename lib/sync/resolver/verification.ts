/** Applies the policy's `verify` to an image that was found, before anything below its manifest is fetched. */
import { unverifiedOf } from '../../archive/tag-index/control.ts';
import { Failure } from '../../core/failure.ts';
import { decisionOn } from '../../policy/decisions.ts';
import { isVerificationDue, nameOfSigners, nextVerification } from '../../policy/verification.ts';
import type { Verified } from '../../queue/messages.ts';
import { finalizeMessage } from '../../queue/outgoing.ts';
import { isReferrerTag } from '../../oci/referrer-tags.ts';
import { notFetched, type SliceWork, type Sought } from './order.ts';
import { mayNameList } from './referrer-lists.ts';
import { listReferrers } from './referrers.ts';
import { verifyImage } from './verify-image.ts';

/** An image that may be fetched. */
export interface Passed {
  readonly verified?: Verified;
  /** Warnings, each a sentence. */
  readonly notes: readonly string[];
}

/** Undefined for an image that the policy refuses, whose result is recorded. */
export async function passedVerification(slice: SliceWork, sought: Sought): Promise<Passed | undefined> {
  const { context, message, policy, index, signal, source } = slice;
  const { trustedRoot } = context;
  const { digest, tag, fetched } = sought.found;
  // Signatures are not signed. A tag of a list of tags that names no list of referrers names an image.
  const isReferrer = tag !== undefined && isReferrerTag(tag) && !mayNameList(message, tag);
  if (policy.verify === 'off' || isReferrer) return { notes: [] };
  if (decisionOn(index?.control.decisions ?? [], tag ?? '', digest)?.action === 'release') return { notes: [] };
  const signers = nameOfSigners(policy.signers, trustedRoot);
  const known = index === undefined ? undefined : unverifiedOf(index.control.unverified, tag ?? '', digest);
  const isDue = known === undefined || slice.referrers.announced.has(digest);
  if (policy.verify === 'require' && !isDue && !isVerificationDue(known, signers, context.now())) {
    const reason = nextVerification(known) === undefined ? `${known.reason}; given up after 30 days` : known.reason;
    context.observe({ type: 'image', status: 'unverified', ...sought.name, reason });
    return undefined;
  }
  const referrers = await listReferrers(slice, digest);
  const result = await verifyImage(
    { digest, fetched, referrers },
    { source, archive: context.archive, signal, signers: policy.signers, trustedRoot },
  );
  if ('verified' in result) return { verified: result.verified, notes: [] };
  if (policy.verify === 'warn') return { notes: [`not verified: ${result.refused}`] };
  if (result.lacksRoot === true) throw undecided(sought.name.reference, result.refused);
  // The finalizer records the refusal, so that all refusals of a batch are one write of the tag index.
  const image = { ...notFetched(sought), unverified: result.refused, signers };
  await context.queues.send('finalize', [finalizeMessage(message, image, 'resolver')], { signal });
  return undefined;
}

/** Without a trusted root, nothing is recorded: the image counts as unverified only after a check against one. */
function undecided(reference: string, detail: string): Failure {
  return new Failure({ operation: `verify ${reference}`, side: 'source', code: 'invalid', detail });
}
