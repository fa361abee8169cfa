import { expect, test } from 'vitest';
import { Budget } from '../../../lib/core/budget.ts';

/** Takes an amount, and notes its name once it is granted. */
function taker(
  budget: Budget,
  granted: string[],
): (name: string, amount: number, signal?: AbortSignal) => Promise<void> {
  return async (name, amount, signal) => {
    await budget.take(amount, signal);
    granted.push(name);
  };
}

const turn = (): Promise<void> => new Promise(setImmediate);

test('grants free amounts up to the total', () => {
  const budget = new Budget(10);
  expect(budget.used).toBe(0);
  expect([budget.tryTake(4), budget.tryTake(6)]).toEqual([true, true]);
  expect(budget.used).toBe(10);
  expect(budget.tryTake(1)).toBe(false);
  budget.give(1);
  expect(budget.tryTake(2)).toBe(false);
  expect(budget.tryTake(1)).toBe(true);
});

test('treats an amount above the total as the total', async () => {
  const budget = new Budget(10);
  expect(budget.tryTake(25)).toBe(true);
  expect(budget.used).toBe(10);
  const waiting = budget.take(30);
  budget.give(25);
  await waiting;
  expect(budget.used).toBe(10);
  budget.give(30);
  expect(budget.used).toBe(0);
});

test('serves tasks in the order of their requests, even if a later request would fit', async () => {
  const budget = new Budget(10);
  const granted: string[] = [];
  const take = taker(budget, granted);
  await budget.take(8);
  const large = take('large', 5);
  const small = take('small', 1);
  expect(budget.tryTake(1)).toBe(false);
  await turn();
  expect(granted).toEqual([]);
  budget.give(8);
  await Promise.all([large, small]);
  expect(granted).toEqual(['large', 'small']);
  expect(budget.used).toBe(6);
});

test('grants only as much as tasks give back', async () => {
  const budget = new Budget(2);
  const granted: string[] = [];
  const take = taker(budget, granted);
  await budget.take(2);
  const tasks = [take('a', 1), take('b', 1)];
  budget.give(1);
  await turn();
  expect(granted).toEqual(['a']);
  budget.give(1);
  await Promise.all(tasks);
  expect(granted).toEqual(['a', 'b']);
});

test('gives nothing to an aborted task, and serves the tasks behind it', async () => {
  const budget = new Budget(10);
  const granted: string[] = [];
  const take = taker(budget, granted);
  await budget.take(8);
  const stop = new AbortController();
  const large = take('large', 5, stop.signal);
  const small = take('small', 2);
  stop.abort(new Error('stopped'));
  await expect(large).rejects.toThrow('stopped');
  await small;
  expect(granted).toEqual(['small']);
  expect(budget.used).toBe(10);
  await expect(budget.take(1, stop.signal)).rejects.toThrow('stopped');
});

test('keeps an amount granted if the abort comes after the grant', async () => {
  const budget = new Budget(1);
  await budget.take(1);
  const stop = new AbortController();
  const first = budget.take(1, stop.signal);
  const second = budget.take(1);
  budget.give(1);
  await first;
  stop.abort();
  budget.give(1);
  await second;
  expect(budget.used).toBe(1);
});
