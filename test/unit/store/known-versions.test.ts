/** Objects of a folder whose versions are known, so that they are not read again. */
import type fs from 'node:fs';
import { utimes, writeFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FolderStore } from '../../../lib/store/folder/store.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

const seen = vi.hoisted(() => ({ reads: 0 }));

vi.mock('node:fs', async (importOriginal) => {
  const original = await importOriginal<typeof fs>();
  const read = (...args: unknown[]): void => {
    seen.reads += 1;
    Reflect.apply(original.read, undefined, args);
  };
  // `promisify` uses the properties of the function.
  return { ...original, read: Object.defineProperties(read, Object.getOwnPropertyDescriptors(original.read)) };
});

const KEY = 'repositories/app/index.json';
const OPTIONS = { maxBytes: 1000 };
const OLD = Buffer.from('old');
const NEW = Buffer.from('new');
/** A modification time, in seconds. */
const TIME = 1000;

let folder: TempFolder;
let store: FolderStore;
/** The version of the object with the content OLD. */
let etag: string;

beforeEach(async () => {
  folder = await tempFolder();
  store = new FolderStore(folder.path);
  ({ etag } = await store.put(KEY, OLD));
  await utimes(folder.join(KEY), TIME, TIME);
  // A file is known by its times only some seconds after it was written.
  const { now } = Date;
  vi.spyOn(Date, 'now').mockImplementation(() => now() + 60_000);
  expect(await store.getChanged(KEY, etag, OPTIONS)).toBe('unchanged');
  seen.reads = 0;
});

afterEach(async () => {
  vi.restoreAllMocks();
  await store.close();
  await folder.remove();
});

test('an object that has not changed is not read again', async () => {
  expect(await store.getChanged(KEY, etag, OPTIONS)).toBe('unchanged');
  expect(seen.reads).toBe(0);
});

test('an object that has not changed is returned to a caller that has another version', async () => {
  expect(await store.getChanged(KEY, 'another', OPTIONS)).toMatchObject({ etag, bytes: Uint8Array.from(OLD) });
});

test('an object that another process has replaced is read', async () => {
  await using other = new FolderStore(folder.path);
  const replaced = await other.put(KEY, NEW);
  expect(await store.head(KEY)).toEqual(replaced);
  expect(await store.getChanged(KEY, etag, OPTIONS)).toEqual({ ...replaced, bytes: Uint8Array.from(NEW) });
  expect(await store.getChanged(KEY, replaced.etag, OPTIONS)).toBe('unchanged');
  await store.delete(KEY);
  expect(await store.getChanged(KEY, replaced.etag, OPTIONS)).toBeUndefined();
});

// An editor may write into the file, and a restored backup may have its old times.
test('an object that was overwritten in its place with the same size and time is read', async () => {
  // A tick of the clock of Linux takes at most 10 ms.
  await setTimeout(50);
  await writeFile(folder.join(KEY), NEW);
  await utimes(folder.join(KEY), TIME, TIME);
  expect(await store.getChanged(KEY, etag, OPTIONS)).toMatchObject({ bytes: Uint8Array.from(NEW) });
});

// Two replacements within one tick of the file system's clock may have the same inode, size and times.
test('an object that was written a moment ago is read again', async () => {
  vi.restoreAllMocks();
  const { etag: young } = await store.put(KEY, NEW);
  for (let times = 1; times <= 3; times += 1) {
    expect(await store.getChanged(KEY, young, OPTIONS)).toBe('unchanged');
    expect(seen.reads).toBe(times);
  }
});

test('an object above the limit is refused', async () => {
  await expect(store.getChanged(KEY, 'another', { maxBytes: 2 })).rejects.toMatchObject({ code: 'too-large' });
});
