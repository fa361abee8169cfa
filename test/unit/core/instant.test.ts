import { expect, test } from 'vitest';
import { instantFault } from '../../../lib/core/instant.ts';

const NOW = Date.parse('2026-01-31T00:00:00Z');
const AHEAD = 15 * 60_000;
const LAST = 8.64e15;

test.each([0, -1, NOW, NOW + AHEAD, -LAST])('accepts the instant %i', (ms) => {
  expect(instantFault(ms, NOW)).toBeUndefined();
});

test('accepts the last instant that a Date can hold if the clock is that late', () => {
  expect(instantFault(LAST, LAST)).toBeUndefined();
});

test.each([0.5, Number.NaN, Infinity, LAST + 2, -LAST - 2])('refuses %d because it is not an instant', (ms) => {
  expect(instantFault(ms, LAST)).toBe('is not a whole number of milliseconds that a date can hold');
});

test('refuses an instant more than 15 minutes ahead of the clock', () => {
  expect(instantFault(NOW + AHEAD + 1, NOW)).toBe(
    'is 2026-01-31T00:15:00.001Z, more than 15 minutes after the clock of this machine (2026-01-31T00:00:00.000Z); ' +
      'correct the clock that is wrong',
  );
});
