import type { Archive } from '../archive/archive.ts';
import type { Failure } from '../core/failure.ts';
import type { Order } from '../queue/messages.ts';
import type { Policy } from '../policy/policy.ts';
import type { Queues } from '../queue/queue.ts';
import type { Sources } from '../registry/source.ts';
import type { ImageEvent, Observe } from './events.ts';
import type { Attesting } from './finalizer/attestations.ts';
import type { FailedImages } from './layer/failed-images.ts';
import type { Quota } from './resolver/quota.ts';
import type { BufferPool } from './transfer/buffer-pool.ts';

/**
 * The dependencies of the three roles. Each role gets only the dependencies that it may use; each process creates them
 * once.
 */
export interface ResolverContext extends Common {
  readonly sources: Sources;
  readonly archive: Archive;
  /** Chooses among a repository's tags; all of them by default. */
  readonly chooseTags?: (order: Order) => TagChoice;
  /** The policy of the configuration; without one, the recorded policy applies. */
  readonly policyOf?: (order: Order) => Policy | undefined;
  /** Called if the repository has not completed its first run, in which `initial: accept` exempts digests. */
  readonly initial?: () => void;
  /** The operator's limits; there are none by default. */
  readonly quota?: Quota;
  /** The bytes of Sigstore's trusted root, for signers with an identity; undefined without one. */
  readonly trustedRoot?: Uint8Array | undefined;
  /** Returns the earlier run that has queued this image and not completed it; such an image is skipped. */
  readonly queuedBy?: (event: ImageEvent, order: Order, signal: AbortSignal) => Promise<string | undefined>;
  /** Whether a failure is left out of the records, since it is not an error of the mirror. */
  readonly isExpected?: (failure: Failure, order: Order) => boolean;
  /** Called for each image that is not complete, after its layers are queued. */
  readonly pending?: (event: ImageEvent, order: Order, signal: AbortSignal) => Promise<void>;
}

/** Chooses among tags as they are listed. */
export interface TagChoice {
  /** The tags of a page that are wanted whatever the later pages contain. */
  page(tags: readonly string[]): readonly string[];
  /** The other wanted tags, after all pages were read. */
  end(): readonly string[];
}

export interface LayerContext extends Common {
  readonly sources: Sources;
  readonly archive: Archive;
  readonly buffers: BufferPool;
  /** The images whose other layers are skipped; without it, all layers are fetched. */
  readonly failedImages?: FailedImages;
  /** Uncompressed bytes beyond which a layer is refused; by default a generous limit. */
  readonly maxUncompressed?: number | undefined;
}

export interface FinalizerContext extends Attesting {
  /**
   * Takes the final state of an image, for the run report and for subscribers. Called at least once per image. `again`
   * is true where the tag index already had this state, which was then most likely recorded.
   */
  readonly record: (event: ImageEvent, again: boolean) => Promise<void>;
}

interface Common {
  readonly queues: Queues;
  readonly observe: Observe;
  /** How many blobs of a registry are fetched concurrently. */
  readonly lanes: (host: string) => number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}
