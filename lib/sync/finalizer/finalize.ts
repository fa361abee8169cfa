/**
 * The finalizer role, the only one that writes references. An image gets its entry in the tag index once its whole
 * closure is in the archive and proven; any problem becomes a recorded failure. A message that arrives before the last
 * layer is dropped, because each missing layer sends another message when it arrives.
 */
import { asFailure, Failure } from '../../core/failure.ts';
import { settleEach } from '../../core/settle-all.ts';
import type { Archive, TagUpdate } from '../../archive/archive.ts';
import type { Move } from '../../archive/tag-index/move.ts';
import { type Member, recordMembers } from '../../archive/members.ts';
import { periodOf } from '../../changes/changes.ts';
import { compareImages } from '../../changes/read.ts';
import type { Digest } from '../../oci/digest.ts';
import { type TagChange, TagIndex } from '../../archive/tag-index/tag-index.ts';
import type { FinalizeMessage, Image, RecordedFailure } from '../../queue/messages.ts';
import { cachedReader, type CachedReader } from '../cached-reader.ts';
import { checkClosure, type ClosureReader } from '../closure.ts';
import { receiptReader } from '../receipt-reader.ts';
import type { FinalizerContext } from '../context.ts';
import { type ImageEvent, imageName } from '../events.ts';
import { recorded } from '../failures.ts';
import { attestArchived, attestFirst, attestWritten, type NotAttested } from './attestations.ts';
import { changeOf, type Complete, completeOf, type Ready } from './change.ts';
import { recordChanges } from './changes.ts';
import { isVisible, isWithheld, Reporter } from './reporter.ts';

export interface FinalizeOptions {
  readonly signal: AbortSignal;
  /** Reads proofs; by default from the archive's receipts. */
  readonly reader?: CachedReader;
}

/** Invariant 5: the image is kept by its digest, and the tag does not move. */
const OVERTAKEN: RecordedFailure = {
  code: 'overtaken',
  reason: 'a newer observation of the tag is recorded already; this one is kept by its digest',
};

/** Images of a batch whose closures are checked concurrently: each is a chain of small reads. */
const SIDE_BY_SIDE = 8;

/** Finalizes messages of one repository, and commits them in one write. */
export async function finalize(
  context: FinalizerContext,
  messages: readonly FinalizeMessage[],
  options: FinalizeOptions,
): Promise<void> {
  const [{ archive }, { signal }] = [context, options];
  const reader = options.reader ?? cachedReader(receiptReader(archive, signal));
  const [head] = messages;
  if (head === undefined) return;
  if (messages.some(({ repository }) => repository !== head.repository))
    throw new RangeError('a batch for the finalizer must be of one repository');

  await recordChanges(archive, messages, signal);
  const judged = await settleEach(latest(messages), SIDE_BY_SIDE, async (message) => ({
    message,
    outcome: message.failure ?? (await awaited(message, reader)),
  }));
  const wanted = judged.flatMap(({ message, outcome }) => (outcome === undefined ? [message] : []));
  const { ready, refused, updates } =
    wanted.length === 0 ? { ready: [], refused: [], updates: [] } : await commit(context, wanted, reader, signal);
  await recordChecks(archive, messages, signal);
  await attestArchived(context, messages, signal);
  const unattested = await attestWritten(context, ready, updates, signal);
  const reporter = new Reporter(context);
  for (const { message, outcome } of [...judged, ...refused]) await reporter.failed(message, outcome);
  for (const [at, { message, notes }] of ready.entries()) {
    const update = updates[at];
    const { outcome, isNew, ...move } = update ?? {};
    const again = outcome === 'unchanged' || isNew === false;
    const lack = unattested?.images.has(message) === true ? unattested : undefined;
    if (update !== undefined && isWithheld(update)) await reporter.withheld(message, update);
    else if (outcome === 'older') await reporter.report(message, 'unchanged', OVERTAKEN);
    else {
      const moved = await changesOf(message, move, reader);
      await reporter.report(message, 'mirrored', { ...moved, ...remarksOf(message, notes, lack) }, again);
    }
  }
  reporter.end();
}

interface Committed {
  readonly ready: readonly Ready[];
  readonly refused: readonly Judged[];
  readonly updates: readonly TagUpdate[];
}

/** Writes the checks for referrers of all messages at once. */
async function recordChecks(
  archive: Archive,
  messages: readonly FinalizeMessage[],
  signal: AbortSignal,
): Promise<void> {
  const checks = messages.flatMap((message) => message.checks ?? []);
  const [head] = messages;
  if (head === undefined || checks.length === 0) return;
  // This write gives the index another version, so the reader forgets its cache: a repair may have changed the index
  // since the last check.
  await archive.recordChecks(head.repository, checks, { signal });
}

/**
 * Writes the references of the images that are complete. Each check is valid for one version of the tag index, and is
 * repeated after a conflict, because a repair that removes content changes the version.
 */
async function commit(
  context: FinalizerContext,
  messages: readonly FinalizeMessage[],
  reader: CachedReader,
  signal: AbortSignal,
): Promise<Committed> {
  const { archive } = context;
  const { repository = '' } = messages[0] ?? {};
  let ready: readonly Ready[] = [];
  let refused: readonly Judged[] = [];
  const find = async (version: string | undefined, index = TagIndex.empty()): Promise<readonly TagChange[]> => {
    reader.begin(version);
    const checked = await settleEach(messages, SIDE_BY_SIDE, async (message) => ({
      message,
      outcome: await check(message, reader),
    }));
    ready = checked.flatMap(({ message, outcome }) =>
      typeof outcome === 'object' && 'notes' in outcome ? [{ message, image: message.image as Image, ...outcome }] : [],
    );
    refused = checked.flatMap(({ message, outcome }) =>
      typeof outcome === 'object' && 'code' in outcome ? [{ message, outcome }] : [],
    );
    const attested = await attestFirst(context, index, ready, signal);
    if ('failure' in attested) {
      const { failure, images } = attested;
      refused = [...refused, ...[...images].map((message) => ({ message, outcome: recorded(failure) }))];
      ready = ready.filter(({ message }) => !images.has(message));
    }
    const changes = ready.map(changeOf);
    // The children of an image that stays invisible must not be served either.
    const { outcomes } = index.apply(changes);
    const shown = ready.filter((_, at) => isVisible(outcomes[at]));
    await recordMembers(archive, repository, childrenOf(shown), { signal });
    return 'changes' in attested ? [...changes, ...attested.changes] : changes;
  };
  const updates = await archive.updateTags(repository, find, { signal, written: reader.written });
  return { ready, refused, updates };
}

/** One message per image: if several are for the same image, the failure among them, or else the last one. */
function latest(messages: readonly FinalizeMessage[]): Iterable<FinalizeMessage> {
  const byImage = new Map<string, FinalizeMessage>();
  for (const message of messages) {
    if (message.checks !== undefined || message.change !== undefined) continue;
    const { run, reference, digest } = imageName(message, message.image);
    const key = JSON.stringify([run, reference, digest]);
    if (byImage.get(key)?.failure === undefined) byImage.set(key, message);
  }
  return byImage.values();
}

/** A message with its result: a failure, or that content is still missing. */
interface Judged {
  readonly message: FinalizeMessage;
  readonly outcome: RecordedFailure | 'incomplete' | undefined;
}

/** The manifests below the root, which the tag index does not name. */
function childrenOf(ready: readonly Ready[]): ReadonlyMap<Digest, Member> {
  const members = new Map<Digest, Member>();
  for (const { image, manifests, message } of ready)
    for (const [digest, mediaType] of manifests)
      if (digest !== image.digest) members.set(digest, { mediaType, root: image.digest, platforms: message.platforms });
  return members;
}

/** Looks up the largest blob alone: while it is missing, nothing else needs to be checked. */
async function awaited(message: FinalizeMessage, reader: ClosureReader): Promise<Judged['outcome']> {
  const { largest } = message.image as Image;
  if (largest === undefined || (await reader.has(largest))) return undefined;
  return lost(message, largest, reader) ?? 'incomplete';
}

async function check(
  message: FinalizeMessage,
  reader: ClosureReader,
): Promise<Complete | 'incomplete' | RecordedFailure> {
  const image = message.image as Image;
  // Nothing below its manifest was fetched, and it stays invisible.
  if (image.unverified !== undefined) return { notes: [], manifests: new Map(), referral: {} };
  try {
    const mayLack = new Set(image.lost);
    const state = await checkClosure(image.digest, message, reader, { mayLack: (digest) => mayLack.has(digest) });
    if (state.complete) return completeOf(image, state);
    return lost(message, state.missing, reader, state.isDocument) ?? 'incomplete';
  } catch (error) {
    const failure = asFailure(error, `check ${nameOf(message)}`, 'archive');
    if (failure.remedy !== 'never') throw failure;
    return recorded(failure.within(`check ${nameOf(message)}`));
  }
}

/**
 * The failure of an image that lost an object after the resolver had found it. The resolver stores all manifests and
 * configs before it sends a message, and asks for no blob that has a receipt. So no message fetches the lost object.
 */
function lost(
  message: FinalizeMessage,
  missing: Digest,
  reader: ClosureReader,
  isDocument = false,
): RecordedFailure | undefined {
  const { observed } = message.image as Image;
  if (!isDocument && !((reader.revoked?.(missing) ?? 0) >= observed)) return undefined;
  const detail = `${missing} was found damaged, and removed meanwhile; sync the image again`;
  return recorded(new Failure({ operation: `check ${nameOf(message)}`, side: 'archive', code: 'corrupt', detail }));
}

/** The previous digest of a moved tag, and the difference from it. A failed comparison never fails the image. */
async function changesOf(
  { image, platforms }: FinalizeMessage,
  { previous, since }: Partial<Move>,
  reader: ClosureReader,
): Promise<Pick<ImageEvent, 'previous' | 'changes'>> {
  if (previous === undefined) return {};
  const { digest, observed } = image as Image;
  try {
    const changes = await compareImages({ previous, digest, platforms }, reader.content);
    return { previous, changes: { ...periodOf(since, observed), ...changes } };
  } catch {
    return { previous };
  }
}

/** Notes of one image that are reported; the others are only counted. */
const MAX_NOTES = 16;

/** The resolver's remarks and the notes of the closure, each once. */
function remarksOf(
  { image }: FinalizeMessage,
  found: readonly string[],
  lack: NotAttested | undefined,
): Pick<ImageEvent, 'reason' | 'notes'> {
  const { note, notes = [] } = image as Image;
  const unattested = lack === undefined ? [] : [`not attested: ${lack.failure.detail}`];
  const all = [...new Set([...notes, ...found, ...unattested])];
  const shown = all.length > MAX_NOTES ? [...all.slice(0, MAX_NOTES), `and ${all.length - MAX_NOTES} more`] : all;
  return { ...(note === undefined ? {} : { reason: note }), ...(shown.length === 0 ? {} : { notes: shown }) };
}

/** The name as requested, and the digest that was found. */
function nameOf(message: FinalizeMessage): string {
  const { reference, digest } = imageName(message, message.image);
  return digest === undefined || reference.endsWith(digest) ? reference : `${reference}@${digest}`;
}
