import { expect, test, vi } from 'vitest';
import { deadlineFrom, NO_DEADLINE } from '../../../lib/sync/deadline.ts';

/** A deadline after this time, on a manual clock. */
function within(ms: number): {
  readonly deadline: ReturnType<typeof deadlineFrom>;
  readonly pass: (ms: number) => void;
} {
  let left = ms;
  const timeout = vi.spyOn(AbortSignal, 'timeout').mockImplementation((after) => {
    over = after;
    return controller.signal;
  });
  const controller = new AbortController();
  let over = Infinity;
  const deadline = deadlineFrom(() => left);
  timeout.mockRestore();
  const pass = (passed: number): void => {
    left -= passed;
    if (ms - left >= over) controller.abort();
  };
  return { deadline, pass };
}

test('is near when parts in flight can only just finish, and over while five seconds are left for a message', () => {
  const { deadline, pass } = within(100_000);
  pass(80_000);
  expect(deadline.near()).toBe(false);
  pass(1);
  expect(deadline.near()).toBe(true);
  pass(14_998);
  expect(deadline.over.aborted).toBe(false);
  pass(1);
  expect(deadline.over.aborted).toBe(true);
  pass(10_000);
  expect(deadline.near()).toBe(true);
});

test('uses half of a short time for work, and a quarter for finishing', () => {
  const { deadline, pass } = within(8_000);
  pass(4_000);
  expect(deadline.near()).toBe(false);
  pass(1);
  expect(deadline.near()).toBe(true);
  pass(1_998);
  expect(deadline.over.aborted).toBe(false);
  pass(1);
  expect(deadline.over.aborted).toBe(true);
});

// Lambda reports fractions of milliseconds, and AbortSignal.timeout accepts only integers.
test.for([0, 1, 4_999, 9_997, 19_999, 900_001, 1_234.5])('can be made of %d ms', (ms) => {
  expect(deadlineFrom(() => ms).over).toBeInstanceOf(AbortSignal);
});

test('never comes near in a process of its own', () => {
  expect(NO_DEADLINE.near()).toBe(false);
  expect(NO_DEADLINE.over.aborted).toBe(false);
});
