import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { TaskGroup } from '../../../lib/core/task-group.ts';

/** Resolves to the reason of the abort when the signal is aborted. */
function aborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(signal.reason), { once: true });
  });
}

describe('join', () => {
  test('waits for all tasks, including those that a task starts', async () => {
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

  test('rejects with the first error, after the other tasks have been aborted and have settled', async () => {
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

  test('gives an aborted signal to a task that starts after the failure', async () => {
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

  test('aborts the tasks of a group that is created after the abort', async () => {
    const reason = new Error('never mind');
    const tasks = new TaskGroup(AbortSignal.abort(reason));
    expect(tasks.signal.reason).toBe(reason);
    await expect(tasks.join()).rejects.toBe(reason);
  });

  test.each([
    ['in good order', () => Promise.resolve()],
    ['in failure', () => Promise.reject(new Error('broken'))],
  ])('has no listener left once the task group ends %s', async (_, task) => {
    const outer = new AbortController();
    const tasks = new TaskGroup(outer.signal);
    tasks.run(task);
    await tasks.join().catch(() => undefined);
    expect(getEventListeners(outer.signal, 'abort')).toEqual([]);
  });
});

describe('close', () => {
  test.each([
    ['in good order', () => Promise.resolve()],
    ['in failure', () => Promise.reject(new Error('broken'))],
  ])('aborts a body that was opened and never read, %s, and does not throw', async (_, task) => {
    const tasks = new TaskGroup();
    const letGo = aborted(tasks.signal);
    tasks.run(task);
    await tasks.close();
    expect(await letGo).toBeInstanceOf(Error);
  });
});
