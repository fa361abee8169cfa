import { type Output, writeJson, writeLine } from './io.ts';
import type { Printer } from './printer.ts';

/**
 * One JSON object a line; the last is the summary. Progress within a blob is left out: whoever reads this wants to know
 * what happened, and a line for every 64 KiB would drown it.
 */
export function jsonPrinter(out: Output, errors: Output): Printer {
  const line = (value: object): void => {
    writeJson(out, value);
  };
  return {
    expect: () => undefined,
    event(event) {
      if (event.type !== 'blob' || event.phase !== 'progress') line(event);
    },
    notice(text) {
      writeLine(errors, text);
    },
    summary({ run, mirrored, unchanged, failed, bytes, elapsedMs, images, warnings }) {
      const counts = { run, mirrored, unchanged, failed, bytes, elapsedMs: Math.round(elapsedMs) };
      line({ type: 'summary', ...counts, images, warnings });
    },
    close: () => undefined,
  };
}
