import type { Archive } from '../archive/archive.ts';
import type { Order } from '../queue/messages.ts';
import type { Queues } from '../queue/queue.ts';
import type { Sources } from '../registry/source.ts';
import type { ImageEvent, Observe } from './events.ts';
import type { Quota } from './resolver/quota.ts';
import type { Window } from './transfer/window.ts';

/** What the three roles stand on. Each takes only what it may use; a wiring makes it once a process. */
export interface ResolverContext extends Common {
  readonly sources: Sources;
  readonly archive: Archive;
  /** Which of a repository's tags are wanted; all of them unless told. */
  readonly chooseTags?: (order: Order) => TagChoice;
  /** What the operator allows; nothing is limited without it. */
  readonly quota?: Quota;
  /** The earlier run that has queued an image that is not complete; such an image is left out. */
  readonly queuedBy?: (event: ImageEvent, order: Order, signal: AbortSignal) => Promise<string | undefined>;
  /** Called for each image that is not complete, before its layers are queued. */
  readonly pending?: (event: ImageEvent, order: Order, signal: AbortSignal) => Promise<void>;
}

/** Chooses among tags as they are listed. */
export interface TagChoice {
  /** What is wanted of a page, as far as that can be said before all have been seen. */
  page(tags: readonly string[]): readonly string[];
  /** What is wanted besides, now that all have been seen. */
  end(): readonly string[];
}

export interface LayerContext extends Common {
  readonly sources: Sources;
  readonly archive: Archive;
  readonly window: Window;
  /** Uncompressed bytes beyond which a layer is refused; a generous limit unless told. */
  readonly maxUncompressed?: number | undefined;
}

export interface FinalizerContext {
  readonly archive: Archive;
  /**
   * Takes the final word on an image: to the run report, to whoever listens. Told at least once; `again` where the tag
   * index said so before, so that most likely it was told already.
   */
  readonly record: (event: ImageEvent, again: boolean) => Promise<void>;
}

interface Common {
  readonly queues: Queues;
  readonly observe: Observe;
  /** How many blobs of a registry are fetched at once. */
  readonly lanes: (host: string) => number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}
