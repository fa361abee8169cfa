import './silence.ts';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fromJson, toJson } from './file.ts';
import { kindOf, smallest } from './reduce.ts';
import { runSchedule, scheduleOf } from './schedule.ts';

/** Enough to find a mistake that is not rare; .ci/run runs more. */
const SCHEDULES = 60;

function traceOf(ended: Awaited<ReturnType<typeof runSchedule>>): string {
  return createHash('sha256').update(JSON.stringify(ended.trace)).digest('hex');
}

describe('the simulation', () => {
  test('finds all invariants to hold in schedules of any kind', async () => {
    for (let seed = 1; seed <= SCHEDULES; seed += 1)
      expect([seed, (await runSchedule(scheduleOf(seed))).violation]).toEqual([seed, undefined]);
  });

  test('gives the same trace for the same seed, in this process and in another time zone', async () => {
    const [one, two, other] = [
      traceOf(await runSchedule(scheduleOf(7))),
      traceOf(await runSchedule(scheduleOf(7))),
      traceOf(await runSchedule(scheduleOf(8))),
    ];
    expect(two).toBe(one);
    expect(other).not.toBe(one);
    const main = join(import.meta.dirname, 'main.ts');
    const print = (TZ: string): string =>
      execFileSync(process.execPath, [main, '--seed', '7', '--trace'], {
        encoding: 'utf8',
        env: { TZ, LANG: 'tr_TR' },
      });
    const trace = print('Asia/Kathmandu');
    expect(trace).toMatch(/^ +0\.\d{3} s {2}action/m);
    expect(trace.endsWith('all invariants hold\n')).toBe(true);
    expect(print('America/St_Johns')).toBe(trace);
  });

  test.for(globSync('kept/*.json', { cwd: import.meta.dirname }))(
    'holds the invariants in the kept schedule %s',
    async (file) => {
      const { about, schedule } = fromJson(readFileSync(join(import.meta.dirname, file), 'utf8'));
      expect(about).toMatch(/\w/);
      expect((await runSchedule(schedule)).violation).toBeUndefined();
    },
  );

  test('keeps a schedule as JSON', () => {
    const schedule = { ...scheduleOf(3), faults: new Set(['resolver-1/1 #2']) };
    expect(fromJson(toJson({ about: 'a mistake', schedule }))).toEqual({ about: 'a mistake', schedule });
  });
});

describe('the reduction', () => {
  test('keeps only the items that a failure needs', async () => {
    const items = Array.from({ length: 40 }, (_, index) => index);
    const needs = (part: readonly number[]): Promise<boolean> => Promise.resolve(part.includes(3) && part.includes(31));
    expect(await smallest(items, needs)).toEqual([3, 31]);
    expect(await smallest(items, () => Promise.resolve(true))).toEqual([]);
    expect(await smallest(items, () => Promise.resolve(false))).toEqual(items);
  });

  test('compares violations without digests, names and numbers', () => {
    const [one, two] = [
      'r1.example/app:1 moves back to sha256:aa',
      'r2.example/team/base:latest moves back to sha256:bb',
    ];
    expect(kindOf(one)).toBe(kindOf(two));
    expect(kindOf(one)).not.toBe(kindOf('r1.example/app:1 forgets a later observation'));
  });
});
