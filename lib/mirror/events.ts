import type { Digest } from '../oci/digest.ts';

/**
 * What happens, as it happens: for a person at a terminal, a log, or metrics. Like the queues, events are delivered at
 * least once; whoever counts images keeps the first final word on each.
 */
export type MirrorEvent = ListedEvent | ResolvedEvent | BlobEvent | ImageEvent;

/** The image that an event belongs to, as it was asked for. */
export interface ImageName {
  /** The run that asked. */
  readonly run: string;
  /** Upstream repository: `docker.io/library/alpine`. */
  readonly source: string;
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
}

/** A page of tags was listed; each of them will end as an image event of its own. */
export interface ListedEvent {
  readonly type: 'listed';
  readonly run: string;
  readonly source: string;
  readonly tags: readonly string[];
}

/** The resolver knows what an image consists of. */
export interface ResolvedEvent extends ImageName {
  readonly type: 'resolved';
  /** Blobs that the archive lacks, and their bytes where the descriptors say them. */
  readonly missing: number;
  readonly missingBytes: number;
  /** Bytes of manifests and configs that the resolver fetched itself. */
  readonly fetchedBytes: number;
}

export interface BlobEvent extends ImageName {
  readonly type: 'blob';
  readonly phase: 'started' | 'progress' | 'verifying' | 'stored' | 'present' | 'continued' | 'failed';
  readonly blob: Digest;
  /** Bytes of the whole blob, where known. */
  readonly size: number | undefined;
  /** Bytes fetched so far in this attempt. */
  readonly fetched: number;
  readonly reason?: string;
}

/** A word on an image; all but `pending` are final. */
export interface ImageEvent extends ImageName {
  readonly type: 'image';
  readonly status: 'pending' | 'mirrored' | 'unchanged' | 'failed';
  /** The failure's code, for machines; the reason is for people. */
  readonly code?: string;
  readonly reason?: string;
}

export type Observe = (event: MirrorEvent) => void;
