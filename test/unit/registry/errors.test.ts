import fc from 'fast-check';
import { expect, test } from 'vitest';
import { refusal, registryErrors } from '../../../lib/registry/errors.ts';

const at = { operation: 'get manifest r/a:1', host: 'r.example', subject: 'manifest', now: 0 } as const;

// The status decides the remedy, and the registry's own code decides where the status is ambiguous.
test.each([
  [404, '', 'manifest-unknown', 'never'],
  [404, '{"errors":[{"code":"NAME_UNKNOWN"}]}', 'name-unknown', 'never'],
  [404, '{"errors":[{"code":"BLOB_UNKNOWN"}]}', 'blob-unknown', 'never'],
  [401, '{"errors":[{"code":"UNAUTHORIZED"}]}', 'denied', 'never'],
  [403, '', 'denied', 'never'],
  [400, '{"errors":[{"code":"UNSUPPORTED"}]}', 'unsupported', 'never'],
  [400, '', 'invalid', 'never'],
  [408, '', 'timeout', 'retry'],
  [429, '', 'rate-limited', 'retry'],
  [403, '{"errors":[{"code":"TOOMANYREQUESTS"}]}', 'rate-limited', 'retry'],
  [500, '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', 'unavailable', 'retry'],
  [503, '<html>', 'unavailable', 'retry'],
  [501, '', 'unsupported', 'never'],
])('%i %s is %s with the remedy %s', (status, body, code, remedy) => {
  expect(refusal({ status, headers: {}, body }, at)).toMatchObject({ code, remedy, status, side: 'source' });
});

test("the message has operation, host, status, and the registry's code and message", () => {
  const body = '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}';
  expect(refusal({ status: 404, headers: {}, body }, at).message).toBe(
    'get manifest r/a:1: r.example answered 404 MANIFEST_UNKNOWN: manifest unknown',
  );
});

test.each(['constructor', '__proto__', 'toString', 'hasOwnProperty'])(
  'an error code that is the name of an object property (%s) is an unknown code',
  (code) => {
    const body = `{"errors":[{"code":"${code}","message":"m"}]}`;
    const failure = refusal({ status: 404, headers: {}, body }, at);
    expect(failure).toMatchObject({ code: 'manifest-unknown', remedy: 'never' });
    expect(failure.detail).toBe(`r.example answered 404 ${code}: m`);
  },
);

// Docker Hub's limit is the first error that most users see.
test('a rate limit has the limit, the remaining requests, and the wait', () => {
  const headers = { 'retry-after': '90', 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '0;w=21600' };
  const body = '{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}';
  const failure = refusal({ status: 429, headers, body }, at);
  expect(failure.retryAfterMs).toBe(90_000);
  expect(failure.detail).toBe(
    'r.example answered 429 TOOMANYREQUESTS: You have reached your pull rate limit.; ' +
      'the limit is 100 pulls per 6 h, 0 left; it is usually higher with credentials; retry after 90 s',
  );
});

// An error page of a proxy must neither fill a log nor forge its lines.
test('an error quotes the start of a body that is not JSON, on one line and without control characters', () => {
  const { detail } = refusal({ status: 502, headers: {}, body: `<html>\n\u001b[31m${'x'.repeat(5000)}` }, at);
  expect(detail).toMatch(/^r\.example answered 502 "<html> \\u001b\[31mx+…"$/);
  expect(detail.length).toBeLessThan(260);
});

test('a quoted body is always printable and bounded', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 400, max: 599 }), (body, status) => {
      const { detail } = refusal({ status, headers: {}, body }, at);
      expect(detail.length).toBeLessThan(400);
      expect(detail).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      registryErrors(body);
    }),
  );
  fc.assert(fc.property(fc.json(), (body) => void registryErrors(body)));
});

// OAuth services and Docker Hub have their own formats.
test('the error formats of token services are read as well', () => {
  expect(registryErrors('{"error":"invalid_grant","error_description":"no"}')).toEqual([
    { code: 'invalid_grant', message: 'no' },
  ]);
  expect(registryErrors('{"details":"incorrect username or password"}')).toEqual([
    { code: '', message: 'incorrect username or password' },
  ]);
});
