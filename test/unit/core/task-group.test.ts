import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { TaskGroup } from '../../../lib/core/task-group.ts';

/** Resolves when the signal is aborted, with what it was aborted for. */
function aborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(signal.reason), { once: true });
  });
}

describe('join', () => {
  // Three tasks, one of which starts a fourth: all four are done when join resolves.
  test('waits for everything, also for what is started meanwhile', async () => {
    const tasks = new TaskGroup();
    const done: string[] = [];
    for (const name of ['a', 'b'])
      tasks.run(async () => {
        await Promise.resolve();
        done.push(name);
      });
    tasks.run(async () => {
      await new Promise(setImmediate);
      tasks.run(async () => {
        await new Promise(setImmediate);
        done.push('late');
      });
    });
    await tasks.join();
    expect(done).toEqual(['a', 'b', 'late']);
    expect(tasks.signal.aborted).toBe(false);
  });

  // Of two tasks one fails at once: the other is told, may still clean up, and only then does join throw.
  test('throws the first error, and not before the others have settled', async () => {
    const tasks = new TaskGroup();
    const first = new Error('first');
    let cleaned = false;
    tasks.run(async (signal) => {
      expect(await aborted(signal)).toBe(first);
      await new Promise(setImmediate);
      cleaned = true;
      throw new Error('second');
    });
    tasks.run(() => Promise.reject(first));
    await expect(tasks.join()).rejects.toBe(first);
    expect(cleaned).toBe(true);
  });

  // A task that is started after the failure is given a signal that says so.
  test('a task that comes too late is told at once', async () => {
    const tasks = new TaskGroup();
    const first = new Error('first');
    tasks.run(() => Promise.reject(first));
    await expect(tasks.join()).rejects.toBe(first);
    let reason: unknown;
    tasks.run((signal) => {
      reason = signal.reason;
      return Promise.resolve();
    });
    await expect(tasks.join()).rejects.toBe(first);
    expect(reason).toBe(first);
  });
});

describe('the outer signal', () => {
  // The caller gives up: its reason reaches the tasks and comes out of join.
  test('aborts the task group with its own reason', async () => {
    const outer = new AbortController();
    const tasks = new TaskGroup(outer.signal);
    const seen = Promise.withResolvers<unknown>();
    tasks.run(async (signal) => seen.resolve(await aborted(signal)));
    const reason = new Error('enough');
    outer.abort(reason);
    await expect(tasks.join()).rejects.toBe(reason);
    expect(await seen.promise).toBe(reason);
  });

  // A task group of a signal that is already aborted completes none of its tasks.
  test('may be aborted before the task group exists', async () => {
    const reason = new Error('never mind');
    const tasks = new TaskGroup(AbortSignal.abort(reason));
    expect(tasks.signal.reason).toBe(reason);
    await expect(tasks.join()).rejects.toBe(reason);
  });

  // A run has one signal and many thousand task groups: none of their listeners may stay on it.
  test.each([
    ['in good order', () => Promise.resolve()],
    ['in failure', () => Promise.reject(new Error('broken'))],
  ])('keeps no listener once the task group ends %s', async (_, task) => {
    const outer = new AbortController();
    const tasks = new TaskGroup(outer.signal);
    tasks.run(task);
    await tasks.join().catch(() => undefined);
    expect(getEventListeners(outer.signal, 'abort')).toEqual([]);
  });
});

describe('close', () => {
  // A body was opened with the signal of the group and never read: closing releases it, after success and after failure.
  test.each([
    ['in good order', () => Promise.resolve()],
    ['in failure', () => Promise.reject(new Error('broken'))],
  ])('aborts what was opened and never used, %s, and does not throw', async (_, task) => {
    const tasks = new TaskGroup();
    const letGo = aborted(tasks.signal);
    tasks.run(task);
    await tasks.close();
    expect(await letGo).toBeInstanceOf(Error);
  });
});
