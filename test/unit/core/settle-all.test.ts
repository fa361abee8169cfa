import { expect, test } from 'vitest';
import { settleAll, settleEach } from '../../../lib/core/settle-all.ts';

test('resolves to all results in the order of the promises', async () => {
  const late = new Promise<string>((resolve) => setImmediate(() => resolve('late')));
  expect(await settleAll([late, Promise.resolve('soon')])).toEqual(['late', 'soon']);
  expect(await settleAll([])).toEqual([]);
});

test('rejects with the first error, after the last promise has settled', async () => {
  const done: string[] = [];
  const late = new Promise<void>((_, reject) =>
    setImmediate(() => {
      done.push('late');
      reject(new Error('late'));
    }),
  );
  const soon = Promise.reject(new Error('soon'));
  await expect(settleAll([Promise.resolve(), soon, late])).rejects.toThrow('soon');
  expect(done).toEqual(['late']);
});

test('works on at most the given number of items at a time, and finishes all of them after a failure', async () => {
  const events: string[] = [];
  const work = async (item: string): Promise<string> => {
    events.push(`begin ${item}`);
    await new Promise((resolve) => setImmediate(resolve));
    events.push(`end ${item}`);
    if (item === 'b') throw new Error('failed b');
    return item.toUpperCase();
  };
  expect(await settleEach(new Set(['a', 'c']), 1, work)).toEqual(['A', 'C']);
  expect(events.splice(0)).toEqual(['begin a', 'end a', 'begin c', 'end c']);
  await expect(settleEach(['a', 'b', 'c'], 2, work)).rejects.toThrow('failed b');
  expect(events.slice(0, 2)).toEqual(['begin a', 'begin b']);
  expect(events.at(-1)).toBe('end c');
});
