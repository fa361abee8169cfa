import { describe, expect, test } from 'vitest';
import { ranges } from '../../../lib/store/parts.ts';
import { isAhead, isFastEnough, type Memory, nextRequest } from '../../../lib/sync/transfer/next-request.ts';

const MiB = 1024 * 1024;
const PLAN = ranges(50 * 4 * MiB, 4 * MiB);
const memory = (takenAhead: number, { fullBytes = 28 * MiB, filling = 1 } = {}): Memory => ({
  totalBytes: 32 * MiB,
  fullBytes,
  filling,
  takenAhead,
});
const numbers = (takenAhead: number, at = 0, missing = PLAN): number[] =>
  nextRequest(missing, at, memory(takenAhead)).map(({ number }) => number);

describe('isAhead', () => {
  test('is true once half of the memory is full', () => {
    expect(isAhead({ totalBytes: 32 * MiB, fullBytes: 16 * MiB - 1, filling: 0 })).toBe(false);
    expect(isAhead({ totalBytes: 32 * MiB, fullBytes: 16 * MiB, filling: 0 })).toBe(true);
  });

  test('is false while a part waits for the network', () => {
    expect(isAhead({ totalBytes: 32 * MiB, fullBytes: 28 * MiB, filling: 1 })).toBe(false);
  });
});

describe('nextRequest', () => {
  test('asks for one part until the network was ahead twice', () => {
    expect(numbers(0)).toEqual([1]);
    expect(numbers(1, 7)).toEqual([8]);
  });

  test('asks for 64 MiB of consecutive parts once the network was ahead twice', () => {
    expect(numbers(2, 1)).toEqual(Array.from({ length: 16 }, (_, index) => index + 2));
    expect(numbers(3, 2)).toEqual(Array.from({ length: 16 }, (_, index) => index + 3));
  });

  test('asks for one part while another one waits for the network', () => {
    expect(nextRequest(PLAN, 1, memory(2, { filling: 2 }))).toEqual([PLAN[1]]);
  });

  test('asks for no part beyond the end of the blob', () => {
    expect(numbers(2, 47)).toEqual([48, 49, 50]);
    expect(numbers(2, 50)).toEqual([]);
  });

  test('ends before a part that is stored already', () => {
    const missing = PLAN.filter(({ number }) => number !== 4);
    expect(numbers(2, 1, missing)).toEqual([2, 3]);
    expect(numbers(2, 3, missing).slice(0, 2)).toEqual([5, 6]);
  });

  test('asks for one part that is larger than a request', () => {
    const [first, ...rest] = ranges(200 * MiB, 100 * MiB);
    expect(nextRequest([first!, ...rest], 0, memory(2))).toEqual([first]);
  });
});

describe('isFastEnough', () => {
  test('is false once only the last part waits to be processed', () => {
    expect(isFastEnough(4 * MiB, memory(0, { fullBytes: 4 * MiB }))).toBe(false);
    expect(isFastEnough(4 * MiB, memory(0, { fullBytes: 4 * MiB + 1 }))).toBe(true);
  });
});
