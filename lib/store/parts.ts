/**
 * Splits a blob into the parts of a multipart upload. The functions depend only on the blob's size, so that another process
 * can continue an upload with the same parts.
 */
import { Failure } from '../core/failure.ts';
import type { Part, PartLimits } from './store.ts';

const MiB = 1024 ** 2;

/** S3: 5 MiB (except the last part) to 5 GiB per part, 10,000 parts. https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
export const S3_PART_LIMITS: PartLimits = { minPartBytes: 5 * MiB, maxPartBytes: 5 * 1024 ** 3, maxParts: 10_000 };

/**
 * The part size of all blobs up to 78 GiB (10,000 parts). It is constant so that the memory of a writer (parts in flight ×
 * part size) does not depend on the blob. A round trip of 20 ms is short compared with the transfer of a part, and a small
 * function has memory for several parts.
 */
export const DEFAULT_PART_BYTES = 8 * MiB;

/** One part: its number, counted from 1, and its bytes in the blob. */
export interface PartRange {
  readonly number: number;
  /** Offset of the first byte in the blob. */
  readonly start: number;
  /** All parts except the last have the same size. */
  readonly size: number;
}

/**
 * The part size for a blob of `size` bytes. Above 78 GiB it grows by whole MiB, so that the number of parts is sufficient.
 *
 * A blob of unknown size (`undefined`: a layer of a schema 1 manifest) gets the default size. Above 78 GiB it fails with
 * `too-large`; a larger part size would cost memory for every such blob.
 *
 * @throws Failure `too-large` if the largest parts are not sufficient (48.8 TiB on S3)
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
      detail: `the blob is too large: expected at most ${most} bytes (${limits.maxParts} parts), got ${size}`,
    });
  }
  return needed;
}

/** The parts of a blob of `size` bytes in order, without gaps or overlaps; empty for an empty blob. */
export function ranges(size: number, partSize: number): PartRange[] {
  return Array.from({ length: Math.ceil(size / partSize) }, (_, index) => {
    const start = index * partSize;
    return { number: index + 1, start, size: Math.min(partSize, size - start) };
  });
}

/**
 * The listed parts with the planned size, by ascending number; other parts (of another plan, or truncated) count as
 * missing. The size does not prove the bytes, so the blob of a continued upload is read back.
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

/** The missing parts in order. */
export function missing(size: number, partSize: number, parts: Iterable<Part>): PartRange[] {
  const stored = new Set(landed(size, partSize, parts).map((part) => part.number));
  return ranges(size, partSize).filter((range) => !stored.has(range.number));
}
