import { describe, expect, test } from 'vitest';
import { parseContentLength, parseContentRange } from '../../../../lib/core/http/content.ts';
import { hasEtag, strongEtag } from '../../../../lib/core/http/etag.ts';
import { parseRange } from '../../../../lib/core/http/range.ts';
import { parseDate, parseRetryAfter } from '../../../../lib/core/http/time.ts';

describe('Retry-After', () => {
  test('is read in full, as seconds or as a date', () => {
    expect(parseRetryAfter('86400', 0)).toBe(86_400_000);
    expect(parseRetryAfter('Thu, 01 Jan 1970 02:00:00 GMT', 3_600_000)).toBe(3_600_000);
    expect(parseRetryAfter('Thu, 01 Jan 1970 00:00:00 GMT', 3_600_000)).toBe(0);
    expect(parseRetryAfter('soon', 0)).toBeUndefined();
    expect(parseRetryAfter(undefined, 0)).toBeUndefined();
  });
});

describe('a range', () => {
  test.each([
    ['bytes=0-0', { start: 0, end: 1 }],
    ['bytes=2-4', { start: 2, end: 5 }],
    ['bytes=2-', { start: 2, end: 10 }],
    ['bytes=9-9', { start: 9, end: 10 }],
    ['bytes=2-999', { start: 2, end: 10 }],
    ['bytes=-3', { start: 7, end: 10 }],
    ['bytes=-999', { start: 0, end: 10 }],
    ['bytes=10-', 'unsatisfiable'],
    ['bytes=10-12', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=99999999999999999999-', 'unsatisfiable'],
    [null, undefined],
    ['', undefined],
    ['bytes=-', undefined],
    ['bytes=5-3', undefined],
    ['bytes=a-b', undefined],
    ['bytes=0-1,3-4', undefined],
    ['items=0-1', undefined],
  ])('%j of ten bytes is %j', (header, range) => {
    expect(parseRange(header, 10)).toEqual(range);
  });

  test('of an empty blob is unsatisfiable', () => {
    expect(parseRange('bytes=0-', 0)).toBe('unsatisfiable');
    expect(parseRange('bytes=-1', 0)).toBe('unsatisfiable');
  });
});

test.each([
  [null, false],
  ['"a"', true],
  ['W/"a"', true],
  ['"b", "a"', true],
  ['*', true],
  ['"b"', false],
  ['a', false],
])('If-None-Match %j has the tag "a": %j', (header, expected) => {
  expect(hasEtag(header, '"a"')).toBe(expected);
});

test('an impossible Content-Range is ignored', () => {
  expect(parseContentRange('bytes 0-9/10')).toEqual({ bytes: { start: 0, end: 10 }, total: 10 });
  expect(parseContentRange('bytes 0-9/*')).toEqual({ bytes: { start: 0, end: 10 }, total: undefined });
  expect(parseContentRange('bytes */10')).toEqual({ bytes: undefined, total: 10 });
  for (const wrong of ['bytes 9-0/10', 'bytes 0-10/10', 'bytes 0-9', 'items 0-9/10', '', undefined])
    expect(parseContentRange(wrong)).toBeUndefined();
});

test.each([
  ['0', 0],
  [' 12 ', 12],
  ['-1', undefined],
  ['1, 1', undefined],
  ['', undefined],
  ['9'.repeat(16), undefined],
  [['1', '1'], undefined],
  [undefined, undefined],
])('the length in the Content-Length %j is %j', (header, length) => {
  expect(parseContentLength(header)).toBe(length);
});

test('an ETag is strong if it has neither a prefix nor a second value', () => {
  expect(strongEtag('"a"')).toBe('"a"');
  expect(strongEtag('W/"a"')).toBeUndefined();
  expect(strongEtag(['"a"', '"b"'])).toBeUndefined();
  expect(strongEtag(undefined)).toBeUndefined();
});

test('a date is milliseconds since the epoch', () => {
  expect(parseDate('Thu, 01 Jan 1970 00:00:01 GMT')).toBe(1_000);
  expect(parseDate('soon')).toBeUndefined();
  expect(parseDate(null)).toBeUndefined();
});
