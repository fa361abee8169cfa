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
}

/**
 * Measures each contestant `repetitions` times, in turns, so that other load affects all of them equally. Each turn
 * begins with another contestant, and the written files are removed before the next contestant.
 */
export async function contest(contestants: readonly Contestant[], options: ContestOptions): Promise<Standing[]> {
  const { repetitions, signal } = options;
  const able = contestants.filter(({ lacks }) => lacks === undefined);
  const samples = new Map<string, Sample[]>();
  const reached = new Map<string, string>();
  for (let repetition = 0; repetition < repetitions; repetition += 1)
    for (let turn = 0; turn < able.length; turn += 1) {
      const contestant = able[(repetition + turn) % able.length];
      // A contestant that was ended at its limit is not repeated.
      if (contestant === undefined || reached.has(contestant.name)) continue;
      const { sample, ended } = await once(contestant, signal);
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
  signal: AbortSignal,
): Promise<{ readonly sample: Sample; readonly ended?: string }> {
  await using folder = await tempFolder();
  const prepared = await contestant.prepare(folder.path);
  try {
    // Pending writes of the previous contestant must not count for this one.
    await promisify(execFile)('sync');
    const sample = await measure(prepared, signal);
    if (sample.inTime) return { sample };
    return { sample, ended: (await contestant.reached?.(folder.path)) ?? 'ended at its limit' };
  } finally {
    await prepared[Symbol.asyncDispose]?.();
  }
}
