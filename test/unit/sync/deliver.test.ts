/** The delivery of the summaries of several runs to several receivers. */
import { beforeEach, describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { Failure, type FailureCode } from '../../../lib/core/failure.ts';
import { closeRuns } from '../../../lib/sync/run/close-runs.ts';
import { emptyMemory } from '../../../lib/sync/run/open-run.ts';
import { readSummary } from '../../../lib/sync/run/summary.ts';
import { runStartOf, writeOpenStart } from '../../../lib/sync/runs.ts';
import { MemoryStore } from '../../kit/memory-store.ts';

const RUNS = ['run-1', 'run-2', 'run-3', 'run-4'];
const MINUTE = 60_000;

let archive: Archive;
let store: MemoryStore;
let now: number;
/** `event run-1`, in the order of the requests. */
let asked: string[];
let fails: (receiver: string, run: string) => FailureCode | undefined;
/** Runs during each request. */
let meanwhile: () => Promise<void>;
let memory = emptyMemory();

beforeEach(async () => {
  now = Date.now();
  store = new MemoryStore({ now: () => now });
  archive = new Archive(store, ociLayout);
  asked = [];
  fails = () => undefined;
  meanwhile = () => Promise.resolve();
  memory = emptyMemory();
  for (const run of RUNS) await writeOpenStart(archive, { ...runStartOf(run, 'schedule', [], now), ids: [] });
});

/** Checks all runs. Returns the closed ones. */
async function check(): Promise<readonly string[]> {
  const receiver = (name: string) => ({
    name,
    deliver: async ({ run }: { readonly run: string }): Promise<void> => {
      asked.push(`${name} ${run}`);
      const code = fails(name, run);
      if (code !== undefined) throw new Failure({ operation: 'notify', side: 'archive', code, detail: 'no' });
      await meanwhile();
    },
  });
  const closed: string[] = [];
  const ports = {
    archive,
    receivers: [receiver('event'), receiver('webhook')],
    now: () => now,
    triggerOf: () => 'push' as const,
    closed: ({ run }: { readonly run: string }) => closed.push(run),
    log: () => undefined,
    signal: new AbortController().signal,
  };
  await closeRuns(ports, memory).catch(() => asked.push('failed'));
  return closed;
}

const deliveredOf = async (run: string): Promise<unknown> => (await readSummary(archive, run))?.summary.delivered;
const to = (receiver: string, runs = RUNS): string[] => runs.map((run) => `${receiver} ${run}`);

describe('a check', () => {
  test('delivers all summaries to one receiver before the next one', async () => {
    expect(await check()).toEqual(RUNS);
    expect(asked).toEqual([...to('event'), ...to('webhook')]);
  });

  test('asks a receiver that is down once, and records what the others have', async () => {
    fails = (receiver) => (receiver === 'webhook' ? 'unavailable' : undefined);
    expect(await check()).toEqual([]);
    expect(asked).toEqual([...to('event'), 'webhook run-1', 'failed']);
    for (const run of RUNS) expect(await deliveredOf(run)).toEqual(['event']);
    fails = () => undefined;
    asked = [];
    expect(await check()).toHaveLength(4);
    expect(asked.toSorted()).toEqual(to('webhook'));
  });

  test('delivers the other summaries if a receiver refuses one', async () => {
    fails = (receiver, run) => (receiver === 'webhook' && run === 'run-2' ? 'denied' : undefined);
    expect(await check()).toEqual(['run-1', 'run-3', 'run-4']);
    expect(asked).toEqual([...to('event'), ...to('webhook'), 'failed']);
  });

  test('delivers the summary last that made a receiver fail before', async () => {
    fails = (receiver, run) => (receiver === 'webhook' && run === 'run-1' ? 'unavailable' : undefined);
    expect(await check()).toEqual([]);
    expect(await check()).toEqual(['run-2', 'run-3', 'run-4']);
    expect(asked.slice(-5)).toEqual([...to('webhook', ['run-2', 'run-3', 'run-4', 'run-1']), 'failed']);
  });

  test('leaves the rest to the next check if a receiver is slow', async () => {
    fails = (receiver) => void (now += receiver === 'webhook' ? MINUTE : 0);
    expect(await check()).toEqual(['run-1', 'run-2']);
    expect(await check()).toEqual(['run-3', 'run-4']);
    expect(asked).toEqual([...to('event'), ...to('webhook')]);
  });

  test('closes every overdue run although a receiver is down', async () => {
    fails = (receiver) => (receiver === 'webhook' ? 'unavailable' : undefined);
    now += 25 * 60 * MINUTE;
    expect(await check()).toEqual(RUNS);
    expect(asked).toEqual([...to('event'), 'webhook run-1']);
  });

  test('delivers the summaries of the other runs if a delivery cannot be recorded', async () => {
    const put = store.put.bind(store);
    store.put = (...given) =>
      asked.at(-1) === 'event run-2' ? Promise.reject(new Error('the write failed')) : put(...given);
    expect(await check()).toEqual(['run-1', 'run-3', 'run-4']);
    store.put = put;
    expect(await check()).toEqual(['run-2']);
    expect(asked).toEqual([...to('event'), ...to('webhook'), 'failed', 'event run-2']);
  });
});

describe('a check that overlaps another one', () => {
  /** The runs that a complete check closes while the first one is interrupted by `interrupt`. */
  async function second(interrupt: (work: () => Promise<void>) => void): Promise<readonly (readonly string[])[]> {
    const results: (readonly string[])[] = [];
    let isFirst = true;
    interrupt(async () => {
      if (!isFirst) return;
      isFirst = false;
      results.push(await check());
    });
    results.push(await check());
    expect(asked).not.toContain('failed');
    expect(await check()).toEqual([]);
    return results;
  }

  test('closes each run once, and does not fail, if both deliver', async () => {
    expect(await second((work) => (meanwhile = work))).toEqual([RUNS, []]);
    for (const run of RUNS) expect(await deliveredOf(run)).toEqual(['event', 'webhook']);
  });

  test('closes each run once, and does not fail, if both write the first summary', async () => {
    const put = store.put.bind(store);
    const closed = await second((work) => {
      store.put = async (...given) => {
        if (given[0] === archive.layout.runSummary('run-1')) await work();
        return put(...given);
      };
    });
    expect(closed).toEqual([RUNS, []]);
    expect(asked).toEqual([...to('event'), ...to('webhook')]);
  });
});
