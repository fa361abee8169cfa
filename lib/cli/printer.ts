import type { MirrorEvent } from '../mirror/events.ts';
import type { Outcome } from './outcomes.ts';

/** Shows a run to whoever watches: a person at a terminal, a log, or a program. */
export interface Printer {
  event(event: MirrorEvent): void;
  summary(summary: Summary): void;
  /** Takes down what is drawn and stops what is ticking. */
  close(): void;
}

export interface Summary {
  readonly mirrored: number;
  readonly unchanged: number;
  readonly failed: number;
  readonly images: readonly Outcome[];
  readonly elapsedMs: number;
}
