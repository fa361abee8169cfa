import { describe, expect, test } from 'vitest';
import { ranges } from '../../../lib/store/parts.ts';
import { isFastEnough, nextRequest } from '../../../lib/sync/transfer/next-request.ts';

const MiB = 1024 * 1024;
const PLAN = ranges(50 * 4 * MiB, 4 * MiB);
const numbers = (fullBytes: number, at = 0, missing = PLAN, filling = 1): number[] =>
  nextRequest(missing, at, { totalBytes: 32 * MiB, fullBytes, filling }).map(({ number }) => number);

describe('nextRequest', () => {
  test('asks for one part while less than half of the memory is full', () => {
    expect(numbers(0)).toEqual([1]);
    expect(numbers(16 * MiB - 1, 7)).toEqual([8]);
  });

  test('asks for one part while another one waits for the network', () => {
    expect(numbers(28 * MiB, 1, PLAN, 2)).toEqual([2]);
  });

  test('asks for 64 MiB of consecutive parts once half of the memory is full', () => {
    expect(numbers(16 * MiB, 1)).toEqual(Array.from({ length: 16 }, (_, index) => index + 2));
  });

  test('asks for no part beyond the end of the blob', () => {
    expect(numbers(32 * MiB, 47)).toEqual([48, 49, 50]);
    expect(numbers(32 * MiB, 50)).toEqual([]);
  });

  test('ends before a part that is stored already', () => {
    const missing = PLAN.filter(({ number }) => number !== 4);
    expect(numbers(32 * MiB, 1, missing)).toEqual([2, 3]);
    expect(numbers(32 * MiB, 3, missing).slice(0, 2)).toEqual([5, 6]);
  });

  test('asks for one part that is larger than a request', () => {
    const [first, ...rest] = ranges(200 * MiB, 100 * MiB);
    expect(nextRequest([first!, ...rest], 0, { totalBytes: 100 * MiB, fullBytes: 100 * MiB, filling: 1 })).toEqual([
      first,
    ]);
  });
});

describe('isFastEnough', () => {
  test('is false once only the last part waits to be processed', () => {
    expect(isFastEnough(4 * MiB, { totalBytes: 32 * MiB, fullBytes: 4 * MiB, filling: 0 })).toBe(false);
    expect(isFastEnough(4 * MiB, { totalBytes: 32 * MiB, fullBytes: 4 * MiB + 1, filling: 0 })).toBe(true);
  });
});
