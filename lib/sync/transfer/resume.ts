import { Failure } from '../../core/failure.ts';
import { TaskGroup } from '../../core/task-group.ts';
import { landed, missing } from '../../store/parts.ts';
import type { Part, Upload } from '../../store/store.ts';
import { PartBuffer } from './part-buffer.ts';
import { extentOf, partSizeOf, rangeIgnored, type Transfer, type Transferred, waitedFor } from './transfer.ts';
import { weightOf } from './window.ts';

/**
 * Continues an unfinished upload: fetches only the missing parts and completes it, on condition that there is no object
 * yet, since these bytes are proven only afterwards.
 */
export async function resume(
  t: Transfer & { readonly upload: Upload; readonly landed: readonly Part[] },
): Promise<Transferred> {
  const { size } = t.expected;
  if (size === undefined) throw new RangeError('an upload of unknown size cannot be resumed');
  const partSize = partSizeOf(t);
  const parts = landed(size, partSize, t.landed);
  const tasks = new TaskGroup(AbortSignal.any([t.signal, t.deadline.over]));
  let stopped = false as boolean;
  tasks.run(async (signal) => {
    const wanted = missing(size, partSize, parts);
    let left = wanted.reduce((sum, range) => sum + range.size, 0);
    let held = 0;
    for (const range of wanted) {
      const buffer = await t.window.take(range.size, signal, weightOf(left, held));
      left -= range.size;
      held += 1;
      if (t.deadline.near()) {
        t.window.give(buffer);
        stopped = true;
        return;
      }
      tasks.run(async () => {
        try {
          const part = new PartBuffer(range.number, buffer);
          const body = await t.source.open(extentOf([range]), { signal });
          if (!body.ranged) throw rangeIgnored(t.expected);
          await part.fill(body.body, t.onBytes);
          t.window.full(buffer);
          parts.push(await t.store.uploadPart(t.upload, part.number, part.bytes, { signal }));
          t.onPart();
        } finally {
          held -= 1;
          t.window.give(buffer);
        }
      });
    }
  });
  try {
    await tasks.join();
  } catch (error) {
    if (error !== t.deadline.over.reason) throw error;
    const waited = waitedFor(tasks.thrown);
    if (waited !== undefined) throw waited;
    stopped = true;
  }
  if (stopped) return { kind: 'continue', resumable: true };
  await complete(t, parts, (listed) => landed(size, partSize, listed));
  return { kind: 'assembled' };
}

/** Times that another writer of the same upload may replace a part between the listing and the completion. */
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
