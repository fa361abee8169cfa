/**
 * A blob's way from the registry into the store, whether it is begun (`download.ts`) or gone on with (`resume.ts`).
 *
 * What is held in memory is bounded by the window alone. A part's buffer is taken before its range is asked for and given
 * back once it is stored and hashed.
 */
import { Failure } from '../../core/failure.ts';
import { DEFAULT_PART_BYTES, type PartRange, partSizeFor } from '../../store/parts.ts';
import type { ObjectStore } from '../../store/store.ts';
import type { BlobSource } from '../../registry/source.ts';
import type { Deadline } from '../deadline.ts';
import type { Expected, Proof } from '../../proof/prover.ts';
import type { Window } from './window.ts';

export interface Transfer {
  readonly store: ObjectStore;
  /** Where in the store. */
  readonly key: string;
  readonly expected: Expected;
  readonly source: BlobSource;
  readonly window: Window;
  readonly deadline: Deadline;
  readonly signal: AbortSignal;
  readonly maxUncompressed?: number | undefined;
  /** Bytes that are not compressed as declared are refused. */
  readonly strict?: boolean | undefined;
  /** Called with the length of every chunk that arrives. */
  readonly onBytes: (count: number) => void;
  /** Called once per part that the store has taken. */
  readonly onPart: () => void;
}

export type Transferred =
  /** The object is there, and these are its proven properties. */
  | { readonly kind: 'proven'; readonly proof: Proof }
  /**
   * The object is there, and has to be read back: it is made of parts of which some were not seen by us, or there was not
   * the memory to unpack it.
   */
  | { readonly kind: 'assembled' }
  /**
   * Time ran short. What has landed stays where it is, and another invocation goes on; but where it is not `resumable`,
   * from the first byte, since what is left cannot be asked for.
   */
  | { readonly kind: 'continue'; readonly resumable: boolean };

/**
 * The size of a transfer's parts. A part that is larger than the whole window would break what the window is there for;
 * only a blob beyond 78 GiB on S3, or a descriptor that lies about its size, asks for one.
 */
export function partSizeOf({ expected, store, window }: Transfer): number {
  const partSize = partSizeFor(expected.size, store.limits);
  if (partSize <= Math.max(window.totalBytes, DEFAULT_PART_BYTES)) return partSize;
  throw new Failure({
    operation: `copy blob ${expected.digest}`,
    side: 'archive',
    code: 'too-large',
    detail:
      `its ${expected.size ?? 0} bytes need parts of ${partSize} bytes, and the window for all parts on their way has ` +
      `${window.totalBytes}`,
  });
}

/** Of parts that follow each other. */
export function extentOf(run: readonly PartRange[]): { readonly start: number; readonly end: number } {
  const { start = 0 } = run[0] ?? {};
  return { start, end: run.reduce((end, { size }) => end + size, start) };
}

/**
 * What a transfer was waiting out when its time was over, from what its tasks have thrown. It is thrown then instead of
 * being gone on with at once: another invocation would only ask, and wait, once more.
 */
export function waitedFor(thrown: readonly unknown[]): Failure | undefined {
  return thrown
    .filter((error) => error instanceof Failure)
    .find(({ side, code, remedy }) => side === 'source' && remedy === 'retry' && code !== 'aborted');
}

export function rangeIgnored(expected: Expected): Failure {
  return new Failure({
    operation: `get blob ${expected.digest}`,
    side: 'source',
    code: 'range-ignored',
    detail: 'the registry sent the whole blob where a range was asked for',
  });
}
