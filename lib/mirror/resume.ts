import { Scope } from '../base/scope.ts';
import { landed, missing } from '../archive/parts.ts';
import type { Part, Upload } from '../archive/store.ts';
import { PartBuffer } from './part-buffer.ts';
import { extentOf, partSizeOf, rangeIgnored, type Transfer, type Transferred } from './transfer.ts';

/**
 * Goes on with an unfinished upload: fetches only what is missing and completes it, on condition that no object is there
 * yet, since what is put together here is proven only afterwards.
 */
export async function resume(
  t: Transfer & { readonly upload: Upload; readonly landed: readonly Part[] },
): Promise<Transferred> {
  const { size } = t.expected;
  if (size === undefined) throw new RangeError('an upload of unknown size cannot be resumed');
  const partSize = partSizeOf(t);
  const parts = landed(size, partSize, t.landed);
  const scope = new Scope(AbortSignal.any([t.signal, t.deadline.over]));
  let stopped = false as boolean;
  scope.run(async (signal) => {
    for (const range of missing(size, partSize, parts)) {
      const buffer = await t.window.take(range.size, signal);
      if (t.deadline.near()) {
        t.window.give(buffer);
        stopped = true;
        return;
      }
      scope.run(async () => {
        try {
          const part = new PartBuffer(range.number, buffer);
          const body = await t.source.open(extentOf(range), { signal });
          if (!body.ranged) throw rangeIgnored(t.expected);
          await part.fill(body.body, t.onBytes);
          parts.push(await t.store.uploadPart(t.upload, part.number, part.bytes, { signal }));
        } finally {
          t.window.give(buffer);
        }
      });
    }
  });
  try {
    await scope.join();
  } catch (error) {
    if (error !== t.deadline.over.reason) throw error;
    stopped = true;
  }
  if (stopped) return { kind: 'continue', resumable: true };
  parts.sort((a, b) => a.number - b.number);
  await t.store.completeUpload(t.upload, parts, { condition: { absent: true }, signal: t.signal });
  return { kind: 'assembled' };
}
