import { expect, test } from 'vitest';
import { largest, smallest } from '../../../lib/core/extremes.ts';

test('the extremes of a list of any length are found', () => {
  const numbers = Array.from({ length: 500_000 }, (_, at) => (at * 7919) % 500_009);
  expect([smallest(numbers), largest(numbers)]).toEqual([0, 500_008]);
  expect([smallest([3, -1, 2]), largest([3, -1, 2])]).toEqual([-1, 3]);
});

test('the extremes of an empty list are those of Math.min and Math.max', () => {
  expect([smallest([]), largest([])]).toEqual([Math.min(), Math.max()]);
});
