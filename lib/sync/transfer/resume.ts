import { Failure } from '../../core/failure.ts';
import { landed, missing } from '../../store/parts.ts';
import type { Part, Upload } from '../../store/store.ts';
import { PartFetcher } from './fetch-parts.ts';
import { partSizeOf, type Transfer, type Transferred } from './transfer.ts';

/**
 * Continues an unfinished upload: fetches only the missing parts and completes it. The completion requires that the
 * object does not exist yet, because these bytes are proven only afterwards.
 */
export async function resume(
  t: Transfer & { readonly upload: Upload; readonly landed: readonly Part[] },
): Promise<Transferred> {
  const { size } = t.expected;
  if (size === undefined) throw new RangeError('an upload of unknown size cannot be resumed');
  const partSize = partSizeOf(t);
  const there = landed(size, partSize, t.landed);
  const fetcher = new PartFetcher(t);
  try {
    const isDone = await fetcher.run(() => fetcher.fetch(t.upload, missing(size, partSize, there)));
    if (!isDone) return { kind: 'continue', resumable: true };
  } finally {
    await fetcher.close();
    fetcher.inFlight.giveBack();
  }
  await complete(t, [...there, ...fetcher.stored], (listed) => landed(size, partSize, listed));
  return { kind: 'assembled' };
}

/** The number of times that another writer may replace a part between the listing and the completion. */
const COMPLETIONS = 3;

/**
 * Another writer of this upload puts the same bytes into its parts, but with new ETags where the store computes them
 * from more than the bytes (S3 with KMS keys, a folder). Then the current parts are used instead. All bytes are read
 * back anyway.
 */
async function complete(
  { store, upload, signal }: Transfer & { readonly upload: Upload },
  known: readonly Part[],
  fitting: (listed: readonly Part[]) => readonly Part[],
): Promise<void> {
  let parts = known.toSorted((a, b) => a.number - b.number);
  for (let attempt = 1; ; attempt += 1)
    try {
      await store.completeUpload(upload, parts, { condition: { absent: true }, signal });
      return;
    } catch (error) {
      const replaced = error instanceof Failure && error.code === 'invalid' && error.remedy === 'restart';
      if (!replaced || attempt === COMPLETIONS) throw error;
      parts = [...fitting(await Array.fromAsync(store.parts(upload, { signal })))];
      if (parts.length < known.length) throw error;
    }
}
