/**
 * The finalizer role, the only one that writes references. An image whose closure is in the archive, proven, gets its
 * entry in the tag index; any problem becomes a recorded failure. A message that comes too early is dropped, since
 * every layer that is still missing sends one of its own.
 */
import { asFailure, type Failure } from '../../core/failure.ts';
import { Semaphore } from '../../core/semaphore.ts';
import { settleAll } from '../../core/settle-all.ts';
import type { Move } from '../../archive/tag-index/move.ts';
import { recordMembers } from '../../archive/members.ts';
import { periodOf } from '../../changes/changes.ts';
import { compareImages } from '../../changes/read.ts';
import type { Digest } from '../../oci/digest.ts';
import type { TagChange } from '../../archive/tag-index/tag-index.ts';
import type { FinalizeMessage, Image, RecordedFailure } from '../../queue/messages.ts';
import { checkClosure, type ClosureReader, receiptReader } from '../closure.ts';
import type { FinalizerContext } from '../context.ts';
import { type ImageEvent, imageName } from '../events.ts';
import { recorded } from '../failures.ts';

export interface FinalizeOptions {
  readonly signal: AbortSignal;
  /** Reads proofs; by default from the archive's receipts. */
  readonly reader?: ClosureReader;
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
  const { archive } = context;
  const { signal } = options;
  const reader = options.reader ?? receiptReader(archive, signal);
  const [head] = messages;
  if (head === undefined) return;
  if (messages.some(({ repository }) => repository !== head.repository))
    throw new RangeError('a batch for the finalizer must be of one repository');

  const permits = new Semaphore(SIDE_BY_SIDE);
  const checked = await settleAll(
    [...latest(messages)].map((message) =>
      permits.with(async () => ({ message, outcome: message.failure ?? (await check(message, reader)) })),
    ),
  );
  const ready: Ready[] = [];
  const reporter = new Reporter(context);
  for (const { message, outcome } of checked)
    if (typeof outcome === 'object' && 'notes' in outcome)
      ready.push({ message, image: message.image as Image, ...outcome });
    else if (outcome !== 'incomplete') await reporter.report(message, 'failed', outcome);
  if (ready.length > 0) {
    await recordMembers(archive, head.repository, childrenOf(ready), { signal });
    const updates = await archive.updateTags(head.repository, ready.map(changeOf), { signal });
    for (const [at, { message, notes }] of ready.entries()) {
      const { outcome, ...move } = updates[at] ?? {};
      const again = outcome === 'unchanged';
      if (outcome === 'older') await reporter.report(message, 'unchanged', OVERTAKEN);
      else {
        const moved = await changesOf(message, move, reader);
        await reporter.report(message, 'mirrored', { ...moved, ...remarksOf(message, notes) }, again);
      }
    }
  }
  reporter.end();
}

/**
 * Records every image of a batch. A record that fails does not stop the others: an event bus that refuses stops no
 * report.
 */
class Reporter {
  readonly #context: FinalizerContext;
  #failure: { readonly error: unknown } | undefined;

  constructor(context: FinalizerContext) {
    this.#context = context;
  }

  async report(
    message: FinalizeMessage,
    status: ImageEvent['status'],
    word?: Partial<RecordedFailure> & Pick<ImageEvent, 'previous' | 'changes' | 'notes'>,
    again = false,
  ): Promise<void> {
    try {
      await this.#context.record({ type: 'image', status, ...imageName(message, message.image), ...word }, again);
    } catch (error) {
      this.#failure ??= { error };
    }
  }

  /**
   * @throws the first failure, so that the queue delivers the messages again
   */
  end(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** One message per image: of several for the same image, a failure, or else the last. */
function latest(messages: readonly FinalizeMessage[]): Iterable<FinalizeMessage> {
  const byImage = new Map<string, FinalizeMessage>();
  for (const message of messages) {
    const { run, reference, digest } = imageName(message, message.image);
    const key = JSON.stringify([run, reference, digest]);
    if (byImage.get(key)?.failure === undefined) byImage.set(key, message);
  }
  return byImage.values();
}

/** An image whose closure is complete. */
interface Ready extends Complete {
  readonly message: FinalizeMessage;
  readonly image: Image;
}

interface Complete {
  readonly notes: readonly string[];
  readonly manifests: ReadonlyMap<Digest, string>;
}

/** The manifests that the tag index will not name. */
function childrenOf(ready: readonly Ready[]): ReadonlyMap<Digest, string> {
  return new Map(ready.flatMap(({ image, manifests }) => [...manifests].filter(([digest]) => digest !== image.digest)));
}

async function check(
  message: FinalizeMessage,
  reader: ClosureReader,
): Promise<Complete | 'incomplete' | RecordedFailure> {
  const image = message.image as Image;
  try {
    if (image.largest !== undefined && !(await reader.has(image.largest))) return 'incomplete';
    const lost = new Set(image.lost);
    const state = await checkClosure(image.digest, message, reader, { mayLack: (digest) => lost.has(digest) });
    return state.complete ? { notes: state.notes, manifests: state.manifests } : 'incomplete';
  } catch (error) {
    const failure: Failure = asFailure(error, `check ${nameOf(message)}`, 'archive');
    if (failure.remedy !== 'never') throw failure;
    return recorded(failure.within(`check ${nameOf(message)}`));
  }
}

function changeOf({ message, image }: { readonly message: FinalizeMessage; readonly image: Image }): TagChange {
  const { digest, mediaType, size, tag, observed } = image;
  const { platforms, foreignLayers } = message;
  return {
    descriptor: { digest, mediaType, size },
    observed,
    platforms,
    ...(foreignLayers === undefined ? {} : { foreignLayers }),
    ...(tag === undefined ? {} : { tag }),
  };
}

/** The previous digest of a moved tag, and the difference from it. A comparison that fails never fails the image. */
async function changesOf(
  { image, platforms }: FinalizeMessage,
  { previous, since }: Partial<Move>,
  reader: ClosureReader,
): Promise<Pick<ImageEvent, 'previous' | 'changes'>> {
  if (previous === undefined) return {};
  const { digest, observed } = image as Image;
  try {
    const changes = await compareImages({ previous, digest, platforms }, (...of) => reader.content(...of));
    return { previous, changes: { ...periodOf(since, observed), ...changes } };
  } catch {
    return { previous };
  }
}

/** Notes of one image that are reported; the others are only counted. */
const MAX_NOTES = 16;

/** The resolver's remarks and the notes of the closure, each once. */
function remarksOf({ image }: FinalizeMessage, found: readonly string[]): Pick<ImageEvent, 'reason' | 'notes'> {
  const { note, notes = [] } = image as Image;
  const all = [...new Set([...notes, ...found])];
  const shown = all.length > MAX_NOTES ? [...all.slice(0, MAX_NOTES), `and ${all.length - MAX_NOTES} more`] : all;
  return { ...(note === undefined ? {} : { reason: note }), ...(shown.length === 0 ? {} : { notes: shown }) };
}

/** The name as requested, and the digest that was found. */
function nameOf(message: FinalizeMessage): string {
  const { reference, digest } = imageName(message, message.image);
  return digest === undefined || reference.endsWith(digest) ? reference : `${reference}@${digest}`;
}
