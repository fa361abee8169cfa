/** Tables of text. */
import type { Output } from './io.ts';
import { fit, padded, sizeOf, widthOf, wrap } from './screen.ts';
import { largest } from '../../core/extremes.ts';

/** Longer cells are not aligned, so that one of them does not widen every row. */
const MAX_WIDTH = 300;

/**
 * Aligned columns. If a row is too wide for the terminal, every row takes two lines: the first cell, and then the
 * others.
 */
export function columns(head: readonly string[], rows: readonly (readonly string[])[], out: Output): string[] {
  const width = hasTerminal(out) ? sizeOf(out).columns : undefined;
  const wide = aligned([head, ...rows]);
  if (width === undefined || wide.every((line) => widthOf(line) < width)) return wide;
  const details = aligned([head, ...rows].map(([, ...cells]) => cells));
  return [head, ...rows].flatMap(([first = ''], row) => [
    ...wrap(first, width - 1),
    fit(`  ${details[row] ?? ''}`, width),
  ]);
}

/** A terminal shows short digests. */
export function hasTerminal(out: Output): boolean {
  return out.isTTY === true;
}

function aligned(lines: readonly (readonly string[])[]): string[] {
  const widths =
    lines[0]?.map((_, column) => Math.min(MAX_WIDTH, largest(lines.map((line) => widthOf(line[column] ?? ''))))) ?? [];
  return lines.map((line) =>
    line
      .map((cell, column) => padded(cell, widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
