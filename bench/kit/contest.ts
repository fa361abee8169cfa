import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { tempFolder } from '../../test/kit/temp.ts';
import { type Command, measure, type Sample } from './measure.ts';

export interface Contestant {
  readonly name: string;
  /** The reason why this machine cannot measure it. */
  readonly lacks?: string | undefined;
  /** Returns the measured command, and releases what it needs afterwards. The folder is empty and exclusive. */
  prepare(folder: string): Promise<Command & Partial<AsyncDisposable>> | (Command & Partial<AsyncDisposable>);
  /** Returns the progress of a run that was ended at its limit, from its folder. */
  reached?(folder: string): Promise<string>;
}

/** The results of a contestant. */
export interface Standing {
  readonly name: string;
  readonly lacks?: string | undefined;
  /** One sample per repetition; empty if it was not measured. */
  readonly samples: readonly Sample[];
  /** The progress of a run that was ended at its limit. */
  readonly reached?: string | undefined;
}

export interface ContestOptions {
  readonly repetitions: number;
  readonly signal: AbortSignal;
  /**
   * Removes the written files after the last run only. It is for thousands of small files: ext4 skips the inodes of files
   * that were deleted within the last minute, and searching for others almost doubles the processor time of the next run.
   */
  readonly removeAtEnd?: boolean;
}

/**
 * Measures each contestant `repetitions` times, in turns, so that other load affects all of them equally. Each turn
 * begins with another contestant. The written files are removed before the next contestant, or at the end.
 */
export async function contest(contestants: readonly Contestant[], options: ContestOptions): Promise<Standing[]> {
  const { repetitions, signal, removeAtEnd = false } = options;
  await using all = new AsyncDisposableStack();
  const able = contestants.filter(({ lacks }) => lacks === undefined);
  const samples = new Map<string, Sample[]>();
  const reached = new Map<string, string>();
  for (let repetition = 0; repetition < repetitions; repetition += 1)
    for (let turn = 0; turn < able.length; turn += 1) {
      const contestant = able[(repetition + turn) % able.length];
      // A contestant that was ended at its limit is not repeated.
      if (contestant === undefined || reached.has(contestant.name)) continue;
      await using run = new AsyncDisposableStack();
      const folder = (removeAtEnd ? all : run).use(await tempFolder());
      const { sample, ended } = await once(contestant, folder.path, signal);
      const so = `${sample.wallSeconds.toFixed(2)} s${ended === undefined ? '' : `, not done: ${ended}`}`;
      process.stderr.write(`  ${repetition + 1}/${repetitions} ${contestant.name}: ${so}\n`);
      samples.set(contestant.name, [...(samples.get(contestant.name) ?? []), sample]);
      if (ended !== undefined) reached.set(contestant.name, ended);
    }
  return contestants.map(({ name, lacks }) => ({
    name,
    lacks,
    samples: samples.get(name) ?? [],
    reached: reached.get(name),
  }));
}

async function once(
  contestant: Contestant,
  folder: string,
  signal: AbortSignal,
): Promise<{ readonly sample: Sample; readonly ended?: string }> {
  const prepared = await contestant.prepare(folder);
  try {
    // Pending writes of the previous contestant must not count for this one.
    await promisify(execFile)('sync');
    const sample = await measure(prepared, signal);
    if (sample.inTime) return { sample };
    return { sample, ended: (await contestant.reached?.(folder)) ?? 'ended at its limit' };
  } finally {
    await prepared[Symbol.asyncDispose]?.();
  }
}
