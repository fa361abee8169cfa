import { expect, test } from 'vitest';
import { basicAsOfTime, parseAsOf } from '../../../lib/core/as-of.ts';

test.each([
  ['2026-01-31T12:00:00Z', '2026-01-31T12:00:00.000Z'],
  ['2026-01-31T12:00:00.250Z', '2026-01-31T12:00:00.250Z'],
  ['2026-01-31t12:00:00z', '2026-01-31T12:00:00.000Z'],
  ['2026-01-31', '2026-01-31T23:59:59.999Z'],
  ['2028-02-29', '2028-02-29T23:59:59.999Z'],
])('%s is the instant %s', (text, iso) => {
  expect(new Date(parseAsOf(text, '--as-of')).toISOString()).toBe(iso);
});

test.each([
  '',
  'yesterday',
  '2026-02-30',
  '2026-01-31T24:00:00Z',
  '2026-01-31T12:00:00',
  '2026-01-31T12:00:00+01:00',
  '20260131',
])('%j is refused', (text) => {
  expect(() => parseAsOf(text, '--as-of')).toThrow(
    `parse --as-of ${JSON.stringify(text)}: expected a time such as 2026-01-31T12:00:00Z`,
  );
});

test.each([
  ['20260131t120000z', '2026-01-31T12:00:00.000Z'],
  ['20260131', '2026-01-31T23:59:59.999Z'],
])('the basic form %s is the instant %s', (text, iso) => {
  expect(new Date(basicAsOfTime(text) ?? NaN).toISOString()).toBe(iso);
});

test.each(['20260230', '20260131t250000z', '2026-01-31', '20260131t120000', ''])(
  'the basic form %j is not a time',
  (text) => {
    expect(basicAsOfTime(text)).toBeUndefined();
  },
);
