import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { Scope } from '../../../lib/core/task-group.ts';

/** Resolves when the signal is aborted, with what it was aborted for. */
function aborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(signal.reason), { once: true });
  });
}

describe('join', () => {
  // Three tasks, one of which starts a fourth: all four are done when join resolves.
  test('waits for everything, also for what is started meanwhile', async () => {
    const scope = new Scope();
    const done: string[] = [];
    for (const name of ['a', 'b'])
      scope.run(async () => {
        await Promise.resolve();
        done.push(name);
      });
    scope.run(async () => {
      await new Promise(setImmediate);
      scope.run(async () => {
        await new Promise(setImmediate);
        done.push('late');
      });
    });
    await scope.join();
    expect(done).toEqual(['a', 'b', 'late']);
    expect(scope.signal.aborted).toBe(false);
  });

  // Of two tasks one fails at once: the other is told, may still clean up, and only then does join throw.
  test('throws the first error, and not before the others have settled', async () => {
    const scope = new Scope();
    const first = new Error('first');
    let cleaned = false;
    scope.run(async (signal) => {
      expect(await aborted(signal)).toBe(first);
      await new Promise(setImmediate);
      cleaned = true;
      throw new Error('second');
    });
    scope.run(() => Promise.reject(first));
    await expect(scope.join()).rejects.toBe(first);
    expect(cleaned).toBe(true);
  });

  // A task that is started after the failure is given a signal that says so.
  test('a task that comes too late is told at once', async () => {
    const scope = new Scope();
    const first = new Error('first');
    scope.run(() => Promise.reject(first));
    await expect(scope.join()).rejects.toBe(first);
    let reason: unknown;
    scope.run((signal) => {
      reason = signal.reason;
      return Promise.resolve();
    });
    await expect(scope.join()).rejects.toBe(first);
    expect(reason).toBe(first);
  });
});

describe('the outer signal', () => {
  // The caller gives up: its reason reaches the tasks and comes out of join.
  test('aborts the scope with its own reason', async () => {
    const outer = new AbortController();
    const scope = new Scope(outer.signal);
    const seen = Promise.withResolvers<unknown>();
    scope.run(async (signal) => seen.resolve(await aborted(signal)));
    const reason = new Error('enough');
    outer.abort(reason);
    await expect(scope.join()).rejects.toBe(reason);
    expect(await seen.promise).toBe(reason);
  });

  // A scope made for a caller who has given up already runs nothing to its end.
  test('may be aborted before the scope begins', async () => {
    const reason = new Error('never mind');
    const scope = new Scope(AbortSignal.abort(reason));
    expect(scope.signal.reason).toBe(reason);
    await expect(scope.join()).rejects.toBe(reason);
  });

  // A run has one signal and many thousand scopes: none of them may stay behind on it.
  test.each([
    ['in good order', () => Promise.resolve()],
    ['in failure', () => Promise.reject(new Error('broken'))],
  ])('is let go when the scope ends %s', async (_, task) => {
    const outer = new AbortController();
    const scope = new Scope(outer.signal);
    scope.run(task);
    await scope.join().catch(() => undefined);
    expect(getEventListeners(outer.signal, 'abort')).toEqual([]);
  });
});

describe('close', () => {
  // A body was opened with the scope's signal and never read: closing lets it go, in success as in failure.
  test.each([
    ['in good order', () => Promise.resolve()],
    ['in failure', () => Promise.reject(new Error('broken'))],
  ])('aborts what was opened and never used, %s, and does not throw', async (_, task) => {
    const scope = new Scope();
    const letGo = aborted(scope.signal);
    scope.run(task);
    await scope.close();
    expect(await letGo).toBeInstanceOf(Error);
  });
});
