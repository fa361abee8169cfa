import { expect, test } from 'vitest';
import { asFailure, Failure, invalid } from '../../../lib/core/failure.ts';

const fields = { operation: 'get blob x', side: 'source', code: 'rate-limited', detail: 'too fast' } as const;

test("a failure's code implies its remedy, unless the thrower names another remedy", () => {
  expect(new Failure(fields).remedy).toBe('retry');
  expect(new Failure({ ...fields, code: 'source-changed' }).remedy).toBe('restart');
  expect(new Failure({ ...fields, code: 'digest-mismatch' }).remedy).toBe('never');
  expect(new Failure({ ...fields, remedy: 'never' }).remedy).toBe('never');
});

test("a failure's message consists of its operation and detail", () => {
  expect(new Failure(fields).message).toBe('get blob x: too fast');
});

test('within() adds an outer operation and keeps the code, status, wait and remedy', () => {
  const cause = new Failure({ ...fields, status: 429, retryAfterMs: 9000, remedy: 'never' });
  const outer = cause.within('copy image y');
  expect(outer).toMatchObject({ code: 'rate-limited', status: 429, retryAfterMs: 9000, remedy: 'never', cause });
  expect(outer.message).toBe('copy image y: too fast');
});

test('within() keeps the inner operation of an invalid document, because it names the place', () => {
  const outer = invalid('parse manifest layers[3]', 'digest is missing').within('resolve y', 'source');
  expect(outer).toMatchObject({ side: 'source', message: 'resolve y: parse manifest layers[3]: digest is missing' });
});

test('asFailure converts other errors to aborted, timeout or internal', () => {
  const known = new Failure(fields);
  expect(asFailure(known, 'other', 'archive')).toBe(known);
  const stop = new DOMException('stopped', 'AbortError');
  expect(asFailure(stop, 'copy', 'source')).toMatchObject({ code: 'aborted', cause: stop });
  const late = new DOMException('too late', 'TimeoutError');
  expect(asFailure(late, 'copy', 'source')).toMatchObject({ code: 'timeout', remedy: 'retry', cause: late });
  expect(asFailure(new TypeError('x is not a function'), 'copy', 'source')).toMatchObject({
    code: 'internal',
    detail: 'x is not a function',
  });
  expect(asFailure('text', 'copy', 'source')).toMatchObject({ code: 'internal', detail: 'text' });
});
