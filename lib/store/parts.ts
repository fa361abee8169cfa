/**
 * How a blob is cut into the parts of a multipart upload: pure functions of the blob's size, so that whoever continues an
 * upload, in another process and with nothing but the store's own listing, cuts it in the same places.
 */
import { Failure } from '../core/failure.ts';
import type { Part, PartLimits } from './store.ts';

const MiB = 1024 ** 2;

/** S3: 5 MiB (but the last part) to 5 GiB a part, 10,000 parts. https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
export const S3_PART_LIMITS: PartLimits = { minPartBytes: 5 * MiB, maxPartBytes: 5 * 1024 ** 3, maxParts: 10_000 };

/**
 * The part size of every blob of up to 78 GiB (this × 10,000 parts). Constant over the sizes that images have, because what
 * a writer holds in memory is parts in flight × part size, and that must not depend on the blob. Large enough that
 * 20 ms of round trip are small beside the transfer of a part, small enough for several in flight in a small function.
 */
export const DEFAULT_PART_BYTES = 8 * MiB;

/** One part: its number, counted from 1, and the bytes of the blob that it holds. */
export interface PartRange {
  readonly number: number;
  /** Offset of the first byte in the blob. */
  readonly start: number;
  /** Bytes; all parts are equally long but for the last. */
  readonly size: number;
}

/**
 * The part size for a blob of `size` bytes. Beyond 78 GiB it grows, by whole MiB, so that the parts still suffice.
 *
 * A blob of unknown size (`undefined`: schema1 layers, which declare none) gets the default. Growing on the way is not
 * possible, since all parts but the last are equally long, and a larger guess would cost every such blob memory for the
 * sake of a layer beyond 78 GiB, which no registry is known to serve: that one fails with `too-large` when its parts run out.
 *
 * @throws Failure `too-large` where even the largest parts do not suffice (48.8 TiB on S3)
 */
export function partSizeFor(size: number | undefined, limits: PartLimits = S3_PART_LIMITS): number {
  const usual = Math.min(
    Math.max(limits.usualPartBytes ?? DEFAULT_PART_BYTES, limits.minPartBytes),
    limits.maxPartBytes,
  );
  if (size === undefined || size <= usual * limits.maxParts) return usual;
  const needed = Math.min(Math.ceil(size / limits.maxParts / MiB) * MiB, limits.maxPartBytes);
  if (needed * limits.maxParts < size) {
    const most = limits.maxPartBytes * limits.maxParts;
    throw new Failure({
      operation: 'plan parts',
      side: 'archive',
      code: 'too-large',
      detail: `the blob has ${size} bytes, and the store takes at most ${most} in ${limits.maxParts} parts`,
    });
  }
  return needed;
}

/** The parts of a blob of `size` bytes, in order, without gap or overlap; none for an empty blob, which takes a plain put. */
export function ranges(size: number, partSize: number): PartRange[] {
  return Array.from({ length: Math.ceil(size / partSize) }, (_, index) => {
    const start = index * partSize;
    return { number: index + 1, start, size: Math.min(partSize, size - start) };
  });
}

/**
 * Those of the listed parts that fit the plan, by ascending number; the others (another plan's, a cut body's) count as not
 * there. That the size fits proves nothing about the bytes: what was continued is read back before it is believed.
 */
export function landed(size: number, partSize: number, parts: Iterable<Part>): Part[] {
  const fitting = new Map<number, Part>();
  const count = Math.ceil(size / partSize);
  for (const part of parts) {
    const planned = part.number === count ? size - (count - 1) * partSize : partSize;
    if (part.number >= 1 && part.number <= count && part.size === planned) fitting.set(part.number, part);
  }
  return [...fitting.values()].sort((a, b) => a.number - b.number);
}

/** What is still to be uploaded, in order: the holes as well as the tail. */
export function missing(size: number, partSize: number, parts: Iterable<Part>): PartRange[] {
  const there = new Set(landed(size, partSize, parts).map((part) => part.number));
  return ranges(size, partSize).filter((range) => !there.has(range.number));
}
