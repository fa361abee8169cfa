import type { ImageName, MirrorEvent } from '../../sync/events.ts';
import type { Summary } from '../../app/outcomes.ts';

/** Prints a run for a terminal, a log, or a program. It receives each event once (`Outcomes` drops repeated events). */
export interface Printer {
  /** Counts an image for which the run will have a result. */
  expect(name: ImageName): void;
  event(event: MirrorEvent): void;
  /** Prints a message that is not a result. On a terminal all output goes through the printer, which redraws its block. */
  notice(text: string): void;
  summary(summary: Summary): void;
  /** Removes the block and stops the timer. */
  close(): void;
}
