import { describe, expect, test } from 'vitest';
import { Failure, type FailureCode } from '../../../lib/core/failure.ts';
import { isRecorded } from '../../../lib/sync/delivery.ts';

const { signal } = new AbortController();

function failure(code: FailureCode, side: Failure['side'] = 'source'): Failure {
  return new Failure({ operation: 'resolve x', side, code, detail: 'y' });
}

describe('a failure of a message', () => {
  test.each<[FailureCode, Failure['side'], { last: boolean; requeues?: boolean }, boolean]>([
    ['manifest-unknown', 'source', { last: false }, true],
    ['unavailable', 'source', { last: false }, false],
    ['unavailable', 'source', { last: true }, true],
    ['unavailable', 'source', { last: true, requeues: true }, true],
    ['rate-limited', 'source', { last: true }, true],
    ['rate-limited', 'source', { last: true, requeues: true }, false],
    ['rate-limited', 'archive', { last: true, requeues: true }, true],
    ['aborted', 'source', { last: true }, false],
  ])('with the code %s of the %s side and %j is recorded: %j', (code, side, delivery, recorded) => {
    expect(isRecorded(failure(code, side), { receiveCount: 1, signal, ...delivery })).toBe(recorded);
  });
});
