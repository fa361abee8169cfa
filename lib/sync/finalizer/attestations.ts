/** Decides which images of a batch are attested, and what a missing key means. */
import type { Archive, TagUpdate } from '../../archive/archive.ts';
import { defined } from '../../core/defined.ts';
import { asFailure, type Failure, invalid } from '../../core/failure.ts';
import { subjectOfCosignTag } from '../../oci/referrer-tags.ts';
import { NO_POLICY, type Policy } from '../../policy/policy.ts';
import type { FinalizeMessage, Image } from '../../queue/messages.ts';
import { attestImages, type AttestedImage, type Attestor } from './attest.ts';
import type { Complete } from './change.ts';

/** The parts of the finalizer's context that attestations need. */
export interface Attesting {
  /** The signer; undefined without a key. A failure is that of the key. */
  readonly attestor?: (() => Promise<Attestor>) | undefined;
  /** Gets each failure to attest images of a repository. */
  readonly onNotAttested?: ((failure: Failure, repository: string) => void) | undefined;
}

export interface NotAttested {
  readonly failure: Failure;
  readonly images: ReadonlySet<FinalizeMessage>;
  /** Whether the images count as failed. */
  readonly isRequired: boolean;
}

/** An image whose reference is written. */
interface Finalized extends Pick<Complete, 'referral'> {
  readonly message: FinalizeMessage;
  readonly image: Image;
}

/** The recorded policy of a repository. Its tag index was just read, so it most likely costs no request. */
async function policyIn(archive: Archive, repository: string, signal: AbortSignal): Promise<Policy> {
  const index = archive.lastRead(repository) ?? (await archive.tagIndex(repository, { signal }))?.index;
  return index?.control.policy ?? NO_POLICY;
}

/**
 * Attests images whose references are written.
 *
 * @param updates the result for each image
 * @returns the failure if they are not attested
 * @throws Failure for a temporary problem, so that the messages are delivered again
 */
export async function attestReady(
  { archive, attestor, onNotAttested }: Attesting & { readonly archive: Archive },
  ready: readonly Finalized[],
  updates: readonly Pick<TagUpdate, 'outcome'>[],
  signal: AbortSignal,
): Promise<NotAttested | undefined> {
  const [first] = ready;
  if (first === undefined) return undefined;
  const { repository } = first.message;
  const policy = await policyIn(archive, repository, signal);
  if (policy.attest === 'off') return undefined;
  const visible = ready.filter((each, at) => isImage(each) && VISIBLE.has(updates[at]?.outcome ?? 'older'));
  try {
    const images = visible.map((each) => attestedImage(each, policy));
    if (images.length > 0) await attestImages(archive, await (attestor ?? noKey)(), images, signal);
    return undefined;
  } catch (error) {
    const failure = permanent(error);
    onNotAttested?.(failure, repository);
    const images = new Set(visible.map(({ message }) => message));
    return { failure, images, isRequired: policy.attest === 'require' };
  }
}

const VISIBLE: ReadonlySet<TagUpdate['outcome']> = new Set(['written', 'unchanged']);

/** Referrers, such as signatures and attestations, are not attested. */
function isImage({ image, referral }: Finalized): boolean {
  const { tag, subject } = image;
  return tag === undefined ? (subject ?? referral.subject) === undefined : subjectOfCosignTag(tag) === undefined;
}

function attestedImage({ message, image }: Finalized, policy: Policy): AttestedImage {
  const { repository, source, platforms, foreignLayers } = message;
  const { digest, mediaType, size, observed, verified } = image;
  return defined({
    ...{ repository, source, platforms, foreignLayers },
    ...{ digest, mediaType, size, observed, verified, policy },
  });
}

function noKey(): Promise<never> {
  return Promise.reject(
    invalid('attest image', 'no attestation key is set; set --attest-key or MIRROR_SYNC_ATTEST_KEY'),
  );
}

function permanent(error: unknown): Failure {
  const failure = asFailure(error, 'attest image', 'archive');
  if (failure.remedy !== 'never') throw failure;
  return failure;
}
