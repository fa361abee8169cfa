/**
 * The work on one image: find it upstream, decide by the tag index, walk down to its blobs, and order the missing ones.
 */
import { Failure, type FailureCode } from '../../core/failure.ts';
import { Semaphore } from '../../core/semaphore.ts';
import { settleAll } from '../../core/settle-all.ts';
import { covers, isWithin, provenPlatforms, type TagEntry, type TagIndex } from '../../archive/tag-index/tag-index.ts';
import { defined } from '../../core/defined.ts';
import type { Digest } from '../../oci/digest.ts';
import { parseRepository } from '../../oci/reference.ts';
import { type Image, type ResolveMessage, type Wanted } from '../../queue/messages.ts';
import { finalizeMessage, layerMessage } from '../../queue/outgoing.ts';
import type { Resolved, Source } from '../../registry/source.ts';
import { checkPlatforms, held } from '../closure.ts';
import type { ResolverContext } from '../context.ts';
import type { BlobLookup, Look } from './blob-lookup.ts';
import { type ImageName, imageName } from '../events.ts';
import { once } from './once.ts';
import { type NeededBlob, RootUnknown, walk, type Walked } from './walk.ts';

/** Blobs of an image that are looked up concurrently. */
const SIDE_BY_SIDE = 16;

/** Failures for a missing tag. They do not fail an image that is also requested by digest. */
const IS_NO_TAG: ReadonlySet<FailureCode> = new Set(['manifest-unknown', 'name-unknown']);

/** The parts that the images of one message share. */
export interface SliceWork {
  readonly context: ResolverContext;
  readonly message: ResolveMessage;
  readonly signal: AbortSignal;
  readonly source: Source;
  readonly lookup: BlobLookup;
  /** Tags often name the same image, which is walked once. */
  readonly walks: Map<string, Promise<Walked>>;
  /** The tag index as it was before the message. */
  readonly index: TagIndex | undefined;
}

/** An image in upstream. */
interface Found extends Partial<Pick<Resolved, 'fetched'>> {
  readonly digest: Digest;
  /** The tag to write. */
  readonly tag?: string;
  readonly note?: string;
}

/** An image that was found, with its request. */
interface Sought {
  readonly wanted: Wanted;
  readonly found: Found;
  /** The time before the request: a slow response is not a newer observation. In milliseconds since the epoch. */
  readonly observed: number;
  readonly name: ImageName;
}

interface Missing {
  readonly blob: NeededBlob;
  readonly look: Look;
}

/** Resolves one image of a message. */
export async function resolveImage(slice: SliceWork, wanted: Wanted): Promise<void> {
  const { context, message } = slice;
  const observed = context.now();
  const { reference, repository } = imageName(message, wanted);
  context.quota?.image(reference.startsWith(repository) ? reference : `${reference} as ${repository}`);
  const found = await find(slice, wanted);
  try {
    await mirror(slice, soughtOf(slice, wanted, found, observed));
  } catch (error) {
    if (!(error instanceof RootUnknown)) throw error;
    // HEAD may be answered from a cache, and a tag may move between two requests, so the GET of the tag decides.
    const again = context.now();
    const whole = await findWhole(slice, wanted, found, error.failure);
    await mirror(slice, soughtOf(slice, wanted, whole, again));
  }
}

function soughtOf({ message }: SliceWork, wanted: Wanted, found: Found, observed: number): Sought {
  const { tag, digest } = found;
  return { wanted, found, observed, name: { ...imageName(message, wanted), tag, digest } };
}

/** The steps after the image is found, in order. */
async function mirror(slice: SliceWork, sought: Sought): Promise<void> {
  if (await isDecided(slice, sought)) return;
  const walked = await walkOnce(slice, sought);
  await order(slice, sought, walked);
}

/** Finds the requested image upstream. */
async function find({ source, signal }: SliceWork, { tag, digest }: Wanted): Promise<Found> {
  if (tag === undefined) {
    if (digest === undefined) throw new RangeError('an image to resolve has neither tag nor digest');
    return { digest };
  }
  const named = await source.resolve(tag, { signal }).catch((error: unknown) => {
    if (digest !== undefined && error instanceof Failure && IS_NO_TAG.has(error.code)) return undefined;
    throw error;
  });
  if (named !== undefined && (digest === undefined || named.digest === digest)) return { ...named, tag };
  const note = named === undefined ? 'upstream has no such tag' : `the tag names ${named.digest} upstream`;
  return { digest: digest as Digest, note: `${note}; kept by its digest` };
}

async function findWhole(
  { source, signal }: SliceWork,
  wanted: Wanted,
  { tag, digest }: Found,
  failure: Failure,
): Promise<Found> {
  if (tag === undefined) throw failure;
  const fetched = await source.fetchTag(tag, { signal });
  if (wanted.digest !== undefined && fetched.digest !== digest) throw failure;
  return { digest: fetched.digest, tag, fetched };
}

/** Whether the image needs no more work in this message: the archive has it, or an earlier run has queued it. */
async function isDecided(slice: SliceWork, { found, name }: Sought): Promise<boolean> {
  const { context, message, index, signal } = slice;
  const { digest, tag, note } = found;
  const entry = tag === undefined ? index?.byDigest(digest) : index?.byTag(tag);
  if (entry?.digest === digest && covers(entry, message)) {
    await checkArchivedPlatforms(slice, entry);
    const remark = note === undefined ? {} : { reason: note };
    context.observe({ type: 'image', status: 'unchanged', ...name, ...remark });
    return true;
  }
  const queued = { type: 'image' as const, status: 'pending' as const, ...name };
  return (await context.queuedBy?.(queued, message, signal)) !== undefined;
}

/** Other platforms were requested when the entry was written: check whether the archived ones include these. */
async function checkArchivedPlatforms({ context, message, signal }: SliceWork, entry: TagEntry): Promise<void> {
  const { platforms } = message;
  if (isWithin(provenPlatforms(entry) ?? [], platforms)) return;
  await checkPlatforms(entry.digest, platforms, (of, maxBytes) => held(context.archive, of, { maxBytes, signal }));
}

async function walkOnce(slice: SliceWork, { found, name }: Sought): Promise<Walked> {
  const { context, message, source, signal, walks } = slice;
  const options = { source, archive: context.archive, scope: message, signal };
  const isFirst = !walks.has(found.digest);
  const walked = await once(walks, found.digest, () => walk(found.digest, found.fetched, options));
  context.quota?.size(name.reference, walked.blobs);
  return isFirst ? walked : { ...walked, fetchedBytes: 0 };
}

/** Sends one message per missing blob; without any, notifies the finalizer at once. */
async function order(slice: SliceWork, sought: Sought, walked: Walked): Promise<void> {
  const { context, message, signal } = slice;
  const { queues, observe, lanes } = context;
  const missing = await findMissing(slice, walked.blobs);
  context.quota?.fetch(
    sought.name.reference,
    missing.map(({ blob }) => blob),
  );
  const image = imageOf(sought, walked);
  const name = imageName(message, image);
  observe({
    type: 'resolved',
    ...name,
    missing: missing.length,
    blobs: missing.map(({ blob: { digest, size } }) => ({ digest, size })),
    missingBytes: missing.reduce((sum, { blob }) => sum + (blob.size ?? 0), 0),
    fetchedBytes: walked.fetchedBytes,
  });
  if (missing.length === 0) {
    await queues.send('finalize', [finalizeMessage(message, image, 'resolver')], { signal });
    return;
  }
  const { host } = parseRepository(message.source);
  const outgoing = missing.map(({ blob: { data: _, ...blob }, look }) =>
    layerMessage(message, image, blob, { lanes: lanes(host), look }),
  );
  await queues.send('layer', outgoing, { signal });
  // Not before: an image is pending only if its messages exist, and the last of them brings its final state.
  await context.pending?.({ type: 'image', status: 'pending', ...name }, message, signal);
}

/** The blobs that the archive lacks, the largest first, so that none is left over at the end, alone on its connections. */
async function findMissing({ lookup }: SliceWork, blobs: readonly NeededBlob[]): Promise<readonly Missing[]> {
  const permits = new Semaphore(SIDE_BY_SIDE);
  const looked = await settleAll(
    blobs.map((blob) => permits.with(async () => ({ blob, look: await lookup.find(blob) }))),
  );
  return looked
    .flatMap(({ blob, look }) => (look === undefined ? [] : [{ blob, look }]))
    .sort((a, b) => (b.blob.size ?? 0) - (a.blob.size ?? 0));
}

function imageOf({ wanted, found, observed }: Sought, { mediaType, size, blobs, lost }: Walked): Image {
  const { digest, tag, note } = found;
  return defined({
    digest,
    mediaType,
    size,
    observed,
    tag,
    note,
    asked: wanted.tag === undefined || wanted.digest === undefined ? undefined : wanted,
    largest: largestOf(blobs)?.digest,
    lost: lost.length === 0 ? undefined : lost,
  });
}

function largestOf(blobs: readonly NeededBlob[]): NeededBlob | undefined {
  let largest: NeededBlob | undefined;
  for (const blob of blobs) if ((blob.size ?? 0) >= (largest?.size ?? 0)) largest = blob;
  return largest;
}
