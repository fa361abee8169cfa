import { expect, test } from 'vitest';
import { settleAll } from '../../../lib/core/settle-all.ts';

test('gives what all of them give, in their order', async () => {
  const late = new Promise<string>((resolve) => setImmediate(() => resolve('late')));
  expect(await settleAll([late, Promise.resolve('soon')])).toEqual(['late', 'soon']);
  expect(await settleAll([])).toEqual([]);
});

// The second fails at once and the third later: the error comes when nothing is running any more.
test('throws the first error, and not before the last has settled', async () => {
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
