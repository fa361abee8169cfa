import { createHash } from 'node:crypto';
import { type Digest, digestParts } from '../oci/digest.ts';
import { parseRepository } from '../oci/reference.ts';
import type { FinalizeMessage, Image, LayerMessage, Message, ResolveMessage, Wanted } from './messages.ts';

/**
 * Which messages wait for each other (groups), and which are the same message (deduplication ids). Pure.
 *
 * Both are SQS's: at most 128 letters, digits and punctuation characters (MessageGroupId, MessageDeduplicationId).
 */
export const MAX_ID_LENGTH = 128;

/**
 * How many resolve messages of one registry are handled at once. Each asks about its tags side by side already, so a few
 * keep the connections that a host is allowed busy, and more would only press on its rate limit.
 */
export const RESOLVE_LANES = 4;

/**
 * The lane of a blob, `host#n`: one blob of a registry always has the same lane, so that it is never fetched twice at
 * once, and no more blobs are fetched at once than the registry has lanes.
 *
 * @param source the upstream repository, `docker.io/library/alpine`
 * @param lanes how many blobs of this host may be fetched at once
 */
export function layerGroup(source: string, blob: Digest, lanes: number): string {
  return lane(source, digestParts(blob).hex, lanes);
}

/**
 * The lane of a resolve message, `host#n` too. Slices of one repository go side by side, since they share nothing (tags
 * move forward by when they were observed, not by who comes first); but the load is the registry's, not the
 * repository's: a schedule that starts a hundred repositories at once meets each registry with `lanes` of them, and one
 * that answers 429 holds up nobody but itself.
 */
export function resolveGroup(message: ResolveMessage, lanes: number = RESOLVE_LANES): string {
  return lane(message.source, sha256(canonical([message.repository, message.what])), lanes);
}

/** The archive's repository: its tag index is written by one finalizer at a time, many tags in one write. */
export function finalizeGroup(repository: string): string {
  return fitted(repository, MAX_ID_LENGTH);
}

/**
 * The same id for the same work asked for by the same sender, another for anything else:
 *
 * - A resolver that is retried sends what it has sent before: swallowed. So what differs between two tries at the same
 *   work takes no part: when upstream was asked, what of the blob was there by then, and whether a part of it was stored.
 * - A continuation carries its number: it gets through, and a twin of it does not.
 * - One layer in two images, or in one image under two tags, is as many messages: each of them has to end in a finalize
 *   message of its own, or an image would wait for a layer that nobody tells of.
 * - Finalize messages of one image differ by `sender`: the one sent after the last layer is the one that counts, and must
 *   not be swallowed by the one after the first. A recorded failure is never swallowed by a message without one.
 * - Another run is other work, also within five minutes.
 *
 * @param sender what of the image is told of: the layer that is done, or `resolver` where none was missing
 */
export function deduplicationId(message: FinalizeMessage, sender: FinalizeSender): string;
export function deduplicationId(message: ResolveMessage | LayerMessage): string;
export function deduplicationId(message: Message, sender?: FinalizeSender): string {
  return sha256(canonical({ ...identity(message), sender }));
}

export type FinalizeSender = Digest | 'resolver';

function identity(message: Message): object {
  switch (message.type) {
    case 'resolve':
      return message;
    case 'layer':
      return { ...message, image: asWanted(message.image), look: undefined, stalled: undefined };
    case 'finalize':
      return { ...message, image: asWanted(message.image), failure: message.failure?.code };
  }
}

/** What of an image does not depend on when it was looked at. */
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
 * A name as it is where it is short enough, else its head and its hash. `~` is in no host and no repository name, so that
 * a shortened one is never mistaken for one that was short.
 */
function fitted(name: string, length: number): string {
  if (name.length <= length) return name;
  const hash = sha256(name);
  return `${name.slice(0, length - hash.length - 1)}~${hash}`;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** JSON with sorted keys: equal for equal values, however they were put together. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
