/**
 * Text on a terminal. A width is a number of cells: a CJK character or an emoji takes two cells, and a combining mark none.
 */
import stringWidth from 'fast-string-width';
import type { Output } from './io.ts';

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

/** The cells of a text without escape sequences. */
export const widthOf: (text: string) => number = stringWidth;

/** The longest start of a text that fits into this number of cells. A character with its marks is never divided. */
export function startOf(text: string, width: number): string {
  return fitting(charactersOf(text), width).join('');
}

/** The longest end of a text that fits into this number of cells. */
function endOf(text: string, width: number): string {
  return fitting(charactersOf(text).reverse(), width).reverse().join('');
}

/** A character with its marks is one element. The first segmenter takes 10 ms, so the start of a program makes none. */
function charactersOf(text: string): string[] {
  return [...new Intl.Segmenter().segment(text)].map(({ segment }) => segment);
}

function fitting(segments: readonly string[], width: number): string[] {
  let left = width;
  const end = segments.findIndex((segment) => {
    left -= widthOf(segment);
    return left < 0;
  });
  return segments.slice(0, end === -1 ? undefined : end);
}

/** Like `padEnd`, in cells. */
export function padded(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)));
}

/** Breaks a text at spaces into lines of at most `width` cells. A longer word has its own line. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || widthOf(last) + 1 + widthOf(word) > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
