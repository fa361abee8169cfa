/** Attests images that the archive had before attestations were switched on. */
import { asFailure } from '../../core/failure.ts';
import { defined } from '../../core/defined.ts';
import { settleEach } from '../../core/settle-all.ts';
import { covers, type TagChange, TagIndex } from '../../archive/tag-index/tag-index.ts';
import { NO_POLICY } from '../../policy/policy.ts';
import type { FinalizeMessage, Wanted } from '../../queue/messages.ts';
import { checkClosure, type ClosureReader } from '../closure.ts';
import type { FinalizerContext } from '../context.ts';
import { receiptReader } from '../receipt-reader.ts';
import { attestImages, type AttestedImage } from './attest.ts';
import { signerOf } from './attestations.ts';

/** Images that are checked concurrently. */
const SIDE_BY_SIDE = 4;

/**
 * Attests the archived images that messages name, unless the archive has changed meanwhile.
 *
 * @throws Failure for a temporary problem, so that the messages are delivered again
 */
export async function attestArchived(
  { archive, attestor, onNotAttested }: FinalizerContext,
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
    const failure = asFailure(error, 'attest image', 'archive');
    if (failure.remedy !== 'never') throw failure;
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
