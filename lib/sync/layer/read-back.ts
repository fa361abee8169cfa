/** Proving an object where it lies: one that was found, or that was put together of parts which nobody saw pass. */
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
  readonly signal: AbortSignal;
}

export type Found =
  | { readonly kind: 'proven'; readonly proof: Proof }
  /** There was not the time to read it to its end. */
  | { readonly kind: 'late' }
  /** It is not what it is named, or not there any more; it was deleted, unless it was replaced meanwhile. */
  | { readonly kind: 'wrong' };

type Reading = Exclude<Found, { kind: 'wrong' }> | { readonly kind: 'mismatch'; readonly etag: string };

/**
 * Reads the blob's object back. Nothing but a digest that does not match deletes it: what a message says of a blob
 * besides its digest may be wrong, and the object is then right for all other messages. Where it is not what its media
 * type declares, that is thrown, and the object stays too.
 */
export async function readBack(back: ReadBack): Promise<Found> {
  const { archive, blob, signal } = back;
  const receipt = archive.layout.receipt(blob.digest);
  let reading = await read(back);
  if (reading?.kind === 'mismatch' && (await archive.store.head(receipt, { signal })) !== undefined) {
    // It was proven before, and images rest on it: one bent bit on the way here must not cost them their bytes.
    reading = await read(back);
    // In this order: killed in between, it leaves an object without its proof, and never a proof without its object.
    if (reading?.kind === 'mismatch') await archive.store.delete(receipt, { signal });
  }
  if (reading === undefined) return { kind: 'wrong' };
  if (reading.kind !== 'mismatch') return reading;
  await archive.store.delete(archive.layout.blob(blob.digest), { etag: reading.etag, signal });
  return { kind: 'wrong' };
}

async function read(back: ReadBack): Promise<Reading | undefined> {
  const reading = await readWith(back, 'as-announced');
  // A later frame wants a larger window than the first one has announced.
  if (reading?.kind !== 'proven' || reading.proof.deferred !== true) return reading;
  return readWith(back, 'largest');
}

async function readWith(
  { archive, blob, maxUncompressed, strict, deadline, signal }: ReadBack,
  window: 'as-announced' | 'largest',
): Promise<Reading | undefined> {
  const object = await archive.store.read(archive.layout.blob(blob.digest), { signal });
  if (object === undefined) return undefined;
  // Without the size: that decides whether the message is right, and not whether the object is.
  const { digest, mediaType, diffIds } = blob;
  // Nothing is held here that another transfer waits for, so the memory of a zstd window can be waited for.
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
