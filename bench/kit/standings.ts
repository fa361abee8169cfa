/** Computes the figures of a report from samples. */
import type { Standing } from './contest.ts';
import type { Sample } from './measure.ts';

type Measured = 'wallSeconds' | 'cpuSeconds' | 'peakBytes';

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? NaN;
  return (lower + upper) / 2;
}

export function medianOf(samples: readonly Sample[], what: Measured): number {
  return median(samples.map((sample) => sample[what]));
}

/** The median of the complete runs of `name`; undefined if it was not measured or was ended at its limit. */
export function result(
  standings: readonly Standing[],
  name: string,
  what: Measured = 'wallSeconds',
): number | undefined {
  const standing = standings.find((candidate) => candidate.name === name);
  if (standing === undefined || standing.samples.length === 0 || standing.reached !== undefined) return undefined;
  return medianOf(standing.samples, what);
}

/** The best wall time of these contestants, and its contestant. */
export function best(
  standings: readonly Standing[],
  names: readonly string[],
): { readonly name: string; readonly seconds: number } | undefined {
  const times = names.flatMap((name) => {
    const seconds = result(standings, name);
    return seconds === undefined ? [] : [{ name, seconds }];
  });
  return times.sort((a, b) => a.seconds - b.seconds)[0];
}

export function divided(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a / b;
}
