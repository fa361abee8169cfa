/** The programs that change a folder in these tests: `node programs.ts NAME FOLDER`. */
import { once } from 'node:events';
import { Failure } from '../../../../lib/core/failure.ts';
import { FolderStore } from '../../../../lib/store/folder/store.ts';
import type { ObjectStore, Part } from '../../../../lib/store/store.ts';

export const PART_SIZE = 64 * 1024;

/** Bytes that are determined by their name. */
export function part(number: number, version = 1): Buffer {
  return Buffer.alloc(number === 3 ? 1000 : PART_SIZE, `part ${number}, version ${version};`);
}

export const OLD = Buffer.alloc(3000, 'old');
export const NEW = Buffer.alloc(4000, 'new');

/** Every operation that changes an archive; can be repeated after it was killed at any point. */
export async function everything(store: ObjectStore): Promise<void> {
  await store.put('plain/object', OLD);
  await store.put('plain/object', NEW);
  await countTo(store, 1);
  await countTo(store, 2);

  const upload = await store.createUpload('blobs/parts', { partSize: PART_SIZE });
  await store.uploadPart(upload, 2, part(2));
  await store.uploadPart(upload, 1, part(1));
  const parts: Part[] = [
    await store.uploadPart(upload, 1, part(1, 2)),
    await store.uploadPart(upload, 2, part(2, 2)),
    await store.uploadPart(upload, 3, part(3)),
  ];
  await store.completeUpload(upload, parts);

  const given = await store.createUpload('blobs/given-up', { partSize: PART_SIZE });
  await store.uploadPart(given, 1, part(1));
  await store.abortUpload(given);
  await store.delete('plain/object');
}

/** Increments a number in an object, on condition of the version that was read, up to `limit`. */
export async function countTo(store: ObjectStore, limit: number): Promise<void> {
  const there = await store.get('reference', { maxBytes: 100 });
  const count = Number(Buffer.from(there?.bytes ?? []).toString());
  if (count >= limit) return;
  const condition = there === undefined ? ({ absent: true } as const) : { etag: there.etag };
  await store.put('reference', Buffer.from(String(count + 1)), { condition });
}

/** Increments this many times, and starts over after each conflict. */
async function countUp(store: ObjectStore, times: number): Promise<void> {
  let conflicts = 0;
  for (let done = 0; done < times;) {
    try {
      await countTo(store, Infinity);
      done += 1;
    } catch (error) {
      conflicts += 1;
      if (!(error instanceof Failure) || error.code !== 'precondition-failed' || conflicts > 5_000) throw error;
    }
  }
}

/** Begins an upload, prints that, and waits to be killed. */
async function linger(store: ObjectStore): Promise<void> {
  const upload = await store.createUpload('blobs/parts', { partSize: PART_SIZE });
  await store.uploadPart(upload, 1, part(1));
  process.stdout.write('ready\n');
  process.stdin.resume();
  await once(process.stdin, 'end');
}

if (import.meta.main) {
  const [name, folder = ''] = process.argv.slice(2);
  await using store = new FolderStore(folder);
  if (name === 'everything') await everything(store);
  if (name === 'count-up') await countUp(store, 25);
  if (name === 'linger') await linger(store);
}
