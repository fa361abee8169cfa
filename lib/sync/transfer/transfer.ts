/**
 * The transfer of a blob from the registry into the store, either fresh (`download.ts`) or continued (`resume.ts`).
 *
 * The buffer pool alone limits the memory. A part's buffer is taken before its range is requested, and given back once
 * it is stored and hashed.
 */
import { Failure } from '../../core/failure.ts';
import { DEFAULT_PART_BYTES, type PartRange, partSizeFor } from '../../store/parts.ts';
import type { ObjectStore } from '../../store/store.ts';
import type { BlobSource } from '../../registry/source.ts';
import type { Deadline } from '../deadline.ts';
import type { Expected, Proof } from '../../proof/prover.ts';
import type { BufferPool } from './buffer-pool.ts';

export interface Transfer {
  readonly store: ObjectStore;
  /** The blob's key in the store. */
  readonly key: string;
  readonly expected: Expected;
  readonly source: BlobSource;
  /** The host of the registry, which the blob's buffers count for. */
  readonly registry: string;
  /** Fetches the blob without ranges, because they have failed. Default: false. */
  readonly inOnePiece?: boolean | undefined;
  readonly buffers: BufferPool;
  readonly deadline: Deadline;
  readonly signal: AbortSignal;
  readonly maxUncompressed?: number | undefined;
  /** Refuses bytes that are not compressed as declared. */
  readonly strict?: boolean | undefined;
  /** Called with the length of every chunk that arrives. */
  readonly onBytes: (count: number) => void;
  /** Called once per part that the store has taken. */
  readonly onPart: () => void;
}

export type Transferred =
  /** The object exists with these proven properties. */
  | { readonly kind: 'proven'; readonly proof: Proof }
  /**
   * The object exists and has to be read back: this process did not see some of its parts, or there was not enough
   * memory to unpack it.
   */
  | { readonly kind: 'assembled' }
  /**
   * Time ran short. The stored parts stay, and another invocation continues. If the source is not `resumable`, that
   * invocation starts from the first byte.
   */
  | { readonly kind: 'continue'; readonly resumable: boolean };

/**
 * The size of a transfer's parts. A part that is larger than the whole buffer pool would exceed the memory limit; only
 * a blob beyond 78 GiB on S3, or a descriptor with a wrong size, needs one.
 */
export function partSizeOf({ expected, store, buffers }: Transfer): number {
  const partSize = partSizeFor(expected.size, store.limits);
  if (partSize <= Math.max(buffers.totalBytes, DEFAULT_PART_BYTES)) return partSize;
  throw new Failure({
    operation: `copy blob ${expected.digest}`,
    side: 'archive',
    code: 'too-large',
    detail:
      `its ${expected.size ?? 0} bytes need parts of ${partSize} bytes, and the buffers of all transfers have ` +
      `${buffers.totalBytes}`,
  });
}

/** The extent of consecutive parts. */
export function extentOf(run: readonly PartRange[]): { readonly start: number; readonly end: number } {
  const { start = 0 } = run[0] ?? {};
  return { start, end: run.reduce((end, { size }) => end + size, start) };
}

/**
 * The wait during which a transfer ran out of time, from its tasks' errors. It is thrown, because a continuation would
 * only send the same request and wait again.
 */
export function waitedFor(thrown: readonly unknown[]): Failure | undefined {
  return thrown
    .filter((error) => error instanceof Failure)
    .find(({ side, code, remedy }) => side === 'source' && remedy === 'retry' && code !== 'aborted');
}

/**
 * The failure of a range. One range with another size of the blob is not final, because the backends of a registry may
 * differ: the response to a request for the whole blob decides.
 */
export function ofRange(error: unknown): unknown {
  if (!(error instanceof Failure) || error.code !== 'size-mismatch') return error;
  const { operation, side, detail, status } = error;
  return new Failure({ operation, side, code: 'range-mismatch', detail, status, cause: error });
}

export function rangeIgnored(expected: Expected): Failure {
  return new Failure({
    operation: `get blob ${expected.digest}`,
    side: 'source',
    code: 'range-ignored',
    detail: 'the registry sent the whole blob (expected a range)',
  });
}
