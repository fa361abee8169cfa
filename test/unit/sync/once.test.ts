import { expect, test } from 'vitest';
import { once } from '../../../lib/sync/resolver/once.ts';

/** Finds a new number with every call; the calls in `fails` fail. */
function finder(...fails: readonly number[]): () => Promise<number> {
  let calls = 0;
  return () => {
    calls += 1;
    return fails.includes(calls) ? Promise.reject(new Error(`call ${calls}`)) : Promise.resolve(calls);
  };
}

test('finds a value once per key', async () => {
  const known = new Map<string, Promise<number>>();
  const find = finder();
  expect(await Promise.all([once(known, 'a', find), once(known, 'a', find), once(known, 'b', find)])).toEqual([
    1, 1, 2,
  ]);
  expect(await once(known, 'a', find)).toBe(1);
});

test('tries again for each caller that waited for a failure, and does not cache failures', async () => {
  const known = new Map<string, Promise<number>>();
  const find = finder(1);
  const results = await Promise.allSettled([once(known, 'a', find), once(known, 'a', find)]);
  expect(results).toEqual([
    { status: 'rejected', reason: new Error('call 1') },
    { status: 'fulfilled', value: 2 },
  ]);
  expect(known.size).toBe(0);
  expect(await once(known, 'a', find)).toBe(3);
});
