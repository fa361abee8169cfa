/** Lines for a terminal: their width and their colours. */
import type { Output } from './io.ts';
import { endOf, startOf, widthOf } from './width.ts';

/** A pty without a size reports 0 columns. */
export function sizeOf({ columns = 0, rows = 0 }: Output): { readonly columns: number; readonly rows: number } {
  return { columns: columns > 0 ? columns : 80, rows: rows > 0 ? rows : 24 };
}

/** Cuts a line before the last column, after which some terminals wrap immediately. */
export function fit(line: string, columns: number): string {
  return widthOf(line) < columns ? line : `${startOf(line, columns - 2)}…`;
}

/** Cuts the start of a name, since its end (the tag) distinguishes it. */
export function fitName(name: string, width: number): string {
  return widthOf(name) <= width ? name : `…${endOf(name, width - 1)}`;
}

export type Tone = 'failure' | 'warning';

const COLOURS: Readonly<Record<Tone, string>> = { failure: '\u001b[1;31m', warning: '\u001b[33m' };

/** @param hasColour false if `NO_COLOR` is set */
export function coloured(line: string, tone: Tone | undefined, hasColour: boolean): string {
  return tone === undefined || !hasColour ? line : `${COLOURS[tone]}${line}\u001b[0m`;
}
