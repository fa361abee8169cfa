import type { BlobEvent, MirrorEvent } from '../../sync/events.ts';
import { printable } from '../../oci/show.ts';
import { bar, bytes, shortDigest } from '../../core/format.ts';
import type { Output } from './io.ts';
import { lineOf, summaryText } from './plain-printer.ts';
import type { Printer } from './printer.ts';

/** Redraws a second: smooth for the eye, nothing for the processor. */
const REDRAWS_PER_SECOND = 10;

/** Blobs shown at once; what is more is only counted. */
const MAX_LINES = 16;

/** Characters within the brackets of a bar, and those of a line besides them at their most: 80 columns show it whole. */
const MAX_BAR = 24;
const BESIDE_BAR = 60;

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
    const { columns, rows } = sizeOf(out);
    // The cursor cannot be moved up beyond the screen: the block, the line for the rest and the cursor's own must fit.
    const room = Math.max(1, Math.min(MAX_LINES, rows - 2));
    const lines = [...active.values()].slice(0, room).map((blob) => blobLine(blob, now(), columns));
    if (active.size > room) lines.push(`… and ${active.size - room} more`);
    // Up to the block's first line, clear from there on, and write what has ended before the block anew.
    const up = drawn === 0 ? '' : `\u001b[${drawn}A`;
    if (drawn > 0 || done !== '' || lines.length > 0)
      out.write(`${up}\r\u001b[J${done}${lines.map((line) => `${fit(line, columns)}\n`).join('')}`);
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
      const line = endedLine(event, sizeOf(out).columns);
      if (line !== undefined) done += `${line}\n`;
    },
    notice(text) {
      done += `${printable(text)}\n`;
      draw();
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

/** Some terminals say that they have no columns at all (a pty whose size nobody has set). */
function sizeOf({ columns = 0, rows = 0 }: Output): { readonly columns: number; readonly rows: number } {
  return { columns: columns > 0 ? columns : 80, rows: rows > 0 ? rows : 24 };
}

function blobLine({ event, startedAt }: Active, now: number, columns: number): string {
  const { blob, size, fetched, phase } = event;
  const width = Math.max(0, Math.min(MAX_BAR, columns - BESIDE_BAR));
  if (phase === 'verifying' || (size !== undefined && fetched >= size && size > 0))
    return columnsOf(blob, 'Verifying', `${bar(1, 1, width)} ${bytes(size ?? fetched)}`);
  const elapsed = Math.max(now - startedAt, 1);
  const whole = size === undefined ? '' : ` of ${bytes(size)}`;
  const speed = fetched === 0 ? '' : `  ${bytes((fetched * 1000) / elapsed)}/s`;
  return columnsOf(blob, 'Downloading', `${bar(fetched, size, width)} ${bytes(fetched)}${whole}${speed}`);
}

/** What stays of an event: as in a pipe, but a blob keeps the shape it had, and a failure's reason waits for the summary. */
function endedLine(event: MirrorEvent, columns: number): string | undefined {
  const line = lineOf(event);
  if (line === undefined) return undefined;
  if (event.type === 'blob' && event.phase === 'stored')
    return columnsOf(event.blob, 'Stored', bytes(event.size ?? event.fetched));
  return event.type === 'image' && event.status === 'failed' ? fit(line, columns) : line;
}

function columnsOf(digest: string, phase: string, rest: string): string {
  return `${shortDigest(digest)}  ${phase.padEnd(11)}  ${rest}`;
}

/** Short of the last column: a terminal that has written there may already be on the next line. */
function fit(line: string, columns: number): string {
  return line.length < columns ? line : `${line.slice(0, Math.max(0, columns - 2))}…`;
}
