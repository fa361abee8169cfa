import { expect, test, vi } from 'vitest';
import { deadlineFrom, NO_DEADLINE } from '../../../lib/sync/deadline.ts';

/** A deadline that far away, by a clock that is moved by hand. */
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

test('is near when what is in flight could only just land, and over while there is time to say so', () => {
  const { deadline, pass } = within(100_000);
  pass(80_000);
  expect(deadline.near()).toBe(false);
  pass(1);
  expect(deadline.near()).toBe(true);
  expect(deadline.over.aborted).toBe(false);
  pass(15_000);
  expect(deadline.over.aborted).toBe(true);
  pass(10_000);
  expect(deadline.near()).toBe(true);
});

// A function with little time has none to lose: half of it is for work, and a quarter for landing.
test('of little time, half is worked', () => {
  const { deadline, pass } = within(8_000);
  pass(4_000);
  expect(deadline.near()).toBe(false);
  pass(1);
  expect(deadline.near()).toBe(true);
  expect(deadline.over.aborted).toBe(false);
  pass(2_000);
  expect(deadline.over.aborted).toBe(true);
});

// What Lambda says is left is odd as often as not, and AbortSignal.timeout takes whole milliseconds only.
test.for([0, 1, 4_999, 9_997, 19_999, 900_001, 1_234.5])('can be made of %d ms', (ms) => {
  expect(deadlineFrom(() => ms).over).toBeInstanceOf(AbortSignal);
});

test('a process of its own has all the time', () => {
  expect(NO_DEADLINE.near()).toBe(false);
  expect(NO_DEADLINE.over.aborted).toBe(false);
});
