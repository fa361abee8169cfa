import { hash } from 'node:crypto';
import { type Digest, digestParts } from '../oci/digest.ts';
import { parseRepository } from '../oci/reference.ts';
import type { FinalizeMessage, Image, LayerMessage, Message, ResolveMessage, Wanted } from './messages.ts';

/**
 * Decides which messages wait for each other (groups), and which are the same message (deduplication ids). Pure.
 *
 * Both are ids of SQS: at most 128 letters, digits and punctuation characters (MessageGroupId, MessageDeduplicationId).
 */
export const MAX_ID_LENGTH = 128;

/**
 * The number of resolve messages of one registry that are handled concurrently. Each sends concurrent requests for its
 * tags, so a few keep the connections of a host busy. More would only increase the pressure on its rate limit.
 */
export const RESOLVE_LANES = 4;

/**
 * The lane of a blob, `host#n`. A blob of a registry always has the same lane, so it is never fetched twice at the same
 * time, and the number of lanes limits the blobs that are fetched concurrently.
 *
 * @param source the upstream repository, `docker.io/library/alpine`
 * @param lanes the number of blobs of this host that may be fetched concurrently
 */
export function layerGroup(source: string, blob: Digest, lanes: number): string {
  return lane(source, digestParts(blob).hex, lanes);
}

/**
 * The lane of a resolve message, also `host#n`. Slices of one repository run concurrently, since they share nothing:
 * the observation time decides between changes of a tag. The lanes still bound the load of a registry: a schedule that
 * starts a hundred repositories at once sends each registry at most `lanes` of them, and a registry that answers 429
 * delays only its own lanes.
 */
export function resolveGroup(message: ResolveMessage, lanes: number = RESOLVE_LANES): string {
  return lane(message.source, hash('sha256', canonical([message.repository, message.what])), lanes);
}

/**
 * The group of a finalize message is the archive's repository: one finalizer at a time writes its tag index, many tags
 * in one write.
 */
export function finalizeGroup(repository: string): string {
  return fitted(repository, MAX_ID_LENGTH);
}

/**
 * The deduplication id: equal for the same work from the same sender, and different for anything else.
 *
 * - A retried resolver sends the same messages again, which are dropped. So the id omits facts that differ between
 *   tries: the observation time, the result of the blob's lookup, and whether a part was stored.
 * - A continuation contains its number: it is accepted, and a duplicate of it is dropped.
 * - One layer in two images, or in one image under two tags, has one message for each: each of them ends in a finalize
 *   message, which its image waits for.
 * - Finalize messages of one image differ by `sender`: the one after the last layer counts, and must not be dropped as
 *   a duplicate of the first. A recorded failure is never dropped for a message without one.
 * - Another run is other work, also within five minutes.
 *
 * @param sender the layer that is done, or `resolver` where no layer was missing
 */
export function deduplicationId(message: FinalizeMessage, sender: FinalizeSender): string;
export function deduplicationId(message: ResolveMessage | LayerMessage): string;
export function deduplicationId(message: Message, sender?: FinalizeSender): string {
  return hash('sha256', canonical({ ...identity(message), sender }));
}

export type FinalizeSender = Digest | 'resolver';

function identity(message: Message): object {
  switch (message.type) {
    case 'resolve':
      return { ...message, next: undefined };
    case 'layer':
      return { ...message, image: asWanted(message.image), look: undefined, stalled: undefined };
    case 'finalize':
      return { ...message, image: asWanted(message.image), failure: message.failure?.code };
  }
}

/** The fields of an image that do not depend on the observation. */
function asWanted(image: Image | Wanted): object {
  const { tag, digest } = image;
  return { tag, digest, asked: 'asked' in image ? image.asked : undefined };
}

function lane(source: string, hex: string, lanes: number): string {
  if (!Number.isSafeInteger(lanes) || lanes < 1) throw new RangeError(`lanes: a positive whole number, not ${lanes}`);
  // 48 bits: far more than any number of lanes, and exact in a double.
  const suffix = `#${parseInt(hex.slice(0, 12), 16) % lanes}`;
  return fitted(parseRepository(source).host, MAX_ID_LENGTH - suffix.length) + suffix;
}

/**
 * The name itself if it is short enough; otherwise its beginning and its hash. `~` occurs in no host and no repository
 * name, so a shortened name never equals another name.
 */
function fitted(name: string, length: number): string {
  if (name.length <= length) return name;
  const end = `~${hash('sha256', name)}`;
  return name.slice(0, length - end.length) + end;
}

/** JSON with sorted keys: equal values give equal texts. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
