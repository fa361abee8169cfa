import { expect, test } from 'vitest';
import { Once } from '../../../lib/sync/resolver/once.ts';

/** Finds a new number with every call; the calls in `fails` fail. */
function finder(...fails: readonly number[]): () => Promise<number> {
  let calls = 0;
  return () => {
    calls += 1;
    return fails.includes(calls) ? Promise.reject(new Error(`call ${calls}`)) : Promise.resolve(calls);
  };
}

test('finds a value once per key', async () => {
  const known = new Once<number>(2, () => 1);
  const find = finder();
  expect(await Promise.all([known.get('a', find), known.get('a', find), known.get('b', find)])).toEqual([1, 1, 2]);
  expect(await known.get('a', find)).toBe(1);
});

test('tries again for each caller that waited for a failure, and does not keep failures', async () => {
  const known = new Once<number>(2, () => 1);
  const find = finder(1);
  const results = await Promise.allSettled([known.get('a', find), known.get('a', find)]);
  expect(results).toEqual([
    { status: 'rejected', reason: new Error('call 1') },
    { status: 'fulfilled', value: 2 },
  ]);
  expect(known.has('a')).toBe(false);
  expect(await known.get('a', find)).toBe(3);
});

test('drops the values that were not used for the longest time, and finds them again', async () => {
  const known = new Once<number>(3, (value) => value);
  const find = finder();
  await known.get('a', find);
  expect([known.hasRoom(2), known.hasRoom(3)]).toEqual([true, false]);
  await known.get('b', find);
  await known.get('a', find);
  await known.get('c', find);
  expect(['a', 'b', 'c'].map((key) => known.has(key))).toEqual([false, false, true]);
  expect(await known.get('b', find)).toBe(4);
});
