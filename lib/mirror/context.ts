import type { Archive } from '../archive/archive.ts';
import type { Queues } from '../queue/queue.ts';
import type { Sources } from '../registry/source.ts';
import type { ImageEvent, Observe } from './events.ts';
import type { Window } from './window.ts';

/** What the three roles stand on. Each takes only what it may use; a wiring makes it once a process. */
export interface ResolverContext extends Common {
  readonly sources: Sources;
  readonly archive: Archive;
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
  /** Takes the final word on an image: to the run report, to whoever listens. Told at least once. */
  readonly record: (event: ImageEvent) => Promise<void>;
}

interface Common {
  readonly queues: Queues;
  readonly observe: Observe;
  /** How many blobs of a registry are fetched at once. */
  readonly lanes: (host: string) => number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}
