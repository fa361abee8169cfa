import { expect, test } from 'vitest';
import { inWords } from '../../../lib/registry/http/duration.ts';

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000];

test.each([
  [1, '1 s'],
  [1_001, '2 s'],
  [2 * MINUTE - 1, '120 s'],
  [2 * MINUTE, '2 min'],
  [2 * MINUTE + 1, '3 min'],
  [2 * HOUR - 1, '120 min'],
  [2 * HOUR, '2 h'],
  [2 * DAY - 1, '48 h'],
  [2 * DAY, '2 days'],
  [365 * DAY, '365 days'],
])('shows %i ms as %s', (ms, words) => {
  expect(inWords(ms)).toBe(words);
});
