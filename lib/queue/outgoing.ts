import { defined } from '../core/defined.ts';
import { deduplicationId, finalizeGroup, type FinalizeSender, layerGroup, resolveGroup } from './lanes.ts';
import {
  CHANGE_VERSION,
  type FinalizeMessage,
  type Image,
  type LayerMessage,
  MESSAGE_VERSION,
  type Order,
  type RecordedFailure,
  type RepositoryChange,
  type ResolveMessage,
  SLICE,
  type Wanted,
} from './messages.ts';
import type { Outgoing } from './queue.ts';

/**
 * Characters of a recorded reason: a sentence is enough, and a registry's HTML page must not make a message too large.
 */
const MAX_REASON_LENGTH = 2_000;

/** A message to the resolver: list all tags, or resolve these images. */
export function resolveMessage(order: Order, what: ResolveMessage['what'], lanes?: number): Outgoing<ResolveMessage> {
  const message: ResolveMessage = { version: MESSAGE_VERSION, type: 'resolve', ...orderOf(order), what };
  return { message, group: resolveGroup(message, lanes), deduplicationId: deduplicationId(message) };
}

/** The messages of a run whose start is not recorded: each one names the next one, and the last one the first. */
export function chained(messages: readonly Outgoing<ResolveMessage>[]): readonly Outgoing<ResolveMessage>[] {
  if (messages.length === 1) return messages;
  return messages.map(({ message, ...rest }, at) => {
    const next = messages[(at + 1) % messages.length]?.deduplicationId;
    return { ...rest, message: { ...message, ...defined({ next }) } };
  });
}

/** Messages to the resolver for any number of images. Another message checks their unchanged images for referrers. */
export function sliceMessages(order: Order, images: readonly Wanted[]): Outgoing<ResolveMessage>[] {
  return Array.from({ length: Math.ceil(images.length / SLICE) }, (_, at) =>
    resolveMessage(order, { kind: 'images', images: images.slice(at * SLICE, (at + 1) * SLICE), listed: true }),
  );
}

/**
 * A message to the layer function: one blob that the archive lacks.
 *
 * @param options.lanes the number of blobs of the source's host that may be fetched concurrently
 * @param options.look the objects that the layer function has to look up in the archive
 */
export function layerMessage(
  order: Order,
  image: Image,
  blob: LayerMessage['blob'],
  options: { readonly lanes: number; readonly look: LayerMessage['look'] },
): Outgoing<LayerMessage> {
  const { lanes, look } = options;
  return onLane(
    { version: MESSAGE_VERSION, type: 'layer', ...orderOf(order), image, blob, look, continuation: 0 },
    lanes,
  );
}

/**
 * The next message for the same layer and its missing parts; it goes to the end of its lane.
 *
 * @param stalled consecutive continuations, up to the one that sends this message, that stored no new part
 */
export function continuationOf(message: LayerMessage, lanes: number, stalled = 0): Outgoing<LayerMessage> {
  const { stalled: _, ...rest } = message;
  const continuation = message.continuation + 1;
  return onLane({ ...rest, look: 'everything', continuation, ...(stalled === 0 ? {} : { stalled }) }, lanes);
}

/**
 * A message to the finalizer: a part of this image is done, or the image cannot be mirrored.
 *
 * @param sender the layer that is done or has failed, or `resolver` where nothing was missing or the image was refused
 */
export function finalizeMessage(
  order: Order,
  image: Image,
  sender: FinalizeSender,
  failure?: RecordedFailure,
): Outgoing<FinalizeMessage>;
/** The same for an image that was not found upstream. */
export function finalizeMessage(
  order: Order,
  image: Image | Wanted,
  sender: FinalizeSender,
  failure: RecordedFailure,
): Outgoing<FinalizeMessage>;
export function finalizeMessage(
  order: Order,
  image: Image | Wanted,
  sender: FinalizeSender,
  failure?: RecordedFailure,
): Outgoing<FinalizeMessage> {
  const message: FinalizeMessage = {
    version: MESSAGE_VERSION,
    type: 'finalize',
    ...orderOf(order),
    image,
    ...(failure === undefined ? {} : { failure: { ...failure, reason: shortened(failure.reason) } }),
  };
  return toFinalizer(message, sender);
}

/**
 * A message to the finalizer about unchanged images: it records checks for referrers, and attests images.
 *
 * @param image one of them
 */
export function checksMessage(
  order: Order,
  image: Image,
  { checks = [], attest = [] }: Pick<FinalizeMessage, 'checks' | 'attest'>,
): Outgoing<FinalizeMessage> {
  const { message } = finalizeMessage(order, image, 'resolver');
  return toFinalizer({ ...message, checks, ...(attest.length === 0 ? {} : { attest }) }, 'resolver');
}

/** A message to the finalizer that changes the state of a repository. A run sends equal changes only once. */
export function changeMessage(order: Order, change: RepositoryChange): Outgoing<FinalizeMessage> {
  return toFinalizer({ version: CHANGE_VERSION, type: 'finalize', ...orderOf(order), image: {}, change }, 'resolver');
}

function toFinalizer(message: FinalizeMessage, sender: FinalizeSender): Outgoing<FinalizeMessage> {
  return { message, group: finalizeGroup(message.repository), deduplicationId: deduplicationId(message, sender) };
}

function onLane(message: LayerMessage, lanes: number): Outgoing<LayerMessage> {
  return {
    message,
    group: layerGroup(message.source, message.blob.digest, lanes),
    deduplicationId: deduplicationId(message),
  };
}

/** Copies only the fields of the order, because callers pass the whole message that they handle. */
function orderOf({ run, source, repository, platforms, foreignLayers, strictMediaTypes }: Order): Order {
  return defined({ run, source, repository, platforms, foreignLayers, strictMediaTypes });
}

function shortened(reason: string): string {
  return reason.length <= MAX_REASON_LENGTH ? reason : `${reason.slice(0, MAX_REASON_LENGTH - 1)}…`;
}
