/** Decides which images of a batch are attested, and what a missing key means. */
import type { Archive, TagUpdate } from '../../archive/archive.ts';
import type { TagChange, TagIndex, TagOutcome } from '../../archive/tag-index/tag-index.ts';
import { defined } from '../../core/defined.ts';
import { asFailure, type Failure, invalid } from '../../core/failure.ts';
import { isReferrerTag } from '../../oci/referrer-tags.ts';
import { NO_POLICY, type Policy } from '../../policy/policy.ts';
import type { FinalizeMessage, Image } from '../../queue/messages.ts';
import { attestImages, type AttestedImage, type Attestor } from './attest.ts';
import { changeOf, type Complete } from './change.ts';

/**
 * `archived` is the number of images that were archived before attestations were switched on; without it, the images
 * have notes or failures.
 */
export type NotAttestedHandler = (failure: Failure, repository: string, archived?: number) => void;

/** The parts of the finalizer's context that attestations need. */
export interface Attesting {
  /** The signer; undefined without a key. It fails if the key cannot be used. */
  readonly attestor?: (() => Promise<Attestor>) | undefined;
  /** Gets each failure to attest images of a repository. */
  readonly onNotAttested?: NotAttestedHandler | undefined;
}

export interface NotAttested {
  readonly failure: Failure;
  readonly images: ReadonlySet<FinalizeMessage>;
}

/** The entries of attestations for the tag index, or the reason why there are none. */
type Attested = { readonly changes: readonly TagChange[] } | NotAttested;

/** An image whose closure is complete. */
interface Finalized extends Pick<Complete, 'referral'> {
  readonly message: FinalizeMessage;
  readonly image: Image;
}

const VISIBLE: ReadonlySet<TagOutcome | undefined> = new Set(['written', 'unchanged']);

/**
 * Attests the images of one repository that are visible, or will be.
 *
 * @param outcomes the outcome of each in the tag index
 * @throws Failure for a temporary problem, so that the messages are delivered again
 */
async function attestReady(
  { archive, attestor, onNotAttested }: Attesting & { readonly archive: Archive },
  policy: Policy,
  { ready, outcomes }: { readonly ready: readonly Finalized[]; readonly outcomes: readonly TagOutcome[] },
  signal: AbortSignal,
): Promise<Attested> {
  const visible = ready.filter((each, at) => isImage(each) && VISIBLE.has(outcomes[at]));
  const [first] = visible;
  if (first === undefined) return { changes: [] };
  try {
    const images = visible.map((each) => attestedImage(each, policy));
    return { changes: await attestImages(archive, await signerOf(attestor), images, signal) };
  } catch (error) {
    const failure = permanent(error);
    onNotAttested?.(failure, first.message.repository);
    return { failure, images: new Set(visible.map(({ message }) => message)) };
  }
}

/**
 * Attests images before their references are written, where the policy requires it: an image without an attestation
 * stays invisible.
 */
export async function attestFirst(
  context: Attesting & { readonly archive: Archive },
  index: TagIndex,
  ready: readonly Finalized[],
  signal: AbortSignal,
): Promise<Attested> {
  const { policy } = index.control;
  if (policy.attest !== 'require') return { changes: [] };
  const { outcomes } = index.apply(ready.map(changeOf));
  return attestReady(context, policy, { ready, outcomes }, signal);
}

/**
 * Attests images after their references are written, where the policy does not require it.
 *
 * @returns the reason if they are not attested
 * @throws Failure as `attestReady`
 */
export async function attestWritten(
  context: Attesting & { readonly archive: Archive },
  ready: readonly Finalized[],
  updates: readonly Pick<TagUpdate, 'outcome'>[],
  signal: AbortSignal,
): Promise<NotAttested | undefined> {
  const { archive } = context;
  const [first] = ready;
  if (first === undefined) return undefined;
  const { repository } = first.message;
  const policy = await policyIn(archive, repository, signal);
  if (policy.attest !== 'on') return undefined;
  const outcomes = updates.map(({ outcome }) => outcome);
  const attested = await attestReady(context, policy, { ready, outcomes }, signal);
  if ('failure' in attested) return attested;
  if (attested.changes.length > 0) await archive.updateTags(repository, attested.changes, { signal });
  return undefined;
}

/** The recorded policy of a repository. Its tag index was just read, so it most likely costs no request. */
async function policyIn(archive: Archive, repository: string, signal: AbortSignal): Promise<Policy> {
  const index = archive.lastRead(repository) ?? (await archive.tagIndex(repository, { signal }))?.index;
  return index?.control.policy ?? NO_POLICY;
}

/** Referrers, such as signatures and attestations, and lists of referrers are not attested. */
function isImage({ image, referral }: Finalized): boolean {
  const { tag, subject } = image;
  return tag === undefined ? (subject ?? referral.subject) === undefined : !isReferrerTag(tag);
}

function attestedImage({ message, image }: Finalized, policy: Policy): AttestedImage {
  const { repository, source, platforms, foreignLayers } = message;
  const { digest, mediaType, size, observed, verified } = image;
  return defined({
    ...{ repository, source, platforms, foreignLayers },
    ...{ digest, mediaType, size, observed, verified, policy },
  });
}

/** @throws Failure without a key */
export async function signerOf(attestor: Attesting['attestor']): Promise<Attestor> {
  if (attestor === undefined)
    throw invalid('attest image', 'no attestation key is set; set --attest-key or MIRROR_SYNC_ATTEST_KEY');
  return await attestor();
}

function permanent(error: unknown): Failure {
  const failure = asFailure(error, 'attest image', 'archive');
  if (failure.remedy !== 'never') throw failure;
  return failure;
}
