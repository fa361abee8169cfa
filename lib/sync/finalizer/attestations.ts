/** Decides which images of a batch are attested, and what a missing key means. */
import type { Archive, TagUpdate } from '../../archive/archive.ts';
import { covers, type TagChange, TagIndex, type TagOutcome } from '../../archive/tag-index/tag-index.ts';
import { defined } from '../../core/defined.ts';
import { asFailure, type Failure, invalid } from '../../core/failure.ts';
import { settleEach } from '../../core/settle-all.ts';
import { isReferrerTag } from '../../oci/referrer-tags.ts';
import { NO_POLICY, type Policy } from '../../policy/policy.ts';
import type { FinalizeMessage, Wanted } from '../../queue/messages.ts';
import { checkClosure, type ClosureReader } from '../closure.ts';
import { receiptReader } from '../receipt-reader.ts';
import { attestImages, type AttestedImage, type Attestor } from './attest.ts';
import { changeOf, type Ready } from './change.ts';

/**
 * `archived` is the number of images that were archived before attestations were switched on; without it, the images
 * have notes or failures.
 */
export type NotAttestedHandler = (failure: Failure, repository: string, archived?: number) => void;

/** The parts of the finalizer's context that attestations need. */
export interface Attesting {
  readonly archive: Archive;
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

/** Archived images that are checked concurrently. */
const SIDE_BY_SIDE = 4;

const OPERATION = 'attest image';

const VISIBLE: ReadonlySet<TagOutcome | undefined> = new Set(['written', 'unchanged']);

/**
 * Attests the images of one repository that are visible, or will be.
 *
 * @param outcomes the outcome of each in the tag index
 * @throws Failure for a temporary problem, so that the messages are delivered again
 */
async function attestReady(
  { archive, attestor, onNotAttested }: Attesting,
  policy: Policy,
  { ready, outcomes }: { readonly ready: readonly Ready[]; readonly outcomes: readonly TagOutcome[] },
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
  context: Attesting,
  index: TagIndex,
  ready: readonly Ready[],
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
  context: Attesting,
  ready: readonly Ready[],
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
function isImage({ image, referral }: Ready): boolean {
  const { tag, subject } = image;
  return tag === undefined ? (subject ?? referral.subject) === undefined : !isReferrerTag(tag);
}

function attestedImage({ message, image }: Ready, policy: Policy): AttestedImage {
  const { repository, source, platforms, foreignLayers } = message;
  const { digest, mediaType, size, observed, verified } = image;
  return defined({
    ...{ repository, source, platforms, foreignLayers },
    ...{ digest, mediaType, size, observed, verified, policy },
  });
}

/**
 * Attests images that the archive had before attestations were switched on, unless the archive has changed meanwhile.
 *
 * @throws Failure for a temporary problem, so that the messages are delivered again
 */
export async function attestArchived(
  { archive, attestor, onNotAttested }: Attesting,
  messages: readonly FinalizeMessage[],
  signal: AbortSignal,
): Promise<void> {
  const wanted = messages.flatMap((message) => (message.attest ?? []).map((image) => ({ message, image })));
  const [first] = wanted;
  if (first === undefined) return;
  const { repository } = first.message;
  const reader = receiptReader(archive, signal);
  const find = async (_: string | undefined, index = TagIndex.empty()): Promise<readonly TagChange[]> => {
    if (index.control.policy.attest === 'off') return [];
    const found = await settleEach(wanted, SIDE_BY_SIDE, ({ message, image }) =>
      archivedImage(index, message, image, reader),
    );
    const images = found.flatMap((image) => image ?? []);
    return images.length === 0 ? [] : await attestImages(archive, await signerOf(attestor), images, signal);
  };
  try {
    await archive.updateTags(repository, find, { signal });
  } catch (error) {
    const failure = permanent(error);
    onNotAttested?.(failure, repository, wanted.length);
  }
}

/** Undefined for an image that is not visible or complete by now. */
async function archivedImage(
  index: TagIndex,
  { repository, source, platforms, foreignLayers }: FinalizeMessage,
  { tag, digest }: Wanted,
  reader: ClosureReader,
): Promise<AttestedImage | undefined> {
  const entry = tag === undefined ? digest && index.byDigest(digest) : index.byTag(tag);
  const scope = { platforms, ...defined({ foreignLayers }) };
  if (entry === undefined || entry.digest !== digest || !covers(entry, scope)) return undefined;
  const closure = await checkClosure(digest, scope, reader, { mayLack: () => true });
  if (!closure.complete) return undefined;
  const { mediaType, size, observed } = entry;
  // The archive does not record which policy the image has passed.
  return { repository, source, ...scope, digest, mediaType, size, observed, policy: NO_POLICY };
}

/** @throws Failure without a key */
async function signerOf(attestor: Attesting['attestor']): Promise<Attestor> {
  if (attestor === undefined)
    throw invalid(OPERATION, 'no attestation key is set; set --attest-key or MIRROR_SYNC_ATTEST_KEY');
  return await attestor();
}

function permanent(error: unknown): Failure {
  const failure = asFailure(error, OPERATION, 'archive');
  if (failure.remedy !== 'never') throw failure;
  // The detail then names the key.
  return failure.operation === OPERATION ? failure : failure.within(OPERATION);
}
