import type { BlobEvent } from '../../sync/events.ts';
import { printable } from '../../oci/show.ts';
import { bar, bytes, shortDigest } from '../../core/format.ts';
import type { Output } from './io.ts';
import { resultOf } from './plain-printer.ts';
import type { Printer } from './printer.ts';
import { RunProgress } from './run-progress.ts';
import { coloured, fit, fitName, sizeOf, widthOf, wrap } from './screen.ts';
import { summaryLines } from './summary.ts';

const REDRAWS_PER_SECOND = 10;

/** The maximum number of blobs with their own lines; others are counted. */
const MAX_LINES = 16;

/** Characters inside a bar. A narrow terminal has room for numbers only. */
const BAR = 14;
const [MIN_BAR, MAX_BAR] = [8, 24];
const COLUMNS_FOR_BAR = 60;

interface Active {
  readonly event: BlobEvent;
  readonly startedAt: number;
}

export interface TerminalOptions {
  readonly hasColour?: boolean;
  readonly now?: () => number;
}

/** For a person: results scroll away above a block that is redrawn, with a line per blob and one for the whole run. */
// eslint-disable-next-line max-lines-per-function -- the methods of one object, which share its state
export function terminalPrinter(out: Output, options: TerminalOptions = {}): Printer {
  const { hasColour = true, now = () => performance.now() } = options;
  const progress = new RunProgress();
  const active = new Map<string, Active>();
  let drawn = 0;
  let done = '';
  /** Notices may follow the summary, such as that of a report that was not sent; the block does not return. */
  let isOver = false;

  const draw = (lines: readonly string[]): void => {
    // Move to the first line of the block, clear from there, write the new results, and draw the block again.
    const up = drawn === 0 ? '' : `\u001b[${drawn}A`;
    if (drawn > 0 || done !== '' || lines.length > 0)
      out.write(`${up}\r\u001b[J${done}${lines.map((line) => `${line}\n`).join('')}`);
    drawn = lines.length;
    done = '';
  };
  const block = (): string[] => {
    const { columns, rows } = sizeOf(out);
    // The cursor cannot move up beyond the screen: the blobs, two more lines and the line of the cursor must fit.
    const room = Math.max(1, Math.min(MAX_LINES, rows - 3));
    const blobs = [...active.values()].slice(0, room).map((blob) => blobLine(blob, now(), columns));
    const more = active.size > room ? [fit(`… and ${active.size - room} more`, columns)] : [];
    const run = runLine(progress, now(), columns);
    return [...blobs, ...more, run.replace(/\(\d+ failed\)/, (failed) => coloured(failed, 'failure', hasColour))];
  };
  const redraw = (): void => draw(isOver ? [] : block());
  const timer = setInterval(redraw, 1000 / REDRAWS_PER_SECOND);
  timer.unref();
  const end = (): void => {
    isOver = true;
    clearInterval(timer);
  };

  return {
    expect: (name) => progress.expect(name),
    event(event) {
      progress.observe(event);
      if (event.type === 'blob') {
        const isOver = ['stored', 'present', 'failed', 'continued'].includes(event.phase);
        if (isOver) active.delete(event.blob);
        else active.set(event.blob, { event, startedAt: active.get(event.blob)?.startedAt ?? now() });
      }
      const result = resultOf(event, shortDigest);
      if (result === undefined) return;
      const failed = event.type === 'image' && event.status === 'failed';
      const line = fitResult(printable(result), sizeOf(out).columns);
      done += `${coloured(line, failed ? 'failure' : undefined, hasColour)}\n`;
    },
    notice(text) {
      done += wrapped(printable(text), sizeOf(out).columns);
      redraw();
    },
    summary(summary) {
      end();
      const { columns } = sizeOf(out);
      for (const { text, tone } of summaryLines(summary))
        done += coloured(wrapped(text, columns).trimEnd(), tone, hasColour) + '\n';
      redraw();
    },
    close() {
      end();
      redraw();
    },
  };
}

/** `NAME: mirrored  0123456789ab`; a long line loses the start of the name, and keeps the result. */
function fitResult(line: string, columns: number): string {
  const [, name = line, rest = ''] = /^(\S+?)(: .*)$/.exec(line) ?? [];
  const room = columns - 1 - widthOf(rest);
  return room < 10 ? fit(line, columns) : `${fitName(name, room)}${rest}`;
}

function wrapped(text: string, columns: number): string {
  const [indent = ''] = /^ */.exec(text) ?? [];
  const [first = '', ...more] = wrap(text.trimStart(), columns - 1 - indent.length - 2);
  return [`${indent}${first}`, ...more.map((line) => `${indent}  ${line}`)].map((line) => `${line}\n`).join('');
}

/** A bar as wide as the terminal allows, and the clauses that fit. */
function runLine(progress: RunProgress, now: number, columns: number): string {
  const room = columns - 1;
  const [first = '', ...clauses] = progress.clauses(now);
  let text = fit(first, columns);
  for (const clause of clauses) {
    if (text.length + 2 + clause.length > room) break;
    text += `, ${clause}`;
  }
  const width = Math.min(MAX_BAR, room - text.length - '[] '.length);
  return width < MIN_BAR ? text : `${bar(progress.fraction, 1, width)} ${text}`;
}

function blobLine({ event, startedAt }: Active, now: number, columns: number): string {
  const { blob, size, fetched, phase, source, tag } = event;
  const isVerifying = phase === 'verifying' || (size !== undefined && fetched >= size && size > 0);
  const head = columns < COLUMNS_FOR_BAR ? '' : ` ${bar(isVerifying ? 1 : fetched, isVerifying ? 1 : size, BAR)}`;
  const whole = size === undefined || isVerifying ? '' : ` of ${bytes(size)}`;
  const rate = fetched === 0 ? '' : `  ${bytes((fetched * 1000) / Math.max(now - startedAt, 1))}/s`;
  const line = `${shortDigest(blob)}${head} ${bytes(fetched)}${whole}${isVerifying ? '  verifying' : rate}`;
  const room = columns - 1 - line.length - 2;
  const name = `${source}${tag === undefined ? '' : `:${tag}`}`;
  return room < 12 ? fit(line, columns) : `${line}  ${fitName(printable(name), room)}`;
}
