import { expect, test } from 'vitest';
import { deadlineFrom, NO_DEADLINE } from '../../../lib/mirror/deadline.ts';

test('is near when what is in flight could only just land', () => {
  let left = 100_000;
  const deadline = deadlineFrom(() => left, 20_000);
  expect(deadline.near()).toBe(false);
  expect(deadline.remainingMs()).toBe(100_000);
  left = 20_000;
  expect(deadline.near()).toBe(false);
  left = 19_999;
  expect(deadline.near()).toBe(true);
  left = -5;
  expect(deadline.near()).toBe(true);
});

test('a process of its own has all the time', () => {
  expect(NO_DEADLINE.near()).toBe(false);
  expect(NO_DEADLINE.remainingMs()).toBe(Infinity);
});
