/** Shows the progress of `verify`, which may take a day, on standard error. */
import type { Progress } from '../../upkeep/verify.ts';
import { printable } from '../../oci/show.ts';
import { bytes, plural, seconds } from '../../core/format.ts';
import { type Io, writeLine } from './io.ts';
import { sizeOf, startOf } from './screen.ts';

/** Milliseconds between two updates of the line on a terminal, and between two lines elsewhere. */
const REDRAW_MS = 100;
const LINE_MS = 30_000;

export class VerifyProgress {
  readonly #io: Pick<Io, 'stderr' | 'env'>;
  readonly #now: () => number;
  readonly #draws: boolean;
  readonly #started: number;
  #shown: number;
  #drawn = false;

  constructor(io: Pick<Io, 'stderr' | 'env'>, now: () => number = () => performance.now()) {
    this.#io = io;
    this.#now = now;
    this.#draws = io.stderr.isTTY === true && io.env['TERM'] !== 'dumb';
    this.#started = now();
    this.#shown = this.#started;
  }

  show(state: Progress): void {
    const now = this.#now();
    if (now - this.#shown < (this.#draws ? REDRAW_MS : LINE_MS)) return;
    this.#shown = now;
    const { repository, position, total, objects, bytes: read } = state;
    const elapsed = seconds(now - this.#started);
    const text = `verifying ${repository} (${position} of ${total}): ${plural(objects, 'object')}, ${bytes(read)} read in ${elapsed}`;
    if (!this.#draws) {
      writeLine(this.#io.stderr, text);
      return;
    }
    this.#io.stderr.write(`\r\x1b[K${startOf(printable(text), sizeOf(this.#io.stderr).columns - 1)}`);
    this.#drawn = true;
  }

  /** Removes the line, before anything else is printed. */
  clear(): void {
    if (this.#drawn) this.#io.stderr.write('\r\x1b[K');
    this.#drawn = false;
  }
}
