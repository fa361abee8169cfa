import type { ImageName, MirrorEvent } from '../../sync/events.ts';
import type { Summary } from '../../app/outcomes.ts';
import type { Notice } from '../../app/sync.ts';

/** Prints a run for a terminal, a log, or a program. It receives each event once (`Outcomes` drops repeated events). */
export interface Printer {
  /** Counts an image for which the run will have a result. */
  readonly expect: (name: ImageName) => void;
  readonly event: (event: MirrorEvent) => void;
  /** Prints a message that is not a result. On a terminal all output goes through the printer, which redraws its block. */
  readonly notice: Notice;
  /** Prints the summary and ends the progress; only notices may follow. */
  readonly summary: (summary: Summary) => void;
  /** Ends the progress of a run without a summary as well, and writes the last lines. */
  readonly close: () => void;
}
