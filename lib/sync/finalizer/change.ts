/** The change of the tag index for an image whose closure is complete. */
import { defined } from '../../core/defined.ts';
import { Failure } from '../../core/failure.ts';
import type { TagChange } from '../../archive/tag-index/tag-index.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Referral } from '../../oci/referral.ts';
import { subjectOfCosignTag } from '../../oci/referrer-tags.ts';
import type { FinalizeMessage, Image } from '../../queue/messages.ts';
import type { ClosureState } from '../closure.ts';

export interface Complete {
  readonly notes: readonly string[];
  readonly manifests: ReadonlyMap<Digest, string>;
  readonly referral: Referral;
}

/** An image whose closure is complete, with its message. */
export interface Ready extends Complete {
  readonly message: FinalizeMessage;
  readonly image: Image;
}

/**
 * @throws Failure `not-as-declared` for a referrer of another manifest: only the manifest says what it refers to, and the
 *   subject in a message is what upstream's list said
 */
export function completeOf(
  { digest, tag, subject }: Image,
  { notes, manifests, referral }: Extract<ClosureState, { readonly complete: true }>,
): Complete {
  if (subject === undefined || tag !== undefined || referral.subject === subject) return { notes, manifests, referral };
  const detail = `upstream lists it as a referrer of ${subject}, and it refers to ${referral.subject ?? 'nothing'}`;
  throw new Failure({ operation: `check ${digest}`, side: 'source', code: 'not-as-declared', detail });
}

export function changeOf({ message, image, referral }: Ready): TagChange {
  const { digest, mediaType, size, tag, observed, checked, awaited, verified, unverified, signers } = image;
  const { platforms, foreignLayers } = message;
  const { artifactType } = referral;
  // The manifests of cosign's tags have no subject.
  const subject = referral.subject ?? (tag === undefined ? undefined : subjectOfCosignTag(tag));
  return {
    descriptor: { digest, mediaType, size },
    observed,
    platforms,
    ...defined({ foreignLayers, tag, subject, artifactType, checked, awaited, verified, unverified, signers }),
  };
}
