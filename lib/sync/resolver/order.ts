/** Sends the messages for an image that was found upstream: one per missing blob, or one to the finalizer. */
import { settleEach } from '../../core/settle-all.ts';
import type { Semaphore } from '../../core/semaphore.ts';
import type { TagIndex } from '../../archive/tag-index/tag-index.ts';
import { defined } from '../../core/defined.ts';
import type { Digest } from '../../oci/digest.ts';
import { MEDIA_TYPES } from '../../oci/mediatype.ts';
import { parseRepository } from '../../oci/reference.ts';
import type { Policy } from '../../policy/policy.ts';
import type { Image, ResolveMessage, Wanted } from '../../queue/messages.ts';
import { finalizeMessage, layerMessage } from '../../queue/outgoing.ts';
import type { Resolved, Source } from '../../registry/source.ts';
import type { ResolverContext } from '../context.ts';
import type { DeliveryOptions } from '../delivery.ts';
import type { BlobLookup, Look } from './blob-lookup.ts';
import { type ImageName, imageName } from '../events.ts';
import { Once } from './once.ts';
import type { ReferrerWork } from './referrers.ts';
import type { NeededBlob } from './parsing.ts';
import { walk, type Walked } from './walk.ts';

/** Blobs of an image that are looked up concurrently. */
const SIDE_BY_SIDE = 16;

/** An image of more blobs waits for its turn without the list of its blobs. An ordinary image has fewer than a hundred. */
const MANY_BLOBS = 500;

/** The messages of an image that are sent together. An ordinary image has fewer layers. */
const SENT_AT_ONCE = 100;

/** The blobs and manifests of the walks that a message keeps. An ordinary image has fewer than a hundred. */
const KEPT_ITEMS = 10_000;

/** The walks of a message's images, of which tags often name the same. */
export function keptWalks(): Once<Walked> {
  return new Once(KEPT_ITEMS, ({ blobs, manifests }) => blobs.length + manifests.length);
}

/** The state that the images of one message share. */
export interface SliceWork {
  readonly context: ResolverContext;
  readonly message: ResolveMessage;
  readonly signal: AbortSignal;
  readonly options: DeliveryOptions;
  readonly source: Source;
  readonly lookup: BlobLookup;
  /** Tags often name the same image, which is walked once while the result is kept. */
  readonly walks: Once<Walked>;
  readonly referrers: ReferrerWork;
  /** Lets a few images at a time keep a whole manifest of any size that only the tag names. */
  readonly wholes: Semaphore;
  /** Lets one image of very many blobs keep their list at a time. */
  readonly many: Semaphore;
  /** Lets one image of many layers send its messages at a time, so that they take little memory, and arrive together. */
  readonly orders: Semaphore;
  /** Unchanged images to attest, by digest. */
  readonly unattested: Map<Digest, Image>;
  /** The policy that the archive has recorded. */
  readonly policy: Policy;
  /** The tag index as it was before the message. */
  readonly index: TagIndex | undefined;
}

/** An image that upstream has. */
export interface Found extends Partial<Pick<Resolved, 'fetched'>> {
  readonly digest: Digest;
  /** The tag to write. */
  readonly tag?: string;
  readonly note?: string;
  /** Bytes of its manifest, where that was too large to be kept. */
  readonly size?: number;
}

/** An image that was found, with its request. */
export interface Sought {
  readonly wanted: Wanted;
  readonly found: Found;
  /**
   * The time before the request, so that a slow response does not count as a newer observation. In milliseconds since
   * the epoch.
   */
  readonly observed: number;
  readonly name: ImageName;
}

/** Facts about an image that its messages contain. */
export interface Remarks extends Pick<Image, 'notes' | 'subject' | 'root' | 'verified' | 'awaited'> {
  readonly checked?: number | undefined;
}

interface Missing {
  readonly blob: NeededBlob;
  readonly look: Look;
}

/**
 * Walks down from an image, and handles the result. An image of very many blobs waits for its turn without the list of its
 * blobs, which `walks` keeps, or which is found again in the archive. `finish` must not wait for another image.
 */
export async function withWalked<T>(
  slice: SliceWork,
  image: Walkable,
  finish: (walked: Walked) => Promise<T>,
): Promise<T> {
  const { blobs, fetchedBytes } = await countBlobs(slice, image);
  const work = async (): Promise<T> => finish({ ...(await walkOnce(slice, image)), fetchedBytes });
  return blobs <= MANY_BLOBS ? work() : slice.many.with(work, slice.signal);
}

/** Returns only numbers, so that nothing keeps the list of the blobs. */
async function countBlobs(
  slice: SliceWork,
  image: Walkable,
): Promise<{ readonly blobs: number; readonly fetchedBytes: number }> {
  const { blobs, fetchedBytes } = await walkOnce(slice, image);
  return { blobs: blobs.length, fetchedBytes };
}

interface Walkable {
  readonly sought: Sought;
  /** Called before a manifest is read. */
  readonly onManifest?: (digest: Digest) => void;
}

/** Walks down from an image; once for each digest. */
async function walkOnce(slice: SliceWork, { sought: { found, name }, onManifest }: Walkable): Promise<Walked> {
  const { context, message, source, signal, walks } = slice;
  const options = { source, archive: context.archive, scope: message, signal, onManifest, size: found.size };
  const isFirst = !walks.has(found.digest);
  const walked = await walks.get(found.digest, () => walk(found.digest, found.fetched, options));
  context.quota?.size(name.reference, walked.blobs);
  return isFirst ? walked : { ...walked, fetchedBytes: 0 };
}

/** Sends one message per missing blob; without any, notifies the finalizer at once. */
export async function order(slice: SliceWork, sought: Sought, walked: Walked, remarks: Remarks): Promise<void> {
  const { context, message, signal } = slice;
  const { queues, observe } = context;
  const missing = await findMissing(slice, walked.blobs);
  context.quota?.fetch(
    sought.name.reference,
    missing.map(({ blob }) => blob),
  );
  const image = imageOf(sought, walked, remarks);
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
  await sendLayers(slice, image, missing);
  // The event comes after the messages: an image is pending only if its messages exist, and the last of them reports
  // the final state.
  await context.pending?.({ type: 'image', status: 'pending', ...name }, message, signal);
}

async function sendLayers(slice: SliceWork, image: Image, missing: readonly Missing[]): Promise<void> {
  const { context, message, signal, orders } = slice;
  const lanes = context.lanes(parseRepository(message.source).host);
  const send = async (some: readonly Missing[]): Promise<void> => {
    const outgoing = some.map(({ blob: { data: _, ...blob }, look }) =>
      layerMessage(message, image, blob, { lanes, look }),
    );
    await context.queues.send('layer', outgoing, { signal });
  };
  if (missing.length <= SENT_AT_ONCE) return send(missing);
  return orders.with(async () => {
    for (let sent = 0; sent < missing.length; sent += SENT_AT_ONCE)
      await send(missing.slice(sent, sent + SENT_AT_ONCE));
  }, signal);
}

/** The blobs that the archive lacks, the largest first, so that no large blob is transferred alone at the end. */
async function findMissing({ lookup }: SliceWork, blobs: readonly NeededBlob[]): Promise<readonly Missing[]> {
  const looked = await settleEach(blobs, SIDE_BY_SIDE, async (blob) => ({ blob, look: await lookup.find(blob) }));
  return looked
    .flatMap(({ blob, look }) => (look === undefined ? [] : [{ blob, look }]))
    .sort((a, b) => (b.blob.size ?? 0) - (a.blob.size ?? 0));
}

/** An image that is not fetched; it stays invisible, so neither its media type nor its size is written. */
export function notFetched(sought: Sought): Image {
  return defined({ ...requested(sought), mediaType: MEDIA_TYPES.ociManifest, size: 0 });
}

function requested({ wanted, found: { digest, tag, note }, observed }: Sought) {
  const asked = wanted.tag === undefined || wanted.digest === undefined ? undefined : wanted;
  return { digest, observed, tag, note, asked };
}

function imageOf(
  sought: Sought,
  { mediaType, size, blobs, lost }: Walked,
  { notes = [], checked, awaited = [], subject, root, verified }: Remarks,
): Image {
  return defined({
    ...requested(sought),
    mediaType,
    size,
    notes: notes.length === 0 ? undefined : notes,
    largest: largestOf(blobs)?.digest,
    lost: lost.length === 0 ? undefined : lost,
    checked,
    awaited: awaited.length === 0 ? undefined : awaited,
    subject,
    root,
    verified,
  });
}

function largestOf(blobs: readonly NeededBlob[]): NeededBlob | undefined {
  let largest: NeededBlob | undefined;
  for (const blob of blobs) if ((blob.size ?? 0) >= (largest?.size ?? 0)) largest = blob;
  return largest;
}
