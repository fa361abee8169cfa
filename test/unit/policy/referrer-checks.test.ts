import { expect, test } from 'vitest';
import { isCheckDue, nextCheck } from '../../../lib/policy/referrer-checks.ts';

const HOUR = 3_600_000;
const AGES = [HOUR / 6, HOUR, 6 * HOUR, 24 * HOUR, 72 * HOUR, 168 * HOUR, 720 * HOUR];

test('a check is due 10 minutes, 1 hour, 6 hours, 1, 3, 7 and 30 days after the first observation', () => {
  const [first, due]: [number, number[]] = [1_000_000, []];
  let checked: number | undefined = first;
  for (;;) {
    const next = nextCheck({ observations: [first, first + 5 * HOUR], checked });
    if (next === undefined) break;
    expect(isCheckDue({ observations: [first], checked }, next - 1)).toBe(false);
    expect(isCheckDue({ observations: [first], checked }, next)).toBe(true);
    due.push(next - first);
    checked = next;
  }
  expect(due).toEqual(AGES);
});

test('a late check stands for all that were due before it', () => {
  const times = { observations: [0], checked: 100 * HOUR };
  expect(nextCheck(times)).toBe(168 * HOUR);
  expect(nextCheck({ ...times, checked: 720 * HOUR })).toBeUndefined();
});

test('a check is due at once while a referrer is awaited', () => {
  const times = { observations: [0], checked: 800 * HOUR };
  expect(isCheckDue(times, 900 * HOUR)).toBe(false);
  expect(isCheckDue({ ...times, awaited: ['sha256:1'] }, 800 * HOUR)).toBe(true);
  expect(isCheckDue({ ...times, awaited: [] }, 900 * HOUR)).toBe(false);
});

test('an image without a recorded check is due once, also without a time', () => {
  expect(nextCheck({ observations: [5], checked: undefined })).toBe(5);
  expect(isCheckDue({ observations: [], checked: undefined }, 0)).toBe(true);
  expect(nextCheck({ observations: [], checked: 1 })).toBeUndefined();
});
