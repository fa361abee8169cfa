import type { MirrorEvent } from '../mirror/events.ts';
import type { Outcome } from './outcomes.ts';

/** Shows a run to whoever watches: a person at a terminal, a log, or a program. */
export interface Printer {
  event(event: MirrorEvent): void;
  /** A word to whoever runs it that is no result. On a terminal nobody else may write, or the picture would tear. */
  notice(text: string): void;
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
