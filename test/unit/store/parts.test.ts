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
  // Whatever the blob's size, S3 takes the parts: their number, and the size of each but the last.
  test('keeps the limits of the store for every size that it can take', () => {
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

  // Memory is parts in flight × part size, so the part size must not follow the blob's over the sizes that layers have.
  test('is the same from nothing to 78 GiB, and for an unknown size', () => {
    const most = DEFAULT_PART_BYTES * maxParts;
    for (const size of [0, 1, DEFAULT_PART_BYTES, 5 * 1024 ** 3, most, undefined])
      expect(partSizeFor(size)).toBe(DEFAULT_PART_BYTES);
    expect(partSizeFor(most + 1)).toBe(DEFAULT_PART_BYTES + 1024 ** 2);
  });

  // A larger blob never gets smaller parts, so that no size in between breaks the limits.
  test('never shrinks as the size grows', () => {
    const size = fc.nat(LARGEST / 2 ** 20).map((n) => n * 2 ** 20);
    fc.assert(
      fc.property(size, size, (a, b) => {
        expect(partSizeFor(Math.min(a, b))).toBeLessThanOrEqual(partSizeFor(Math.max(a, b)));
      }),
    );
  });

  // Beyond 10,000 parts of 5 GiB there is no plan, and it is said so before a byte is moved.
  test('refuses a blob that no plan fits', () => {
    expect(partSizeFor(LARGEST)).toBe(maxPartBytes);
    expect(() => partSizeFor(LARGEST + 1)).toThrow(expect.objectContaining({ code: 'too-large' }) as Failure);
    expect(() => partSizeFor(60 * TiB)).toThrow(Failure);
  });

  // A store with other limits is never given parts outside them.
  test('follows the limits of another store', () => {
    expect(partSizeFor(1, { minPartBytes: 16 * 2 ** 20, maxPartBytes: 2 ** 30, maxParts: 10 })).toBe(16 * 2 ** 20);
    expect(partSizeFor(1, { minPartBytes: 1, maxPartBytes: 2 ** 20, maxParts: 10 })).toBe(2 ** 20);
  });
});

const plan = fc.tuple(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 500, max: 20_000 }));

describe('ranges', () => {
  // Put together in order, the parts are the blob.
  test('cover the blob exactly, in order, equally long but for the last', () => {
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

describe('missing and landed', () => {
  // Any subset of the parts may have landed before a writer died, holes included: the rest is fetched, and nothing twice.
  test('divide the plan between them', () => {
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

  // What another plan left behind, or a body that was cut, is uploaded again.
  test('ignore parts that do not fit the plan', () => {
    const listed = [part(1, 10), part(2, 9), part(3, 4), part(4, 10), part(0, 10), part(7, 10)];
    expect(landed(24, 10, listed).map(({ number }) => number)).toEqual([1, 3]);
    expect(missing(24, 10, listed)).toEqual([{ number: 2, start: 10, size: 10 }]);
    expect(missing(25, 10, [part(3, 4)]).map(({ number }) => number)).toEqual([1, 2, 3]);
    expect(missing(20, 10, [part(1, 10), part(2, 10)])).toEqual([]);
  });
});
