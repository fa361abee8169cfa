import { type Contestant, contest, type ContestOptions, type Standing } from './contest.ts';
import type { LinkName } from './link.ts';
import type { Report } from './report.ts';
import type { Tools } from './tools.ts';

/** The settings and tools of a job. */
export interface Bench {
  readonly tools: Tools;
  readonly signal: AbortSignal;
  readonly repetitions: number;
  /** The requested links that this machine supports. */
  readonly links: readonly LinkName[];
  /** The programs to measure; if empty, all. */
  readonly only: ReadonlySet<string>;
  /** The `dist` folder of an earlier build, for the job that compares builds. */
  readonly baseline: string | undefined;
}

export type Job = (bench: Bench) => Promise<Report>;

/** A contest of the requested programs. */
export function compete(
  bench: Bench,
  what: string,
  contestants: readonly Contestant[],
  options: Pick<ContestOptions, 'removeAtEnd'> = {},
): Promise<Standing[]> {
  process.stderr.write(`${what}\n`);
  const asked = contestants.filter(({ name }) => {
    const [program = name] = name.split(', ');
    return bench.only.size === 0 || bench.only.has(program);
  });
  return contest(asked, { ...bench, ...options });
}
