import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PATIENT } from '../../../lib/core/retry.ts';
import {
  isOver,
  NO_REFUSALS,
  passed,
  pauseMs,
  refused,
  sent,
  UNPACED,
  waitMs,
  type Pace,
} from '../../../lib/registry/http/pace-policy.ts';

type Step =
  | { readonly kind: 'sent' | 'passed' }
  | { readonly kind: 'refused'; readonly pauseMs: number; readonly askedMs: number };

const refusal: fc.Arbitrary<Step> = fc
  .tuple(fc.integer({ min: 1, max: 20_000 }), fc.boolean())
  .map(([ms, asked]) => ({ kind: 'refused', pauseMs: ms, askedMs: asked ? ms : 0 }));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom<Step>({ kind: 'sent' }, { kind: 'passed' }) },
  { weight: 1, arbitrary: refusal },
);

function after(pace: Pace, one: Step, now: number, epoch = pace.epoch): Pace {
  if (one.kind === 'refused')
    return refused(pace, { epoch, pauseMs: one.pauseMs, askedMs: one.askedMs, sure: true, again: false, now });
  return one.kind === 'sent' ? sent(pace, now) : passed(pace, epoch, now);
}

const steps = fc.array(fc.tuple(step, fc.integer({ min: 0, max: 2000 })), { maxLength: 60 });

function played(all: readonly (readonly [Step, number])[]): { readonly pace: Pace; readonly now: number } {
  let now = 0;
  let pace = UNPACED;
  for (const [one, ms] of all) {
    now += ms;
    pace = after(pace, one, now);
  }
  return { pace, now };
}

test('sends without a wait until a request is refused', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('sent' as const, 'passed' as const)), (kinds) => {
      const { pace, now } = played(kinds.map((kind) => [{ kind }, 1] as const));
      expect(waitMs(pace, now)).toBe(0);
    }),
  );
});

test('pauses for the whole wait after a refusal, and at least as long as requested', () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 60_000 }), (all, ms) => {
      const { pace, now } = played(all);
      const next = after(pace, { kind: 'refused', pauseMs: ms, askedMs: ms }, now);
      expect(waitMs(next, now)).toBeGreaterThanOrEqual(ms);
    }),
  );
});

test('raises the rate with every success, and never lowers it then', () => {
  fc.assert(
    fc.property(steps, (all) => {
      const { pace, now } = played(all);
      expect(passed(pace, pace.epoch, now).rate).toBeGreaterThanOrEqual(pace.rate);
    }),
  );
});

test('lowers the rate at a refusal unless the endpoint was paused already', () => {
  fc.assert(
    fc.property(steps, (all) => {
      const { pace, now } = played(all);
      const next = after(pace, { kind: 'refused', pauseMs: 100, askedMs: 0 }, now);
      if (pace.probing) expect(next.rate).toBe(pace.rate);
      else expect(next.rate).toBeLessThanOrEqual(Math.max(0.2, pace.rate * 0.7));
      expect(next.rate).toBeGreaterThanOrEqual(0.2);
    }),
  );
});

test('counts refusals of requests that were sent before the first of them once', () => {
  fc.assert(
    fc.property(steps, fc.nat(1000), (all, later) => {
      const { pace, now } = played(all);
      const once = after(pace, { kind: 'refused', pauseMs: 5000, askedMs: 0 }, now);
      const twice = after(once, { kind: 'refused', pauseMs: 5000, askedMs: 0 }, now + later, pace.epoch);
      expect(twice).toEqual({ ...once, pausedUntil: Math.max(once.pausedUntil, now + later) });
    }),
  );
});

test('spaces requests by the rate, and an idle time saves nothing up', () => {
  fc.assert(
    fc.property(steps, fc.nat(100_000), (all, idle) => {
      const state = played(all);
      const now = state.now + idle;
      const wait = waitMs(state.pace, now);
      const first = sent(state.pace, now + wait);
      const second = sent(first, now + wait + waitMs(first, now + wait));
      if (state.pace.rate === Infinity) return;
      const interval = 1000 / state.pace.rate;
      expect(second.nextAt - first.nextAt).toBeGreaterThanOrEqual(interval - 1e-6);
      expect(first.nextAt).toBeGreaterThanOrEqual(now + wait - 1e-6);
    }),
  );
});

test('stops pacing after a long time without a refusal', () => {
  let pace = after(UNPACED, { kind: 'refused', pauseMs: 100, askedMs: 0 }, 0);
  let now = 0;
  let count = 0;
  for (; pace.rate !== Infinity; count += 1) {
    now += waitMs(pace, now);
    pace = passed(sent(pace, now), pace.epoch, now);
  }
  expect(count).toBe(1000);
  expect(now).toBeLessThan(20_000);
});

test('doubles the pause after each further refusal up to the cap, and half of it is random', () => {
  expect([1, 2, 3, 20].map((n) => pauseMs(n, 0, PATIENT, 1))).toEqual([250, 500, 1000, 20_000]);
  expect([1, 2, 3, 20].map((n) => pauseMs(n, 0, PATIENT, 0))).toEqual([125, 250, 500, 10_000]);
  expect(pauseMs(1, 7000, PATIENT, 1)).toBe(7000);
});

test('gives more tries to an endpoint that has accepted requests, within the longest wait', () => {
  const limits = { tries: 6, factor: 3, maxMs: 900_000 };
  const over = (refusals: number, pausedMs: number, wasAccepted: boolean): boolean =>
    isOver({ refusals, pausedMs, wasAccepted }, limits);
  expect([over(5, 0, false), over(6, 0, false), over(17, 0, true), over(18, 0, true)]).toEqual([
    false,
    true,
    false,
    true,
  ]);
  expect([over(1, 900_000, true), over(1, 900_001, true), isOver(NO_REFUSALS, limits)]).toEqual([false, true, false]);
});
