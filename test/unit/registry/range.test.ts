import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Failure, FailureCode } from '../../../lib/core/failure.ts';
import { checkResponse, rangeHeader, type ExpectedBlob, type ByteRange } from '../../../lib/registry/http/range.ts';

const nothing: ExpectedBlob = { size: undefined, total: undefined };
const at = { operation: 'get blob', host: 'r.example' };

function verdict(
  status: number,
  headers: Record<string, string>,
  wanted: ByteRange,
  known: Partial<ExpectedBlob> = {},
): unknown {
  try {
    return checkResponse({ status, headers }, wanted, { ...nothing, ...known }, at);
  } catch (thrown) {
    return (thrown as Failure).code satisfies FailureCode;
  }
}

test('a Range header is sent only for a part of the blob', () => {
  expect(rangeHeader({ start: 0, end: undefined })).toBeUndefined();
  expect(rangeHeader({ start: 5, end: undefined })).toBe('bytes=5-');
  expect(rangeHeader({ start: 0, end: 10 })).toBe('bytes=0-9');
});

// These are the rules by which undici's retry handler resumes, and the descriptor's size.
test.each<[string, number, Record<string, string>, ByteRange, Partial<ExpectedBlob>, unknown]>([
  [
    'the whole',
    200,
    { 'content-length': '10', etag: '"a"' },
    { start: 0, end: undefined },
    {},
    { ranged: true, end: 10, total: 10, etag: '"a"' },
  ],
  [
    'the whole without a length',
    200,
    {},
    { start: 0, end: undefined },
    {},
    { ranged: true, end: undefined, total: undefined },
  ],
  [
    'the whole without a length, but of known size',
    200,
    {},
    { start: 0, end: undefined },
    { size: 7 },
    { ranged: true, end: 7, total: 7 },
  ],
  [
    'the whole for a range from the beginning',
    200,
    { 'content-length': '10' },
    { start: 0, end: 5 },
    {},
    { ranged: false, end: 10, total: 10 },
  ],
  ['the whole for a range from the middle', 200, { 'content-length': '10' }, { start: 3, end: 5 }, {}, 'range-ignored'],
  [
    'the range',
    206,
    { 'content-range': 'bytes 3-4/10', 'content-length': '2' },
    { start: 3, end: 5 },
    {},
    { ranged: true, end: 5, total: 10 },
  ],
  [
    'the range to the end',
    206,
    { 'content-range': 'bytes 3-9/10' },
    { start: 3, end: undefined },
    {},
    { ranged: true, end: 10, total: 10 },
  ],
  [
    'a range that ends with the blob',
    206,
    { 'content-range': 'bytes 3-9/10' },
    { start: 3, end: 99 },
    {},
    { ranged: true, end: 10, total: 10 },
  ],
  ['another beginning', 206, { 'content-range': 'bytes 2-4/10' }, { start: 3, end: 5 }, {}, 'range-mismatch'],
  ['another end', 206, { 'content-range': 'bytes 3-3/10' }, { start: 3, end: 5 }, {}, 'range-mismatch'],
  [
    'another length than range',
    206,
    { 'content-range': 'bytes 3-4/10', 'content-length': '3' },
    { start: 3, end: 5 },
    {},
    'range-mismatch',
  ],
  ['206 without a range', 206, {}, { start: 3, end: 5 }, {}, 'range-mismatch'],
  ['an unrequested 206', 206, { 'content-range': 'bytes 0-4/10' }, { start: 0, end: undefined }, {}, 'range-mismatch'],
  [
    'another total than before',
    206,
    { 'content-range': 'bytes 3-4/11' },
    { start: 3, end: 5 },
    { total: 10 },
    'source-changed',
  ],
  [
    'another total than the descriptor says',
    206,
    { 'content-range': 'bytes 3-4/11' },
    { start: 3, end: 5 },
    { size: 10 },
    'size-mismatch',
  ],
  [
    'another length than the descriptor says',
    200,
    { 'content-length': '11' },
    { start: 0, end: undefined },
    { size: 10 },
    'size-mismatch',
  ],
  [
    'a weak ETag',
    200,
    { etag: 'W/"a"' },
    { start: 0, end: undefined },
    {},
    { ranged: true, end: undefined, total: undefined },
  ],
  ['416', 416, {}, { start: 12, end: undefined }, {}, 'range-mismatch'],
  [
    '416 that says why',
    416,
    { 'content-range': 'bytes */10' },
    { start: 12, end: undefined },
    { size: 20 },
    'size-mismatch',
  ],
])('judges a response by its status, range and size: %s', (_, status, headers, wanted, known, expected) => {
  expect(verdict(status, headers, wanted, known)).toEqual(expected);
});

test('accepts a range only if it is the requested one, for any response', () => {
  const number = fc.nat({ max: 20 });
  fc.assert(
    fc.property(number, number, number, number, number, fc.boolean(), (start, length, first, last, total, whole) => {
      const wanted = { start, end: start + length + 1 };
      const headers = { 'content-range': `bytes ${first}-${last}/${total}`, 'content-length': String(total) };
      const result = verdict(whole ? 200 : 206, headers, wanted);
      if (typeof result === 'string') return;
      if (whole) expect([start, result]).toEqual([0, { ranged: false, end: total, total }]);
      else expect([first, last + 1]).toEqual([start, Math.min(wanted.end, total)]);
    }),
  );
});
