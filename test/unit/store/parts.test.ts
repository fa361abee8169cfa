import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEFAULT_PART_BYTES, S3_PART_LIMITS, landed, missing, partSizeFor, ranges } from '../../../lib/store/parts.ts';
import type { Part } from '../../../lib/store/store.ts';
import { Failure } from '../../../lib/core/failure.ts';

const TiB = 1024 ** 4;
const { minPartBytes, maxPartBytes, maxParts } = S3_PART_LIMITS;
const LARGEST = maxPartBytes * maxParts;

const part = (number: number, size: number): Part => ({ number, size, etag: `"${number}"` });

describe('partSizeFor', () => {
  test('keeps the limits of the store for every possible size', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.maxSafeNat(),
          fc.nat(LARGEST / 1024).map((n) => n * 1024),
        ),
        (drawn) => {
          const size = Math.min(drawn, LARGEST);
          const partSize = partSizeFor(size);
          expect(partSize).toBeGreaterThanOrEqual(minPartBytes);
          expect(partSize).toBeLessThanOrEqual(maxPartBytes);
          expect(Math.ceil(size / partSize)).toBeLessThanOrEqual(maxParts);
        },
      ),
    );
  });

  // The memory is the number of parts in flight times the part size.
  test('is the same up to 78 GiB, and for an unknown size', () => {
    const most = DEFAULT_PART_BYTES * maxParts;
    for (const size of [0, 1, DEFAULT_PART_BYTES, 5 * 1024 ** 3, most, undefined])
      expect(partSizeFor(size)).toBe(DEFAULT_PART_BYTES);
    expect(partSizeFor(most + 1)).toBe(DEFAULT_PART_BYTES + 1024 ** 2);
  });

  test('never shrinks as the size grows', () => {
    const size = fc.nat(LARGEST / 2 ** 20).map((n) => n * 2 ** 20);
    fc.assert(
      fc.property(size, size, (a, b) => {
        expect(partSizeFor(Math.min(a, b))).toBeLessThanOrEqual(partSizeFor(Math.max(a, b)));
      }),
    );
  });

  test('refuses a blob that exceeds the largest number of the largest parts', () => {
    expect(partSizeFor(LARGEST)).toBe(maxPartBytes);
    expect(() => partSizeFor(LARGEST + 1)).toThrow(expect.objectContaining({ code: 'too-large' }) as Failure);
    expect(() => partSizeFor(60 * TiB)).toThrow(Failure);
  });

  test('follows the limits of another store', () => {
    expect(partSizeFor(1, { minPartBytes: 16 * 2 ** 20, maxPartBytes: 2 ** 30, maxParts: 10 })).toBe(16 * 2 ** 20);
    expect(partSizeFor(1, { minPartBytes: 1, maxPartBytes: 2 ** 20, maxParts: 10 })).toBe(2 ** 20);
  });
});

const plan = fc.tuple(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 500, max: 20_000 }));

describe('ranges', () => {
  test('cover the blob exactly, in order, with equal lengths except for the last', () => {
    fc.assert(
      fc.property(plan, ([size, partSize]) => {
        let at = 0;
        const all = ranges(size, partSize);
        for (const [index, range] of all.entries()) {
          expect(range.number).toBe(index + 1);
          expect(range.start).toBe(at);
          if (index < all.length - 1) expect(range.size).toBe(partSize);
          expect(range.size).toBeGreaterThan(0);
          expect(range.size).toBeLessThanOrEqual(partSize);
          at += range.size;
        }
        expect(at).toBe(size);
      }),
    );
    expect(ranges(0, 5)).toEqual([]);
  });
});

describe('missing and landed parts', () => {
  test('together are the whole plan, for any subset of stored parts', () => {
    fc.assert(
      fc.property(plan, fc.infiniteStream(fc.boolean()), ([size, partSize], there) => {
        const all = ranges(size, partSize);
        const listed = all.filter(() => there.next().value === true).map((range) => part(range.number, range.size));
        const kept = landed(size, partSize, listed.toReversed()).map(({ number }) => number);
        const rest = missing(size, partSize, listed);
        expect(kept).toEqual(listed.map(({ number }) => number));
        expect([...kept, ...rest.map(({ number }) => number)].sort((a, b) => a - b)).toEqual(
          all.map(({ number }) => number),
        );
        for (const range of rest) expect(range).toEqual(all[range.number - 1]);
      }),
    );
  });

  test('ignore stored parts with another size than planned', () => {
    const listed = [part(1, 10), part(2, 9), part(3, 4), part(4, 10), part(0, 10), part(7, 10)];
    expect(landed(24, 10, listed).map(({ number }) => number)).toEqual([1, 3]);
    expect(missing(24, 10, listed)).toEqual([{ number: 2, start: 10, size: 10 }]);
    expect(missing(25, 10, [part(3, 4)]).map(({ number }) => number)).toEqual([1, 2, 3]);
    expect(missing(20, 10, [part(1, 10), part(2, 10)])).toEqual([]);
  });
});
