import { expect, test } from 'vitest';
import { bar, bytes, plural, seconds, shortDigest } from '../../../lib/core/format.ts';

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1_000, '1.0 kB'],
  [12_345, '12.3 kB'],
  [99_449, '99.4 kB'],
  [99_500, '100 kB'],
  [999_499, '999 kB'],
  [999_500, '1.0 MB'],
  [2_000_000_000, '2.0 GB'],
  [3e12, '3.0 TB'],
  [3e15, '3000 TB'],
])('shows %i bytes as %s', (count, text) => {
  expect(bytes(count)).toBe(text);
});

test.each([
  [0, '0.0 s'],
  [59_900, '59.9 s'],
  [60_000, '1 min 0 s'],
  [119_400, '1 min 59 s'],
  [119_600, '2 min 0 s'],
  [3_723_000, '62 min 3 s'],
])('shows %i ms as %s', (ms, text) => {
  expect(seconds(ms)).toBe(text);
});

test('shortDigest shows twelve characters of the hex value', () => {
  expect(shortDigest('sha256:0123456789abcdef')).toBe('0123456789ab');
});

test.each([
  [0, 10, '[>    ]'],
  [5, 10, '[==>  ]'],
  [10, 10, '[=====]'],
  [12, 10, '[=====]'],
  [0, 0, '[=====]'],
  [3, undefined, '       '],
])('shows %i of %s in a bar of five characters', (done, whole, text) => {
  expect(bar(done, whole, 5)).toBe(text);
});

test('plural uses the singular only for a count of one', () => {
  expect([plural(1, 'layer'), plural(2, 'layer'), plural(0, 'entry', 'entries')]).toEqual([
    '1 layer',
    '2 layers',
    '0 entries',
  ]);
});
