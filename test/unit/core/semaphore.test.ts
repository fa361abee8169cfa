import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Semaphore } from '../../../lib/core/semaphore.ts';

/** The state of a promise after all pending microtasks have run. */
async function stateOf(promise: Promise<unknown>): Promise<string> {
  await new Promise(setImmediate);
  return Promise.race([
    promise.then(
      () => 'granted',
      () => 'rejected',
    ),
    Promise.resolve('waiting').then((state) => new Promise<string>((resolve) => setImmediate(() => resolve(state)))),
  ]);
}

test('the number of permits must be a positive integer', () => {
  for (const total of [0, -1, 1.5, Number.NaN, Infinity]) expect(() => new Semaphore(total)).toThrow(RangeError);
});

describe('take', () => {
  test('grants permits in the order of the requests', async () => {
    const permits = new Semaphore(1);
    await permits.take();
    const order: number[] = [];
    const waiting = [1, 2, 3].map((n) => permits.take().then(() => order.push(n)));
    for (const taker of waiting) {
      permits.give();
      await taker;
    }
    expect(order).toEqual([1, 2, 3]);
    expect(permits.free).toBe(0);
  });

  test('removes an aborted waiter without losing a permit', async () => {
    const permits = new Semaphore(1);
    await permits.take();
    const first = permits.take();
    const controller = new AbortController();
    const second = permits.take(controller.signal);
    const third = permits.take();
    const reason = new Error('changed my mind');
    controller.abort(reason);
    await expect(second).rejects.toBe(reason);
    permits.give();
    await first;
    permits.give();
    await third;
    permits.give();
    expect(permits.free).toBe(1);
  });

  test('rejects an aborted signal even if a permit is free', async () => {
    const permits = new Semaphore(1);
    const reason = new Error('over');
    await expect(permits.take(AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(permits.free).toBe(1);
  });

  test('keeps a granted permit if the signal is aborted in the same turn, and removes the listener', async () => {
    const permits = new Semaphore(1);
    await permits.take();
    const controller = new AbortController();
    const taken = permits.take(controller.signal);
    permits.give();
    controller.abort(new Error('too late'));
    await taken;
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    expect(permits.free).toBe(0);
  });
});

test('tryTake takes a permit only if one is free', () => {
  const permits = new Semaphore(1);
  expect(permits.tryTake()).toBe(true);
  expect(permits.tryTake()).toBe(false);
  permits.give();
  expect(permits.tryTake()).toBe(true);
});

test('release throws an internal failure if a permit is released twice', () => {
  const permits = new Semaphore(2);
  expect(() => permits.give()).toThrow(/twice/);
});

describe('with', () => {
  test('releases the permit whether the work succeeds or fails', async () => {
    const permits = new Semaphore(1);
    expect(await permits.with(() => Promise.resolve('done'))).toBe('done');
    await expect(permits.with(() => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    await expect(
      permits.with(() => {
        throw new Error('broken at once');
      }),
    ).rejects.toThrow('broken at once');
    expect(permits.free).toBe(1);
  });

  test('does not start the work without a permit', async () => {
    const permits = new Semaphore(1);
    await permits.take();
    const controller = new AbortController();
    let began = false;
    const work = permits.with(() => {
      began = true;
      return Promise.resolve();
    }, controller.signal);
    expect(await stateOf(work)).toBe('waiting');
    controller.abort(new Error('over'));
    await expect(work).rejects.toThrow('over');
    expect(began).toBe(false);
  });
});

/** Takes an amount, and notes its name once it is granted. */
function taker(
  budget: Semaphore,
  granted: string[],
): (name: string, amount: number, signal?: AbortSignal) => Promise<void> {
  return async (name, amount, signal) => {
    await budget.take(signal, amount);
    granted.push(name);
  };
}

const turn = (): Promise<void> => new Promise(setImmediate);

describe('a semaphore for an amount', () => {
  test('grants free amounts up to the total', () => {
    const budget = new Semaphore(10);
    expect(budget.free).toBe(10);
    expect([budget.tryTake(4), budget.tryTake(6)]).toEqual([true, true]);
    expect(budget.free).toBe(0);
    expect(budget.tryTake(1)).toBe(false);
    budget.give(1);
    expect(budget.tryTake(2)).toBe(false);
    expect(budget.tryTake(1)).toBe(true);
  });

  test('treats an amount above the total as the total', async () => {
    const budget = new Semaphore(10);
    expect(budget.tryTake(25)).toBe(true);
    expect(budget.free).toBe(0);
    const waiting = budget.take(undefined, 30);
    budget.give(25);
    await waiting;
    expect(budget.free).toBe(0);
    budget.give(30);
    expect(budget.free).toBe(10);
  });

  test('serves tasks in the order of their requests, even if a later request would fit', async () => {
    const budget = new Semaphore(10);
    const granted: string[] = [];
    const take = taker(budget, granted);
    await budget.take(undefined, 8);
    const large = take('large', 5);
    const small = take('small', 1);
    expect(budget.tryTake(1)).toBe(false);
    await turn();
    expect(granted).toEqual([]);
    budget.give(8);
    await Promise.all([large, small]);
    expect(granted).toEqual(['large', 'small']);
    expect(budget.free).toBe(4);
  });

  test('grants only as much as tasks give back', async () => {
    const budget = new Semaphore(2);
    const granted: string[] = [];
    const take = taker(budget, granted);
    await budget.take(undefined, 2);
    const tasks = [take('a', 1), take('b', 1)];
    budget.give(1);
    await turn();
    expect(granted).toEqual(['a']);
    budget.give(1);
    await Promise.all(tasks);
    expect(granted).toEqual(['a', 'b']);
  });

  test('gives nothing to an aborted task, and serves the tasks behind it', async () => {
    const budget = new Semaphore(10);
    const granted: string[] = [];
    const take = taker(budget, granted);
    await budget.take(undefined, 8);
    const stop = new AbortController();
    const large = take('large', 5, stop.signal);
    const small = take('small', 2);
    stop.abort(new Error('stopped'));
    await expect(large).rejects.toThrow('stopped');
    await small;
    expect(granted).toEqual(['small']);
    expect(budget.free).toBe(0);
    await expect(budget.take(stop.signal, 1)).rejects.toThrow('stopped');
  });

  test('keeps an amount granted if the abort comes after the grant', async () => {
    const budget = new Semaphore(1);
    await budget.take(undefined, 1);
    const stop = new AbortController();
    const first = budget.take(stop.signal, 1);
    const second = budget.take(undefined, 1);
    budget.give(1);
    await first;
    stop.abort();
    budget.give(1);
    await second;
    expect(budget.free).toBe(0);
  });
});

test('never grants more permits than it has and loses none, in any order of takes, releases and aborts', async () => {
  const step = fc.oneof(
    fc.constant({ kind: 'take' as const }),
    fc.constant({ kind: 'give' as const }),
    fc.record({ kind: fc.constant('abort' as const), which: fc.nat(20) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 40 }), async (total, steps) => {
      const permits = new Semaphore(total);
      const takers: { controller: AbortController; state: 'waiting' | 'held' | 'over' }[] = [];
      for (const next of steps) {
        if (next.kind === 'take') {
          const taker: (typeof takers)[number] = { controller: new AbortController(), state: 'waiting' };
          takers.push(taker);
          permits.take(taker.controller.signal).then(
            () => (taker.state = 'held'),
            () => (taker.state = 'over'),
          );
        } else if (next.kind === 'abort') takers[next.which]?.controller.abort();
        else {
          const holder = takers.find(({ state }) => state === 'held');
          if (holder !== undefined) {
            holder.state = 'over';
            permits.give();
          }
        }
        await new Promise(setImmediate);
        const held = takers.filter(({ state }) => state === 'held').length;
        const waiting = takers.filter(({ state }) => state === 'waiting').length;
        expect(held + permits.free).toBe(total);
        // A taker never waits while a permit is free.
        expect(waiting === 0 || permits.free === 0).toBe(true);
      }
    }),
    { numRuns: 50 },
  );
});

describe('owners that share a semaphore', () => {
  const shared = (total: number): Semaphore => new Semaphore(total, () => true);

  test('get permits while they have fewer than are free', () => {
    const permits = shared(10);
    const counts = ['a', 'b', 'c', 'd'].map((owner) => {
      let count = 0;
      while (permits.tryTake(1, owner)) count += 1;
      return count;
    });
    expect(counts).toEqual([5, 3, 1, 1]);
    expect(permits.free).toBe(0);
  });

  test('do not matter while only one owner needs permits', () => {
    let areShared = false;
    const permits = new Semaphore(3, () => areShared);
    expect([1, 2, 3].map(() => permits.tryTake(1, 'a'))).toEqual([true, true, true]);
    areShared = true;
    permits.give(1, 'a');
    expect(permits.tryTake(1, 'a')).toBe(false);
    expect(permits.tryTake(1, 'b')).toBe(true);
  });

  test('pass a task that waits for its own owner', async () => {
    const permits = shared(4);
    expect([permits.tryTake(1, 'a'), permits.tryTake(1, 'a')]).toEqual([true, true]);
    const first = permits.take(undefined, 1, 'a');
    const second = permits.take(undefined, 1, 'b');
    expect(await stateOf(first)).toBe('waiting');
    expect(await stateOf(second)).toBe('granted');
    permits.give(1, 'b');
    expect(await stateOf(first)).toBe('waiting');
    permits.give(1, 'a');
    expect(await stateOf(first)).toBe('granted');
  });

  test('keep their order while permits are missing for all', async () => {
    const permits = shared(2);
    expect(permits.tryTake(2)).toBe(true);
    const order: string[] = [];
    for (const owner of ['a', 'b', 'a'])
      void permits.take(undefined, 2, owner).then(async () => {
        order.push(owner);
        await new Promise(setImmediate);
        permits.give(2, owner);
      });
    permits.give(2);
    for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate);
    expect(order).toEqual(['a', 'b', 'a']);
    expect(permits.free).toBe(2);
  });

  test('get all permits that they ask for if these are given back, in any order', () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.array(fc.record({ owner: fc.constantFrom('a', 'b', 'c'), count: fc.integer({ min: 1, max: 8 }) }), {
          minLength: 1,
          maxLength: 20,
        }),
        fc.infiniteStream(fc.nat()),
        async (total, tasks, choices) => {
          const permits = shared(total);
          const held: (() => void)[] = [];
          let granted = 0;
          for (const { owner, count } of tasks)
            void permits.take(undefined, count, owner).then(() => {
              granted += 1;
              held.push(() => {
                permits.give(count, owner);
              });
            });
          while (granted < tasks.length || held.length > 0) {
            await new Promise(setImmediate);
            if (held.length === 0 && granted < tasks.length) expect.fail('all tasks wait');
            for (const give of held.splice((choices.next().value ?? 0) % Math.max(1, held.length), 1)) give();
          }
          expect(permits.free).toBe(total);
        },
      ),
      { numRuns: 200 },
    ));
});
