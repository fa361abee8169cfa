/** Formats results as Markdown. */
import type { Standing } from './contest.ts';
import { divided, median, medianOf, result } from './standings.ts';

export interface Report {
  readonly title: string;
  /** Markdown; each a paragraph, a table or a heading. */
  readonly sections: readonly string[];
}

/** A target, and the measured figure. */
export interface Aim {
  readonly what: string;
  /** Undefined if it could not be measured. */
  readonly is: number | undefined;
  readonly wanted: { readonly atMost: number } | { readonly atLeast: number };
  readonly unit?: string;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n');
}

/** The last column of a table of standings. */
export interface Comparison {
  readonly head: string;
  /** The cell of a contestant, from its name and its median wall time in seconds. */
  readonly cell: (name: string, wall: number) => string;
}

/** The ratio of each wall time to that of `name`. */
export function versus(name: string, standings: readonly Standing[]): Comparison {
  return { head: `${name} ÷ this`, cell: (_, wall) => ratio(divided(result(standings, name), wall)) };
}

/** One row per contestant. */
export function standingsTable(standings: readonly Standing[], { head, cell }: Comparison): string {
  const rows = standings.map(({ name, lacks, samples, reached }) => {
    if (lacks !== undefined) return [name, `skipped: ${lacks}`, '', '', '', ''];
    const walls = samples.map(({ wallSeconds }) => wallSeconds);
    const wall = median(walls);
    const done = reached === undefined;
    return [
      name,
      done ? seconds(wall) : `not done after ${wall.toFixed(0)} s (${reached})`,
      done ? `${seconds(Math.min(...walls))} to ${seconds(Math.max(...walls))}` : '',
      seconds(medianOf(samples, 'cpuSeconds')),
      megabytes(medianOf(samples, 'peakBytes')),
      done ? cell(name, wall) : '',
    ];
  });
  return table(['', 'wall, s', 'range', 'CPU, s', 'peak RSS, MB', head], rows);
}

export function aimsTable(aims: readonly Aim[]): string {
  const rows = aims.map(({ what, is, wanted, unit }) => {
    const [limit, met] =
      'atMost' in wanted
        ? [`at most ${wanted.atMost}`, is !== undefined && is <= wanted.atMost]
        : [`at least ${wanted.atLeast}`, is !== undefined && is >= wanted.atLeast];
    const verdict = is === undefined ? 'not measured' : met ? 'met' : 'missed';
    return [
      what,
      `${ratio(is)}${unit === undefined ? '' : ` ${unit}`}`,
      `${limit}${unit === undefined ? '' : ` ${unit}`}`,
      verdict,
    ];
  });
  return table(['aim', 'is', 'wanted', ''], rows);
}

/** Three significant digits. */
export function ratio(value: number | undefined): string {
  if (value === undefined) return '–';
  return value >= 100
    ? value.toFixed(0)
    : value >= 10
      ? value.toFixed(1)
      : value >= 1
        ? value.toFixed(2)
        : value.toFixed(3);
}

export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}

function seconds(value: number): string {
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
