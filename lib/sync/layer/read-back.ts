/** Proves an object in the store: one that was found, or one made of parts that this invocation did not see. */
import { asFailure } from '../../core/failure.ts';
import type { Archive } from '../../archive/archive.ts';
import type { Deadline } from '../deadline.ts';
import { type Expected, type Proof, Prover } from '../../proof/prover.ts';

export interface ReadBack {
  readonly archive: Archive;
  readonly blob: Expected;
  readonly maxUncompressed?: number | undefined;
  readonly strict?: boolean | undefined;
  readonly deadline: Deadline;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly signal: AbortSignal;
}

export type Found =
  | { readonly kind: 'proven'; readonly proof: Proof }
  /** There was not enough time to read it to its end. */
  | { readonly kind: 'late' }
  /** It does not match its digest, or is gone; it was deleted, unless it was replaced meanwhile. */
  | { readonly kind: 'wrong' };

type Reading = Exclude<Found, { kind: 'wrong' }> | { readonly kind: 'mismatch'; readonly etag: string };

/**
 * Reads the blob's object back. Only a wrong digest deletes the object: if another claim of the message is wrong, the
 * object is still correct for all other messages. Bytes that contradict their media type are thrown as a failure, and
 * the object stays.
 */
export async function readBack(back: ReadBack): Promise<Found> {
  const { archive, blob, now, signal } = back;
  let reading = await read(back);
  const proven = reading?.kind === 'mismatch' ? await archive.findReceipt(blob.digest, { signal }) : undefined;
  if (proven?.receipt !== undefined) {
    // The blob was proven before, and images depend on it: one bit error during this read must not delete their bytes.
    reading = await read(back);
    // The receipt is revoked first, so an interruption can leave an object without a proof, but never a proof without
    // its object.
    if (reading?.kind === 'mismatch') await archive.revokeReceipt(blob.digest, proven.etag, now(), { signal });
  }
  if (reading === undefined) return { kind: 'wrong' };
  if (reading.kind !== 'mismatch') return reading;
  await archive.store.delete(archive.layout.blob(blob.digest), { etag: reading.etag, signal });
  return { kind: 'wrong' };
}

async function read(back: ReadBack): Promise<Reading | undefined> {
  const reading = await readWith(back, 'as-announced');
  // A later frame needs a larger window than the first one announced.
  if (reading?.kind !== 'proven' || reading.proof.deferred !== true) return reading;
  return readWith(back, 'largest');
}

async function readWith(
  { archive, blob, maxUncompressed, strict, deadline, signal }: ReadBack,
  window: 'as-announced' | 'largest',
): Promise<Reading | undefined> {
  const object = await archive.store.read(archive.layout.blob(blob.digest), { signal });
  if (object === undefined) return undefined;
  // The size is left out: a wrong size is an error of the message, and not of the object.
  const { digest, mediaType, diffIds } = blob;
  // This code holds no buffer that another transfer waits for, so it may wait for the memory of a zstd window.
  const prover = new Prover({ digest, mediaType, diffIds }, { maxUncompressed, strict, patient: { signal, window } });
  try {
    for await (const chunk of object.body) {
      if (deadline.near()) return { kind: 'late' };
      await prover.write(chunk);
    }
    return { kind: 'proven', proof: await prover.finish() };
  } catch (error) {
    const failure = asFailure(error, `verify blob ${digest}`, 'archive');
    if (failure.code !== 'digest-mismatch') throw failure;
    return { kind: 'mismatch', etag: object.etag };
  } finally {
    await prover.destroy();
  }
}
