import { randomUUID } from 'node:crypto';
import {
  appendFile,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { describe, expect, test, vi } from 'vitest';
import { BriefFile } from '../../../lib/store/folder/files.ts';
import { FolderStore } from '../../../lib/store/folder/store.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

const MiB = 1024 * 1024;
const PART_SIZE = 64 * 1024;
const LONG_AGO = new Date(Date.now() - 25 * 60 * 60 * 1000);

interface Opened extends AsyncDisposable {
  readonly folder: TempFolder;
  readonly store: FolderStore;
}

async function open(): Promise<Opened> {
  const folder = await tempFolder();
  const store = new FolderStore(folder.join('archive'));
  return {
    folder,
    store,
    async [Symbol.asyncDispose]() {
      await store.close();
      await folder.remove();
    },
  };
}

describe('keys', () => {
  // A key becomes a path, which must stay inside the folder and outside the store's own folders.
  test.each(['', '/', '/etc/passwd', 'a//b', 'a/', '.', '..', '../x', 'a/../../x', 'a/./b', 'a\\b', 'a\0b'])(
    'refuse %j',
    async (key) => {
      await using opened = await open();
      const { store } = opened;
      const refused = { code: 'invalid', side: 'archive' };
      await expect(store.put(key, Buffer.from('x'))).rejects.toMatchObject(refused);
      await expect(store.get(key, { maxBytes: 1 })).rejects.toMatchObject(refused);
      await expect(store.head(key)).rejects.toMatchObject(refused);
      await expect(store.read(key)).rejects.toMatchObject(refused);
      await expect(store.delete(key)).rejects.toMatchObject(refused);
      await expect(store.createUpload(key, { partSize: PART_SIZE })).rejects.toMatchObject(refused);
      expect(await readdir(opened.folder.path)).toEqual([]);
    },
  );

  test("cannot name the store's own folders", async () => {
    await using opened = await open();
    const { store } = opened;
    await store.put('.mirror/receipts/x.json', Buffer.from('x'));
    for (const key of ['.mirror/lock', '.mirror/tmp/x', '.mirror/uploads/x/data'])
      await expect(store.put(key, Buffer.from('x'))).rejects.toMatchObject({ code: 'invalid' });
    await store.createUpload('key', { partSize: PART_SIZE });
    const keys = (await Array.fromAsync(store.list(''))).map(({ key }) => key);
    expect(keys).toEqual(['.mirror/receipts/x.json']);
    expect(await Array.fromAsync(store.list('.mirror/tmp'))).toEqual([]);
    await expect(Array.fromAsync(store.list('../'))).rejects.toMatchObject({ code: 'invalid' });
  });

  // In a folder, a name is either a file or a folder.
  test('cannot place an object above another one, and the error says so', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.put('a/b', Buffer.from('x'));
    const refused = { code: 'invalid', remedy: 'never', side: 'archive' };
    await expect(store.put('a', Buffer.from('x'))).rejects.toMatchObject(refused);
    await expect(store.put('a', Buffer.from('x'), { condition: { absent: true } })).rejects.toMatchObject(refused);
    await expect(store.put('a/b/c', Buffer.from('x'))).rejects.toMatchObject(refused);
    await expect(store.put('a/b/c/d', Buffer.from('x'))).rejects.toMatchObject(refused);
    await expect(store.put(`long/${'x'.repeat(300)}`, Buffer.from('x'))).rejects.toMatchObject(refused);
    expect(await readdir(opened.folder.join('archive/.mirror/tmp'))).toEqual([]);
  });
});

describe('files', () => {
  // A mistyped archive name does not create a folder.
  test('are not created by a read', async () => {
    await using opened = await open();
    const { store, folder } = opened;
    expect(await store.head('key')).toBeUndefined();
    expect(await Array.fromAsync(store.list(''))).toEqual([]);
    expect(await Array.fromAsync(store.uploads(''))).toEqual([]);
    await store.delete('key');
    expect(await readdir(folder.path)).toEqual([]);
  });

  test('are objects if they are plain files, even from other programs or with a second name', async () => {
    await using opened = await open();
    const { store, folder } = opened;
    await store.put('a/b', Buffer.from('bytes'));
    expect(await readFile(folder.join('archive/a/b'), 'utf8')).toBe('bytes');
    await writeFile(folder.join('archive/a/c'), 'by hand');
    await symlink('c', folder.join('archive/a/d'));
    expect((await store.get('a/d', { maxBytes: 100 }))?.size).toBe(7);
  });

  // References of a copied archive can be replaced by the version that was read.
  test('have a version of their bytes if they are small', async () => {
    await using opened = await open();
    const { store, folder } = opened;
    const { etag } = await store.put('key', Buffer.from('bytes'));
    await store.put('key', Buffer.from('other'));
    await writeFile(folder.join('archive/key'), 'bytes');
    expect((await store.head('key'))?.etag).toBe(etag);
    await store.put('key', Buffer.from('new'), { condition: { etag } });
  });

  test('have a version of their identity if they are large, which differs even for the same bytes', async () => {
    await using opened = await open();
    const { store, folder } = opened;
    const bytes = Buffer.alloc(4 * MiB + 1, 'x');
    const first = await store.put('key', bytes);
    expect(await store.head('key')).toEqual(first);
    await link(folder.join('archive/key'), folder.join('kept'));
    const second = await store.put('key', bytes);
    expect(second.etag).not.toBe(first.etag);
    await expect(store.put('key', bytes, { condition: { etag: first.etag } })).rejects.toMatchObject({
      code: 'precondition-failed',
    });
    await store.delete('key', { etag: first.etag });
    expect(await store.head('key')).toEqual(second);
    await rename(folder.join('kept'), folder.join('archive/key'));
    expect(await store.head('key')).toEqual(first);
    await store.put('key', Buffer.from('small'), { condition: { etag: first.etag } });
  });

  test('throw at the end of the body if they were truncated during the read', async () => {
    await using opened = await open();
    const { store, folder } = opened;
    await store.put('key', Buffer.alloc(8 * MiB, 'x'));
    const read = await store.read('key');
    await truncate(folder.join('archive/key'), 5 * MiB + 1);
    let seen = 0;
    const reading = (async (): Promise<void> => {
      for await (const chunk of read?.body ?? []) seen += chunk.length;
    })();
    await expect(reading).rejects.toMatchObject({ code: 'truncated', side: 'archive' });
    expect(seen).toBeLessThanOrEqual(5 * MiB + 1);
  });

  test('can be left before the end of the body, and their chunks stay valid', async () => {
    await using opened = await open();
    const { store } = opened;
    await store.put('key', Buffer.concat([Buffer.alloc(4 * MiB, 'a'), Buffer.alloc(4 * MiB, 'b')]));
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await store.read('key', { start: 1 }))?.body ?? []) {
      chunks.push(chunk);
      if (chunks.length === 6) break;
    }
    expect(chunks.map((chunk) => String.fromCharCode(chunk[0] ?? 0)).join('')).toBe('aaaabb');
  });

  // A recent file may belong to a running process.
  test('of the store that are left over are removed after a day', async () => {
    await using opened = await open();
    const { store, folder } = opened;
    const own = folder.join('archive/.mirror');
    const [old, young, halfMade, completed, begun] = Array.from({ length: 5 }, () => randomUUID());
    await mkdir(`${own}/tmp/${halfMade}`, { recursive: true });
    await mkdir(`${own}/uploads/${completed}`, { recursive: true });
    await mkdir(`${own}/uploads/${begun}`, { recursive: true });
    for (const name of [`tmp/${old}`, `tmp/${young}`, `tmp/${halfMade}/data`, `uploads/${completed}/meta`])
      await writeFile(`${own}/${name}`, 'x');
    for (const name of [`tmp/${old}`, `tmp/${halfMade}`, `uploads/${completed}`])
      await utimes(`${own}/${name}`, LONG_AGO, LONG_AGO);
    await store.put('key', Buffer.from('x'));
    expect(await readdir(`${own}/tmp`)).toEqual([young]);
    expect(await readdir(`${own}/uploads`)).toEqual([begun]);
  });
});

test('the file of a body that is returned before its first chunk is closed', async () => {
  await using opened = await open();
  await opened.store.put('key', Buffer.alloc(5 * MiB));
  const closing = vi.spyOn(BriefFile.prototype, 'close');
  try {
    const found = await opened.store.read('key');
    expect(closing).not.toHaveBeenCalled();
    await found?.body[Symbol.asyncIterator]().return?.();
    expect(closing).toHaveBeenCalledTimes(1);
  } finally {
    closing.mockRestore();
  }
});

describe('uploads', () => {
  test('become the object by a rename of the file, without a copy', async () => {
    await using opened = await open();
    const { store, folder } = opened;
    const upload = await store.createUpload('key', { partSize: PART_SIZE });
    const data = folder.join('archive/.mirror/uploads', upload.id, 'data');
    const first = await store.uploadPart(upload, 1, Buffer.alloc(PART_SIZE, 1));
    await link(data, folder.join('same'));
    // A part beyond the completed ones is cut off.
    await store.uploadPart(upload, 2, Buffer.alloc(PART_SIZE, 2));
    await store.completeUpload(upload, [first]);
    await appendFile(folder.join('same'), 'x');
    expect((await store.head('key'))?.size).toBe(PART_SIZE + 1);
    expect(await readdir(folder.join('archive/.mirror/uploads'))).toEqual([]);
    expect(await readdir(folder.join('archive/.mirror/tmp'))).toEqual([]);
  });

  test.each([64 * 1024, 1024 ** 3])('accept parts of %i bytes', async (partSize) => {
    await using opened = await open();
    await opened.store.createUpload('key', { partSize });
    expect(await Array.fromAsync(opened.store.uploads('key'))).toHaveLength(1);
  });

  test.each([64 * 1024 - 1, 1024 ** 3 + 1, 100_000.5])('refuse parts of %d bytes', async (partSize) => {
    await using opened = await open();
    await expect(opened.store.createUpload('key', { partSize })).rejects.toThrow(
      `parts of ${partSize} bytes: a folder takes 65536 to 1073741824`,
    );
  });

  // Ids become paths.
  test('cannot be named by an id that the store did not create', async () => {
    await using opened = await open();
    const { store, folder } = opened;
    await store.put('kept', Buffer.from('x'));
    const upload = { key: 'kept', id: '../..', initiated: new Date() };
    const gone = { code: 'no-such-upload', remedy: 'restart' };
    await expect(store.uploadPart(upload, 1, Buffer.from('x'))).rejects.toMatchObject(gone);
    await expect(Array.fromAsync(store.parts(upload))).rejects.toMatchObject(gone);
    await store.abortUpload(upload);
    expect(await readdir(folder.join('archive'))).toEqual(['.mirror', 'kept']);
    const other = await store.createUpload('key', { partSize: PART_SIZE });
    await store.close();
    await expect(store.uploadPart({ ...other, key: 'kept' }, 1, Buffer.from('x'))).rejects.toMatchObject(gone);
  });

  test.each([
    [0, 10],
    [10_001, 10],
    [1.5, 10],
    [1, PART_SIZE + 1],
  ])('refuse part %d of %d bytes', async (number, size) => {
    await using opened = await open();
    const { store } = opened;
    const upload = await store.createUpload('key', { partSize: PART_SIZE });
    // A part that is too large belongs to another plan, so the upload is invalid, and not the blob.
    const remedy = size > PART_SIZE ? 'restart' : 'never';
    await expect(store.uploadPart(upload, number, Buffer.alloc(size))).rejects.toMatchObject({
      code: 'invalid',
      remedy,
    });
    for (const partSize of [0, PART_SIZE - 1, PART_SIZE + 0.5, 2 * 1024 ** 3])
      await expect(store.createUpload('key', { partSize })).rejects.toMatchObject({ code: 'invalid' });
  });

  // Two stores in one process behave like two processes.
  test('have one writer at a time', async () => {
    await using opened = await open();
    const { store, folder } = opened;
    await using other = new FolderStore(folder.join('archive'));
    const upload = await store.createUpload('key', { partSize: PART_SIZE });
    const part = await store.uploadPart(upload, 1, Buffer.from('x'));
    expect(await Array.fromAsync(other.uploads(''))).toEqual([]);
    await expect(other.uploadPart(upload, 1, Buffer.from('y'))).rejects.toMatchObject({ code: 'no-such-upload' });
    await expect(other.completeUpload(upload, [part])).rejects.toMatchObject({ code: 'no-such-upload' });
    await store.close();
    expect(await Array.fromAsync(other.uploads(''))).toEqual([upload]);
    await other.completeUpload(upload, [part]);
    await expect(store.uploadPart(upload, 1, Buffer.from('z'))).rejects.toMatchObject({ code: 'no-such-upload' });
  });

  test('that another process aborted fail with no-such-upload when they are completed', async () => {
    await using opened = await open();
    const { store, folder } = opened;
    await using other = new FolderStore(folder.join('archive'));
    const upload = await store.createUpload('key', { partSize: PART_SIZE });
    const part = await store.uploadPart(upload, 1, Buffer.from('x'));
    await other.abortUpload(upload);
    await expect(store.completeUpload(upload, [part])).rejects.toMatchObject({ code: 'no-such-upload' });
    expect(await store.head('key')).toBeUndefined();
  });

  test('that are aborted and completed concurrently end as completed or as no-such-upload', async () => {
    await using opened = await open();
    const { store } = opened;
    const outcomes = new Set<string>();
    for (let round = 0; round < 60; round += 1) {
      const key = `key-${round}`;
      const upload = await store.createUpload(key, { partSize: PART_SIZE });
      const part = await store.uploadPart(upload, 1, Buffer.from('x'));
      const after = async <T>(turns: number, work: () => Promise<T>): Promise<T> => {
        for (let turn = turns; turn > 0; turn -= 1) await new Promise(setImmediate);
        return work();
      };
      const [writing, completing] = await Promise.allSettled([
        store.uploadPart(upload, 2, Buffer.alloc(PART_SIZE)),
        after(round % 5, () => store.completeUpload(upload, [part])),
        after(round % 12, () => Promise.all([store.abortUpload(upload), store.abortUpload(upload)])),
      ]);
      for (const outcome of [writing, completing])
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'no-such-upload' });
      expect((await store.head(key)) !== undefined).toBe(completing.status === 'fulfilled');
      outcomes.add(completing.status);
    }
    expect([...outcomes].sort()).toEqual(['fulfilled', 'rejected']);
    expect(await Array.fromAsync(store.uploads(''))).toEqual([]);
  });
});
