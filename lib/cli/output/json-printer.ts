import { Gathered } from './gathered.ts';
import { type Output, writeJson, writeLine } from './io.ts';
import type { Printer } from './printer.ts';

/** One JSON object per line; the last is the summary. The progress of blobs, an event per 64 KiB, is not printed. */
export function jsonPrinter(out: Output, errors: Output): Printer {
  const lines = new Gathered(out);
  const line = (value: object): void => writeJson(lines, value);
  return {
    expect: () => undefined,
    event(event) {
      if (event.type !== 'blob' || event.phase !== 'progress') line(event);
    },
    notice(text) {
      lines.flush();
      writeLine(errors, text);
    },
    summary({ images, warnings, ...totals }) {
      line({ type: 'summary', ...totals, elapsedMs: Math.round(totals.elapsedMs), images, warnings });
      lines.flush();
    },
    close: lines.flush,
  };
}
