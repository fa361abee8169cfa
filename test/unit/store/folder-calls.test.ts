/** The file system calls of the folder store and their order, which otherwise only a power failure would reveal. */
import fs from 'node:fs';
import { open, readdir, stat, symlink, mkdir, truncate, readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FolderStore } from '../../../lib/store/folder/store.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

const MiB = 1024 * 1024;

const seen = vi.hoisted(() => ({
  /** `write`, `fdatasync` and `fsync` with the inode of their file; `rename` with its target. */
  calls: [] as { readonly call: string; readonly of: unknown }[],
  beforeRename: undefined as ((from: string, to: string) => void) | undefined,
  /** Called after the second look at a file: the first reads its kind, and the second its length. */
  afterSize: undefined as (() => void) | undefined,
  looks: 0,
  /** The asynchronous call that fails with EIO. */
  failing: undefined as string | undefined,
}));

function errno(code: string): Error {
  return Object.assign(new Error(`${code}: on purpose`), { code, errno: -1 });
}

vi.mock('node:fs', async (importOriginal) => {
  const original = await importOriginal<typeof fs>();
  type Call = (descriptor: number, ...more: unknown[]) => unknown;
  const recorded = (call: string, work: unknown): unknown => {
    const recording = (descriptor: number, ...more: unknown[]): unknown => {
      seen.calls.push({ call, of: original.fstatSync(descriptor).ino });
      if (call !== seen.failing) return (work as Call)(descriptor, ...more);
      (more.at(-1) as (error: Error) => void)(errno('EIO'));
      return undefined;
    };
    // `promisify` uses the properties of the function.
    return Object.defineProperties(recording, Object.getOwnPropertyDescriptors(work as Call));
  };
  return {
    ...original,
    write: recorded('write', original.write),
    writeSync: recorded('write', original.writeSync),
    fsync: recorded('fsync', original.fsync),
    fdatasync: recorded('fdatasync', original.fdatasync),
    fstatSync: (descriptor: number, options: { readonly bigint: true }) => {
      const stats = original.fstatSync(descriptor, options);
      if ((seen.looks += 1) % 2 === 0) seen.afterSize?.();
      return stats;
    },
    renameSync: (from: string, to: string) => {
      seen.beforeRename?.(from, to);
      seen.calls.push({ call: 'rename', of: to });
      original.renameSync(from, to);
    },
  };
});

let folder: TempFolder;
let store: FolderStore;

beforeEach(async () => {
  folder = await tempFolder();
  store = new FolderStore(folder.join('ar'));
  const handle = await open(import.meta.filename);
  const prototype = Object.getPrototypeOf(handle) as typeof handle;
  await handle.close();
  for (const name of ['write', 'datasync', 'truncate'] as const) {
    const original = Reflect.get(prototype, name) as (...args: unknown[]) => unknown;
    vi.spyOn(prototype, name).mockImplementation(function (this: typeof handle, ...args: unknown[]) {
      const call = name === 'datasync' ? 'fdatasync' : 'write';
      seen.calls.push({ call, of: fs.fstatSync(this.fd).ino });
      return Reflect.apply(original, this, args) as never;
    });
  }
});

afterEach(async () => {
  vi.restoreAllMocks();
  seen.beforeRename = undefined;
  seen.afterSize = undefined;
  seen.failing = undefined;
  await store.close();
  await folder.remove();
});

async function inode(path: string): Promise<number> {
  return (await stat(folder.join('ar', path))).ino;
}

/** The calls for an object, from its last write on. */
async function lastCalls(key: string, parent: string): Promise<string[]> {
  const [file, directory] = [await inode(key), await inode(parent)];
  const about = seen.calls.filter(({ of }) => of === file || of === directory || of === folder.join('ar', key));
  const named = about.map(({ call, of }) => (of === directory ? `${call} of the folder` : call));
  return named.slice(Math.max(0, named.lastIndexOf('write')));
}

describe('an object is on the disk before its name is, and its name before the call returns', () => {
  test.each([
    ['small', 100],
    ['larger than what is hashed', 5 * MiB],
  ])('for a put: %s', async (_, size) => {
    await store.put('first', Buffer.from('x'));
    seen.calls = [];
    await store.put('blobs/sha256/a', Buffer.alloc(size, 'x'));
    const before = [...seen.calls];
    expect(await lastCalls('blobs/sha256/a', 'blobs/sha256')).toEqual([
      'write',
      'fdatasync',
      'rename',
      'fsync of the folder',
    ]);
    // The folders that were created for it have their names on the disk as well.
    const synced = before.filter(({ call }) => call === 'fsync').map(({ of }) => of);
    expect(synced).toEqual([await inode('.'), await inode('blobs'), await inode('blobs/sha256')]);
  });

  test('for a replacement', async () => {
    await store.put('blobs/a', Buffer.from('x'));
    seen.calls = [];
    const { etag } = await store.put('blobs/a', Buffer.from('y'));
    await store.put('blobs/a', Buffer.from('z'), { condition: { etag } });
    expect(await lastCalls('blobs/a', 'blobs')).toEqual(['write', 'fdatasync', 'rename', 'fsync of the folder']);
  });

  test('for an upload in parts', async () => {
    const upload = await store.createUpload('blobs/a', { partSize: 64 * 1024 });
    const parts = [
      await store.uploadPart(upload, 1, Buffer.alloc(64 * 1024, 1)),
      await store.uploadPart(upload, 2, Buffer.alloc(10, 2)),
    ];
    await store.completeUpload(upload, parts);
    expect(await lastCalls('blobs/a', 'blobs')).toEqual(['write', 'fdatasync', 'rename', 'fsync of the folder']);
  });

  test('and a deletion is on the disk before the call returns', async () => {
    await store.put('blobs/a', Buffer.from('x'));
    seen.calls = [];
    await store.delete('blobs/a');
    expect(seen.calls).toEqual([{ call: 'fsync', of: await inode('blobs') }]);
  });
});

describe('a file that is truncated between the look at its size and the read', () => {
  const cut = { code: 'truncated', side: 'archive', remedy: 'retry' };

  test.each([
    ['hashed', 100],
    ['larger than what is hashed', 5 * MiB],
  ])('is truncated and not returned: %s', async (_, size) => {
    await store.put('key', Buffer.alloc(size, 'x'));
    seen.looks = 0;
    seen.afterSize = () => fs.truncateSync(folder.join('ar/key'), size - 1);
    await expect(store.get('key', { maxBytes: 10 * MiB })).rejects.toMatchObject(cut);
  });

  test('has no version', async () => {
    await store.put('key', Buffer.alloc(100, 'x'));
    seen.looks = 0;
    seen.afterSize = () => fs.truncateSync(folder.join('ar/key'), 99);
    await expect(store.head('key')).rejects.toMatchObject(cut);
    await truncate(folder.join('ar/key'), 100);
    await expect(store.read('key')).rejects.toMatchObject(cut);
  });
});

// A file cannot be renamed to another disk: the bytes are copied first, and then appear under their name at once.
describe('blobs on another disk', () => {
  async function linked(): Promise<void> {
    await mkdir(folder.join('disk'));
    await mkdir(folder.join('ar'));
    await symlink(folder.join('disk'), folder.join('ar/blobs'));
    seen.beforeRename = (from, to) => {
      if (from.includes('/.mirror/') && to.includes('/blobs/')) throw errno('EXDEV');
    };
  }

  test.each([
    ['small', 100],
    ['larger than what is hashed', 5 * MiB],
  ])('accept a put and keep no second copy: %s', async (_, size) => {
    await linked();
    const put = await store.put('blobs/sha256/a', Buffer.alloc(size, 'x'), { condition: { absent: true } });
    expect(await store.head('blobs/sha256/a')).toEqual(put);
    expect(await readFile(folder.join('disk/sha256/a'), 'utf8')).toBe('x'.repeat(size));
    expect(await readdir(folder.join('ar/.mirror/tmp'))).toEqual([]);
    const again = store.put('blobs/sha256/a', Buffer.from('y'), { condition: { absent: true } });
    await expect(again).rejects.toMatchObject({ code: 'precondition-failed' });
    expect(await readdir(folder.join('ar/.mirror/tmp'))).toEqual([]);
    expect(await readdir(folder.join('disk/.tmp'))).toEqual([]);
    expect((await Array.fromAsync(store.list('blobs/'))).map(({ key }) => key)).toEqual(['blobs/sha256/a']);
  });

  test('accept an upload', async () => {
    await linked();
    const upload = await store.createUpload('blobs/sha256/a', { partSize: 64 * 1024 });
    const part = await store.uploadPart(upload, 1, Buffer.from('abc'));
    const completed = await store.completeUpload(upload, [part]);
    expect(await store.head('blobs/sha256/a')).toEqual(completed);
    expect(await readFile(folder.join('disk/sha256/a'), 'utf8')).toBe('abc');
    expect(await Array.fromAsync(store.uploads(''))).toEqual([]);
    expect((await lastCalls('blobs/sha256/a', 'blobs/sha256')).slice(-3)).toEqual([
      'fdatasync',
      'rename',
      'fsync of the folder',
    ]);
  });
});

describe('no temporary file is left', () => {
  const left = async (): Promise<string[]> => [
    ...(await readdir(folder.join('ar/.mirror/tmp'))),
    ...(await readdir(folder.join('ar/.mirror/uploads'))),
  ];

  test('by the check of a disk that cannot sync a file', async () => {
    seen.failing = 'fdatasync';
    await expect(store.prepare()).rejects.toMatchObject({ code: 'io' });
    expect(await left()).toEqual([]);
  });

  test('by an upload whose files cannot be opened', async () => {
    await store.prepare();
    const handle = await open(import.meta.filename);
    const stat = vi.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'stat');
    await handle.close();
    stat.mockRejectedValueOnce(errno('EMFILE'));
    await expect(store.createUpload('blobs/a', { partSize: 64 * 1024 })).rejects.toMatchObject({ code: 'io' });
    expect(stat).toHaveBeenCalledOnce();
    expect(await left()).toEqual([]);
  });

  test('by an upload whose folder cannot be synced after the rename', async () => {
    await store.put('blobs/b', Buffer.from('x'));
    const upload = await store.createUpload('blobs/a', { partSize: 64 * 1024 });
    const part = await store.uploadPart(upload, 1, Buffer.from('abc'));
    seen.failing = 'fsync';
    await expect(store.completeUpload(upload, [part])).rejects.toMatchObject({ code: 'io' });
    expect(await left()).toEqual([]);
    expect(await readFile(folder.join('ar/blobs/a'), 'utf8')).toBe('abc');
  });
});
