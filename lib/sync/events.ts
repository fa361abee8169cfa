import type { Digest } from '../oci/digest.ts';
import type { Changes } from '../changes/changes.ts';
import type { Image, LayerMessage, Order, Wanted } from '../queue/messages.ts';

/**
 * Progress, as it happens: for a terminal, a log, or metrics. Events are delivered at least once, like the queues'
 * messages; a subscriber that counts images keeps the first final state of each.
 */
export type MirrorEvent = ListedEvent | ResolvedEvent | BlobEvent | ImageEvent;

/**
 * The image of an event. The request and the target repository together identify it within a run: one image may be
 * requested by tag, by digest and by both, and may have several targets.
 */
export interface ImageName extends Found {
  /** Repository in the archive. */
  readonly repository: string;
  /** As requested: `docker.io/library/alpine:3.20@sha256:…`; the repository where its tags could not be listed. */
  readonly reference: string;
  /** For a referrer that was not requested itself: the manifest that it refers to, and the requested image. */
  readonly referrer?: { readonly subject: Digest; readonly root: string };
}

/** The known facts about an image. */
interface Found {
  /** The run that asked. */
  readonly run: string;
  /** Upstream repository: `docker.io/library/alpine`. */
  readonly source: string;
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
}

/**
 * A page of tags was listed; an image event follows for each of them. An event without tags is sent after the last page
 * if no tag is selected.
 */
export interface ListedEvent {
  readonly type: 'listed';
  readonly run: string;
  readonly source: string;
  readonly repository: string;
  readonly tags: readonly string[];
  /** If no tag is selected: the number of upstream's tags, and the first few of them. */
  readonly upstream?: { readonly count: number; readonly some: readonly string[] };
}

/** The resolver has found all content of an image. */
export interface ResolvedEvent extends ImageName {
  readonly type: 'resolved';
  /** Blobs that the archive lacks, and their bytes where the descriptors contain sizes. */
  readonly missing: number;
  readonly missingBytes: number;
  /** These blobs. Images may share them. */
  readonly blobs: readonly { readonly digest: Digest; readonly size: number | undefined }[];
  /** Bytes of manifests and configs that the resolver fetched itself. */
  readonly fetchedBytes: number;
}

export interface BlobEvent extends Found {
  readonly type: 'blob';
  readonly phase: 'started' | 'progress' | 'verifying' | 'stored' | 'present' | 'continued' | 'failed';
  readonly blob: Digest;
  /** Bytes of the whole blob, where known. */
  readonly size: number | undefined;
  /** Bytes fetched so far in this attempt. */
  readonly fetched: number;
  readonly reason?: string;
}

/**
 * The final states of an image.
 *
 * - `mirrored`: its reference is written. `unchanged`: it was there before.
 * - `held`: its content is in the archive, and its tag is not visible before `until`.
 * - `unverified`: the policy requires a signature that the image lacks; no layer is fetched.
 * - `drifted`: the tag has moved upstream, and the policy keeps the tag at the digest `current`.
 * - `rejected`: a person has decided against this digest.
 * - `failed`: it could not be mirrored, for the reason in `code` and `reason`.
 */
export const IMAGE_STATUSES = ['mirrored', 'unchanged', 'held', 'unverified', 'drifted', 'rejected', 'failed'] as const;

export type FinalStatus = (typeof IMAGE_STATUSES)[number];

/** The state of an image; all but `pending` are final. */
export interface ImageEvent extends ImageName {
  readonly type: 'image';
  readonly status: 'pending' | FinalStatus;
  /** The previous digest of the tag in the archive, if the tag has moved. */
  readonly previous?: Digest;
  /** The difference between the previous image and this one, if the tag has moved. */
  readonly changes?: Changes;
  /** The digest that a drifted tag keeps in the archive. */
  readonly current?: Digest;
  /** The end of the period of a held image: ISO 8601, UTC. */
  readonly until?: string;
  /** The failure's code, for machines. */
  readonly code?: string;
  /** For people: the reason for a failure, or a surprising fact about an image that was mirrored. */
  readonly reason?: string;
  /** Warnings about an image that is mirrored, each a sentence: `no diffIDs claimed`. Missing where there are none. */
  readonly notes?: readonly string[];
}

export type Observe = (event: MirrorEvent) => void;

/** An event of the blob of a message. */
export function blobEvent(
  { run, source, image: { tag, digest }, blob }: LayerMessage,
  phase: BlobEvent['phase'],
  fetched: number,
): BlobEvent {
  return { type: 'blob', phase, run, source, tag, digest, blob: blob.digest, size: blob.size, fetched };
}

/** The name of an image in a message, whether it was found or not. */
export function imageName(
  { run, source, repository }: Pick<Order, 'run' | 'source' | 'repository'>,
  image: Image | Wanted,
): ImageName {
  const { tag, digest } = image;
  const name = { run, source, repository, reference: referenceOf(source, askedFor(image)), tag, digest };
  if (!('root' in image) || image.subject === undefined) return name;
  return { ...name, referrer: { subject: image.subject, root: referenceOf(source, image.root) } };
}

function askedFor(image: Image | Wanted): Wanted {
  if (!('observed' in image)) return image;
  return image.asked ?? (image.tag === undefined ? { digest: image.digest } : { tag: image.tag });
}

function referenceOf(source: string, { tag, digest }: Wanted): string {
  return `${source}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}
