import { expect, test } from 'vitest';
import { settleAll } from '../../../lib/core/settle-all.ts';

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
