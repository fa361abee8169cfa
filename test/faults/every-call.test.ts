import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../lib/core/failure.ts';
import { Faults } from '../kit/faults.ts';
import { inspect, unfinishedUploads } from '../kit/invariants.ts';
import type { Mirrored } from '../kit/mirror.ts';
import type { TestRegistry } from '../kit/registry.ts';
import { AFTER, BEFORE, NEW, references, run, Scene } from './scene.ts';

/** The number of concurrent children. */
const CHILDREN = 2;

/** Each call fails before its effect, fails after it, or is the last of its process. `.ci/nightly` does all three with each call. */
const STEP = process.env['MIRROR_SYNC_EVERY_FAULT'] === undefined ? 3 : 1;
const FIRST = { before: 1, after: Math.min(2, STEP) };

/** Invariants 1 to 6 on the archive, and 7 on the output of the run. */
function mustHold(folder: string, host: string, outcomes: Mirrored['outcomes'], where: string): void {
  const { violations, tags, named } = inspect(folder);
  expect(violations, where).toEqual([]);
  const [moved, added] = references(host);
  // The tag is at its old or its new digest, and its old digest can still be pulled.
  expect([BEFORE.digest, AFTER.digest], where).toContain(tags.get(moved));
  expect(named, where).toContain(BEFORE.digest);
  expect([undefined, NEW.digest], where).toContain(tags.get(added));
  for (const { reference, status, reason } of outcomes) {
    const wanted = reference === moved ? AFTER.digest : NEW.digest;
    if (status === 'failed') expect(reason, where).toMatch(/\w/);
    else expect(tags.get(reference), where).toBe(wanted);
  }
}

/** A second run mirrors everything, fetches no proven blob, and leaves no upload behind. */
async function mustComplete(registry: TestRegistry, folder: string, where: string): Promise<void> {
  const { proven } = inspect(folder);
  registry.forgetRequests();
  const { outcomes } = await run(registry.host, folder);
  expect(
    outcomes.map(({ status, reason }) => (status === 'failed' ? reason : 'done')),
    where,
  ).toEqual(['done', 'done']);
  const { violations, tags } = inspect(folder);
  expect(violations, where).toEqual([]);
  const [moved, added] = references(registry.host);
  expect([tags.get(moved), tags.get(added)], where).toEqual([AFTER.digest, NEW.digest]);
  for (const digest of proven)
    expect(registry.count({ kind: 'blob', digest }), `${where}: ${digest} is proven and fetched again`).toBe(0);
  expect(unfinishedUploads(folder), where).toEqual([]);
}

describe('the invariants of a mirror hold if one call fails', () => {
  test.for(['before', 'after'] as const)(
    '%s its effect, for one call after another',
    { timeout: 300_000 },
    async (when) => {
      await using scene = await Scene.open();
      const { registry } = scene;
      const outcomesByStatus = new Map<string, number>();
      for (let at = FIRST[when]; ; at += STEP) {
        await using folder = await scene.archive();
        const error = new Failure({ operation: 'test', side: 'archive', code: 'unavailable', detail: 'the fault' });
        const faults = new Faults({ at, when, act: error });
        const { outcomes } = await run(registry.host, folder.path, faults);
        if (!faults.fired) break;
        const where = `call ${at}: ${faults.calls[at - 1] ?? ''}`;
        mustHold(folder.path, registry.host, outcomes, where);
        for (const { status } of outcomes) outcomesByStatus.set(status, (outcomesByStatus.get(status) ?? 0) + 1);
        await mustComplete(registry, folder.path, where);
      }
      // Most single failures are fixed by a retry: a scene in which every run fails would prove nothing.
      expect(outcomesByStatus.get('mirrored')).toBeGreaterThan(100 / STEP);
    },
  );

  test('and with a reason for every image if all calls fail from one call on', { timeout: 120_000 }, async () => {
    await using scene = await Scene.open();
    const { registry } = scene;
    const error = new Failure({ operation: 'test', side: 'archive', code: 'unavailable', detail: 'the fault' });
    let failed = 0;
    for (const at of [1, 5, 12, 25, 40, 60]) {
      await using folder = await scene.archive();
      const faults = new Faults({ at, times: Infinity, act: error });
      const where = `from call ${at} on`;
      const { outcomes } = await run(registry.host, folder.path, faults);
      expect(outcomes.map(({ reference }) => reference).toSorted(), where).toEqual(
        references(registry.host).toSorted(),
      );
      failed += outcomes.filter(({ status }) => status === 'failed').length;
      expect(faults.fired, where).toBe(true);
      mustHold(folder.path, registry.host, outcomes, where);
      await mustComplete(registry, folder.path, where);
    }
    expect(failed, 'images that failed').toBeGreaterThanOrEqual(6);
  });

  test('and between any two calls of a run without a failure', { timeout: 120_000 }, async () => {
    await using scene = await Scene.open();
    const { registry } = scene;
    await using folder = await scene.archive();
    let instants = 0;
    // A mirror would retry an error that its call throws.
    const problems: unknown[] = [];
    const faults = new Faults({
      at: 1,
      times: Infinity,
      act: () => {
        instants += 1;
        try {
          mustHold(folder.path, registry.host, [], `before call ${instants}`);
        } catch (problem) {
          problems.push(problem);
        }
      },
    });
    const { outcomes } = await run(registry.host, folder.path, faults);
    expect(outcomes.map(({ status, reason }) => reason ?? status)).toEqual(['mirrored', 'mirrored']);
    expect(problems).toEqual([]);
    expect(instants).toBeGreaterThan(50);
  });
});

describe('the invariants of a mirror hold if its process is killed', () => {
  test('before a call, and a second run completes the mirror', { timeout: 300_000 }, async () => {
    let through = false;
    let killed = 0;
    let last = 0;
    const one = async (scene: Scene, at: number): Promise<void> => {
      const { registry } = scene;
      await using folder = await scene.archive();
      const signal = await runChild(registry.host, folder.path, at);
      if (signal === null) {
        through = true;
        return;
      }
      killed += 1;
      mustHold(folder.path, registry.host, [], `killed before call ${at}`);
      await mustComplete(registry, folder.path, `killed before call ${at}`);
    };
    await Promise.all(
      Array.from({ length: CHILDREN }, async () => {
        await using scene = await Scene.open();
        for (; !through;) await one(scene, (last += STEP));
      }),
    );
    expect(killed).toBeGreaterThan(100 / STEP);
  });
});

async function runChild(host: string, folder: string, at: number): Promise<NodeJS.Signals | null> {
  const script = join(import.meta.dirname, 'mirror.child.ts');
  const child = spawn(process.execPath, [script, host, folder, String(at)], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  if (signal === null) expect(code, `the child that would die at call ${at}`).toBe(0);
  return signal;
}
