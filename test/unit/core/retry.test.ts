import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Failure, type Remedy } from '../../../lib/core/failure.ts';
import { decide, PATIENT, type RetryPolicy } from '../../../lib/core/retry.ts';

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

test('what no retry mends is not retried, nor what was stopped on request', () => {
  expect(decide(failure('never', 1000), 1, PATIENT, 0.5)).toEqual({ again: false });
  const stopped = new Failure({ operation: 'get blob', side: 'source', code: 'aborted', detail: 'stopped' });
  expect(decide(stopped, 1, PATIENT, 0.5)).toEqual({ again: false });
});

// Retry-After is honoured in full, however long it is: shortened, it is only another way to be refused.
test('never sooner than the other side asked', () => {
  fc.assert(
    fc.property(policy, attempt, random, fc.nat(100_000_000), (p, n, r, asked) => {
      const decision = decide(failure('retry', asked), n, p, r);
      expect(decision.again).toBe(n < p.tries);
      if (decision.again) expect(decision.afterMs).toBeGreaterThanOrEqual(asked);
    }),
  );
});

test('without such a wish, at most the bound, which doubles up to its cap', () => {
  fc.assert(
    fc.property(policy, attempt, random, (p, n, r) => {
      const decision = decide(failure('retry'), n, p, r);
      if (!decision.again) return;
      const bound = Math.min(p.capMs, p.baseMs * 2 ** (n - 1));
      expect(decision.afterMs).toBeGreaterThanOrEqual(0);
      expect(decision.afterMs).toBeLessThanOrEqual(bound);
      // All of it is used: clients that failed together do not come back together.
      expect(decide(failure('retry'), n, p, 1)).toEqual({ again: true, afterMs: bound });
      expect(decide(failure('retry'), n, p, 0)).toEqual({ again: true, afterMs: 0 });
    }),
  );
});

test('ends after its tries, the first one included', () => {
  fc.assert(
    fc.property(policy, random, (p, r) => {
      let tries = 1;
      while (decide(failure('retry'), tries, p, r).again) tries += 1;
      expect(tries).toBe(p.tries);
    }),
  );
});
