import type { ImageName, MirrorEvent } from '../../sync/events.ts';
import type { Summary } from '../../app/outcomes.ts';

/** Shows a run to a person at a terminal, a log, or a program. It is given each event once (`Outcomes` drops repeated ones). */
export interface Printer {
  /** Counts an image for which the run will have a result. */
  expect(name: ImageName): void;
  event(event: MirrorEvent): void;
  /** A message to the user that is not a result. On a terminal all output goes through the printer, which draws a block there. */
  notice(text: string): void;
  summary(summary: Summary): void;
  /** Removes what is drawn and stops the timer. */
  close(): void;
}
