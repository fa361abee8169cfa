import type { BlobEvent } from '../mirror/events.ts';
import { bar, bytes, shortDigest } from './format.ts';
import type { Output } from './io.ts';
import { lineOf, summaryText } from './plain-printer.ts';
import type { Printer } from './printer.ts';

/** Redraws a second: smooth for the eye, nothing for the processor. */
const REDRAWS_PER_SECOND = 10;

/** Blobs shown at once; what is more is only counted, so that the picture never exceeds the screen. */
const MAX_LINES = 16;

const BAR_WIDTH = 24;

interface Active {
  readonly event: BlobEvent;
  readonly startedAt: number;
}

/** For a person: what is on its way moves in a block at the bottom, what has ended scrolls away above it. */
export function terminalPrinter(out: Output, now: () => number = () => performance.now()): Printer {
  const active = new Map<string, Active>();
  let drawn = 0;
  let done = '';

  const draw = (): void => {
    const lines = [...active.values()].slice(0, MAX_LINES).map((blob) => fit(blobLine(blob, now()), out.columns ?? 80));
    if (active.size > MAX_LINES) lines.push(`… and ${active.size - MAX_LINES} more`);
    // Up to the block's first line, clear from there on, and write what has ended before the block anew.
    const up = drawn === 0 ? '' : `\u001b[${drawn}A`;
    if (drawn > 0 || done !== '' || lines.length > 0)
      out.write(`${up}\r\u001b[J${done}${lines.map((line) => `${line}\n`).join('')}`);
    drawn = lines.length;
    done = '';
  };
  const timer = setInterval(draw, 1000 / REDRAWS_PER_SECOND);
  timer.unref();

  return {
    event(event) {
      if (event.type === 'blob') {
        const over = event.phase === 'stored' || event.phase === 'present' || event.phase === 'failed';
        if (over || event.phase === 'continued') active.delete(event.blob);
        else active.set(event.blob, { event, startedAt: active.get(event.blob)?.startedAt ?? now() });
      }
      const line = lineOf(event);
      if (line !== undefined) done += `${line}\n`;
    },
    summary(summary) {
      active.clear();
      draw();
      out.write(summaryText(summary));
    },
    close() {
      clearInterval(timer);
    },
  };
}

function blobLine({ event, startedAt }: Active, now: number): string {
  const { blob, size, fetched, phase } = event;
  const digest = shortDigest(blob);
  if (phase === 'verifying' || (size !== undefined && fetched >= size && size > 0))
    return `${digest}  Verifying    ${bar(1, 1, BAR_WIDTH)} ${bytes(size ?? fetched)}`;
  const elapsed = Math.max(now - startedAt, 1);
  const whole = size === undefined ? '' : ` of ${bytes(size)}`;
  const speed = fetched === 0 ? '' : `  ${bytes((fetched * 1000) / elapsed)}/s`;
  return `${digest}  Downloading  ${bar(fetched, size, BAR_WIDTH)} ${bytes(fetched)}${whole}${speed}`;
}

function fit(line: string, columns: number): string {
  return line.length < columns ? line : `${line.slice(0, Math.max(0, columns - 2))}…`;
}
