import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Failure, type Remedy } from '../../../lib/core/failure.ts';
import { decide, PATIENT, retrying, type RetryPolicy } from '../../../lib/core/retry.ts';

function failure(remedy: Remedy, retryAfterMs?: number): Failure {
  return new Failure({
    operation: 'get blob',
    side: 'source',
    code: 'unavailable',
    detail: 'busy',
    remedy,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

const policy: fc.Arbitrary<RetryPolicy> = fc.record({
  tries: fc.integer({ min: 1, max: 20 }),
  baseMs: fc.integer({ min: 1, max: 1000 }),
  capMs: fc.integer({ min: 1, max: 60_000 }),
});
const random = fc.double({ min: 0, max: 1, noNaN: true });
const attempt = fc.integer({ min: 1, max: 40 });

test('does not retry a permanent or an aborted failure', () => {
  expect(decide(failure('never', 1000), 1, PATIENT, 0.5)).toEqual({ again: false });
  const stopped = new Failure({ operation: 'get blob', side: 'source', code: 'aborted', detail: 'stopped' });
  expect(decide(stopped, 1, PATIENT, 0.5)).toEqual({ again: false });
});

test('waits at least as long as the Retry-After, without an upper limit', () => {
  fc.assert(
    fc.property(policy, attempt, random, fc.nat(100_000_000), (p, n, r, asked) => {
      const decision = decide(failure('retry', asked), n, p, r);
      expect(decision.again).toBe(n < p.tries);
      if (decision.again) expect(decision.afterMs).toBeGreaterThanOrEqual(asked);
    }),
  );
});

test('waits at most the bound, which doubles up to its cap, without a Retry-After', () => {
  fc.assert(
    fc.property(policy, attempt, random, (p, n, r) => {
      const decision = decide(failure('retry'), n, p, r);
      if (!decision.again) return;
      const bound = Math.min(p.capMs, p.baseMs * 2 ** (n - 1));
      expect(decision.afterMs).toBeGreaterThanOrEqual(0);
      expect(decision.afterMs).toBeLessThanOrEqual(bound);
      // The wait uses the whole range, so that clients that failed together do not return together.
      expect(decide(failure('retry'), n, p, 1)).toEqual({ again: true, afterMs: bound });
      expect(decide(failure('retry'), n, p, 0)).toEqual({ again: true, afterMs: 0 });
    }),
  );
});

test('stops after the configured number of tries, including the first', () => {
  fc.assert(
    fc.property(policy, random, (p, r) => {
      let tries = 1;
      while (decide(failure('retry'), tries, p, r).again) tries += 1;
      expect(tries).toBe(p.tries);
    }),
  );
});

test('work is repeated as decided, and the last failure is thrown', async () => {
  const waits: number[] = [];
  const attempts: number[] = [];
  const run = (succeedsAt: number): Promise<string> => {
    attempts.length = 0;
    return retrying(
      (attempt) => {
        attempts.push(attempt);
        return attempt === succeedsAt ? Promise.resolve('done') : Promise.reject(new Error(`try ${attempt}`));
      },
      {
        failureOf: (thrown) => failure('retry').within((thrown as Error).message),
        decide: (_, attempt) => (attempt < 3 ? { again: true, afterMs: attempt * 10 } : { again: false }),
        wait: (ms) => Promise.resolve(void waits.push(ms)),
      },
    );
  };
  expect(await run(3)).toBe('done');
  expect(waits).toEqual([10, 20]);
  await expect(run(4)).rejects.toMatchObject({ operation: 'try 3' });
  expect(attempts).toEqual([1, 2, 3]);
});

test('a rejected wait ends the retries', async () => {
  const stopped = new Error('stopped');
  const work = retrying(() => Promise.reject(new Error('busy')), {
    failureOf: () => failure('retry'),
    decide: () => ({ again: true, afterMs: 1 }),
    wait: () => Promise.reject(stopped),
  });
  await expect(work).rejects.toBe(stopped);
});
