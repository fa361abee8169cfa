/** Folders that an attacker prepared in order to read, write or remove files outside of them. */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  link,
  lstat,
  lutimes,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { dirname } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FolderStore } from '../../../lib/store/folder/store.ts';
import { tempFolder, type TempFolder } from '../../kit/temp.ts';

const PART_SIZE = 64 * 1024;
const LONG_AGO = new Date(Date.now() - 25 * 60 * 60 * 1000);
const REFUSED = { code: 'invalid', side: 'archive', remedy: 'never' };
const CONTENT = 'precious';

interface Scene extends AsyncDisposable {
  readonly folder: TempFolder;
  readonly store: FolderStore;
  /** A path in the archive's folder, whose parents exist. */
  archive(path: string): Promise<string>;
  /** The content of the folder outside of the archive. */
  outside(): Promise<Record<string, string>>;
}

/** An archive `ar`, and next to it a folder `victim` with a file that is a day old. */
async function scene(): Promise<Scene> {
  const folder = await tempFolder();
  const victim = folder.join('victim');
  await mkdir(victim);
  for (const name of ['thesis.txt', randomUUID()]) {
    await writeFile(`${victim}/${name}`, CONTENT);
    await utimes(`${victim}/${name}`, LONG_AGO, LONG_AGO);
  }
  const store = new FolderStore(folder.join('ar'));
  return {
    folder,
    store,
    async archive(path) {
      await mkdir(dirname(folder.join('ar', path)), { recursive: true });
      return folder.join('ar', path);
    },
    async outside() {
      const found: Record<string, string> = {};
      for (const name of await readdir(victim)) found[name] = await readFile(`${victim}/${name}`, 'utf8');
      return found;
    },
    async [Symbol.asyncDispose]() {
      await store.close();
      await folder.remove();
    },
  };
}

describe('a link out of the archive', () => {
  test.each([
    '.mirror',
    '.mirror/tmp',
    '.mirror/uploads',
    '.mirror/receipts',
    'repositories',
    'repositories/host/path',
  ])('is refused at %s, and nothing outside changes', async (path) => {
    await using at = await scene();
    const { store } = at;
    await symlink(at.folder.join('victim'), await at.archive(path));
    const before = await at.outside();
    const key = path.startsWith('repositories') ? 'repositories/host/path/index.json' : '.mirror/receipts/x.json';
    await expect(store.put(key, Buffer.from('x'))).rejects.toMatchObject(REFUSED);
    expect(await at.outside()).toEqual(before);
  });

  test.each(['.mirror/receipts', 'repositories/host'])(
    'is not followed for a read or a deletion at %s',
    async (path) => {
      await using at = await scene();
      const { store } = at;
      await store.put('other', Buffer.from('x'));
      await symlink(at.folder.join('victim'), await at.archive(path));
      const before = await at.outside();
      await expect(store.get(`${path}/thesis.txt`, { maxBytes: 100 })).rejects.toMatchObject(REFUSED);
      await expect(store.head(`${path}/thesis.txt`)).rejects.toMatchObject(REFUSED);
      await expect(store.read(`${path}/thesis.txt`)).rejects.toMatchObject(REFUSED);
      await expect(store.delete(`${path}/thesis.txt`)).rejects.toMatchObject(REFUSED);
      await expect(Array.fromAsync(store.list(`${path}/`))).rejects.toMatchObject(REFUSED);
      expect(await at.outside()).toEqual(before);
    },
  );

  // `verify` would call an archive sound if its listing skipped the link.
  test('fails a listing instead of being skipped', async () => {
    await using at = await scene();
    await at.store.put('repositories/host/path/index.json', Buffer.from('x'));
    await symlink(at.folder.join('victim'), at.folder.join('ar/repositories/other'));
    await expect(Array.fromAsync(at.store.list('repositories/'))).rejects.toMatchObject({
      ...REFUSED,
      message: expect.stringContaining('repositories/other is a symbolic link') as string,
    });
  });

  test.each(['.mirror/tmp', '.mirror/receipts', '.mirror/uploads'])(
    'is refused at %s if it is created after the first write',
    async (path) => {
      await using at = await scene();
      const { store } = at;
      await store.put('.mirror/receipts/x.json', Buffer.from('x'));
      const upload = await store.createUpload('blobs/sha256/a', { partSize: PART_SIZE });
      await store.close();
      await rename(at.folder.join('ar', path), at.folder.join('ar', `${path}-before`));
      await symlink(at.folder.join('victim'), at.folder.join('ar', path));
      const before = await at.outside();
      const writing =
        path === '.mirror/uploads'
          ? [
              store.createUpload('blobs/sha256/b', { partSize: PART_SIZE }),
              store.uploadPart(upload, 1, Buffer.from('x')),
              store.completeUpload(upload, [{ number: 1, size: 1, etag: '0'.repeat(16) }]),
              store.abortUpload(upload),
            ]
          : [store.put('.mirror/receipts/x.json', Buffer.from('y'))];
      for (const outcome of await Promise.allSettled(writing))
        expect(outcome).toMatchObject({ status: 'rejected', reason: REFUSED });
      expect(await at.outside()).toEqual(before);
    },
  );

  test('is replaced at the path of an object, and its target keeps its bytes', async () => {
    await using at = await scene();
    const before = await at.outside();
    await symlink(at.folder.join('victim/thesis.txt'), await at.archive('repositories/host/path/index.json'));
    await at.store.put('repositories/host/path/index.json', Buffer.from('x'));
    expect((await lstat(at.folder.join('ar/repositories/host/path/index.json'))).isFile()).toBe(true);
    expect(await at.outside()).toEqual(before);
  });

  // Such a file has the size 0 and more bytes; some have no end.
  test.runIf(existsSync('/proc/version'))(
    'to a file of /proc is replaced under the version that was read',
    async () => {
      await using at = await scene();
      await symlink('/proc/version', await at.archive('receipt.json'));
      const found = await at.store.get('receipt.json', { maxBytes: 1000 });
      expect(found?.size).toBe(0);
      await at.store.put('receipt.json', Buffer.from('x'), { condition: { etag: found!.etag } });
      expect((await at.store.get('receipt.json', { maxBytes: 1000 }))?.bytes).toEqual(new Uint8Array([120]));
    },
  );

  test.each(['.mirror/lock', '.mirror/running'])('is refused at %s, and creates no file outside', async (path) => {
    await using at = await scene();
    await symlink(at.folder.join('victim/made'), await at.archive(path));
    const before = await at.outside();
    const writing = path.endsWith('lock') ? at.store.put('key', Buffer.from('x')) : at.store.prepare();
    await expect(writing).rejects.toMatchObject(REFUSED);
    expect(await at.outside()).toEqual(before);
  });

  // SQLite writes to a database with a journal, and deletes files that the journal names.
  test('a lock that is not an empty file is refused', async () => {
    await using at = await scene();
    await writeFile(await at.archive('.mirror/lock'), 'SQLite format 3\0');
    await expect(at.store.put('key', Buffer.from('x'))).rejects.toMatchObject(REFUSED);
  });
});

describe('the sweep before the first write', () => {
  test('removes only names that the store creates, and no links', async () => {
    await using at = await scene();
    const { store } = at;
    await mkdir(await at.archive('.mirror/tmp/notes'), { recursive: true });
    await mkdir(await at.archive('.mirror/uploads/notes'), { recursive: true });
    await writeFile(at.folder.join('ar/.mirror/tmp/old'), 'x');
    await writeFile(at.folder.join('ar/.mirror/tmp', `${randomUUID()}.bak`), 'x');
    const file = randomUUID();
    await writeFile(at.folder.join('ar/.mirror/uploads', file), 'x');
    const linked = randomUUID();
    for (const own of ['tmp', 'uploads']) {
      await symlink(at.folder.join('victim'), at.folder.join('ar/.mirror', own, linked));
      for (const name of await readdir(at.folder.join('ar/.mirror', own)))
        await lutimes(at.folder.join('ar/.mirror', own, name), LONG_AGO, LONG_AGO);
    }
    await utimes(at.folder.join('victim'), LONG_AGO, LONG_AGO);
    const before = await at.outside();
    await store.put('key', Buffer.from('x'));
    expect(await readdir(at.folder.join('ar/.mirror/tmp'))).toHaveLength(4);
    expect(await readdir(at.folder.join('ar/.mirror/uploads'))).toHaveLength(3);
    expect(await at.outside()).toEqual(before);
  });

  test('removes old files from the temporary folder of blobs, and no folders', async () => {
    await using at = await scene();
    const [file, folder] = [randomUUID(), randomUUID()];
    await writeFile(await at.archive(`blobs/.tmp/${file}`), 'x');
    await mkdir(await at.archive(`blobs/.tmp/${folder}`));
    for (const name of [file, folder]) await utimes(at.folder.join('ar/blobs/.tmp', name), LONG_AGO, LONG_AGO);
    await at.store.put('key', Buffer.from('x'));
    expect(await readdir(at.folder.join('ar/blobs/.tmp'))).toEqual([folder]);
  });

  test('does not follow links in the folders that it removes', async () => {
    await using at = await scene();
    const remains = await at.archive(`.mirror/tmp/${randomUUID()}/x`);
    await symlink(at.folder.join('victim'), remains);
    await utimes(dirname(remains), LONG_AGO, LONG_AGO);
    const before = await at.outside();
    await at.store.put('key', Buffer.from('x'));
    expect(existsSync(dirname(remains))).toBe(false);
    expect(await at.outside()).toEqual(before);
  });
});

describe('allowed links', () => {
  test('include the root of the archive', async () => {
    await using folder = await tempFolder();
    await mkdir(folder.join('disk'));
    await symlink(folder.join('disk'), folder.join('ar'));
    await using store = new FolderStore(folder.join('ar'));
    await store.put('repositories/host/path/index.json', Buffer.from('x'));
    await store.put('blobs/sha256/a', Buffer.from('y'));
    expect(await readFile(folder.join('disk/repositories/host/path/index.json'), 'utf8')).toBe('x');
    expect((await Array.fromAsync(store.list(''))).map(({ key }) => key).sort()).toEqual([
      'blobs/sha256/a',
      'repositories/host/path/index.json',
    ]);
  });

  test('include blobs, which may lead to a folder on another disk', async () => {
    await using folder = await tempFolder();
    await mkdir(folder.join('disk'));
    await mkdir(folder.join('ar'));
    await symlink(folder.join('disk'), folder.join('ar/blobs'));
    await using store = new FolderStore(folder.join('ar'));
    await store.put('blobs/sha256/a', Buffer.from('y'));
    const upload = await store.createUpload('blobs/sha256/b', { partSize: PART_SIZE });
    await store.completeUpload(upload, [await store.uploadPart(upload, 1, Buffer.from('z'))]);
    expect((await readdir(folder.join('disk/sha256'))).sort()).toEqual(['a', 'b']);
    expect(await readlink(folder.join('ar/blobs'))).toBe(folder.join('disk'));
    expect((await store.get('blobs/sha256/b', { maxBytes: 10 }))?.size).toBe(1);
    for (const prefix of ['', 'b', 'blobs/', 'blobs/sha256/a'])
      expect((await Array.fromAsync(store.list(prefix))).map(({ key }) => key)).toContain('blobs/sha256/a');
    await store.delete('blobs/sha256/a');
    expect(await readdir(folder.join('disk/sha256'))).toEqual(['b']);
  });

  test('do not include a link below blobs', async () => {
    await using at = await scene();
    await symlink(at.folder.join('victim'), await at.archive('blobs/sha256'));
    const before = await at.outside();
    await expect(at.store.put('blobs/sha256/a', Buffer.from('x'))).rejects.toMatchObject(REFUSED);
    await expect(Array.fromAsync(at.store.list('blobs/'))).rejects.toMatchObject(REFUSED);
    expect(await at.outside()).toEqual(before);
  });

  // The disk is not mounted. The blobs do not count as missing, so a repair does not remove the references to them.
  test('fail with an error if the target of blobs does not exist', async () => {
    await using folder = await tempFolder();
    await mkdir(folder.join('ar'));
    await symlink(folder.join('unmounted'), folder.join('ar/blobs'));
    await using store = new FolderStore(folder.join('ar'));
    const said = { ...REFUSED, message: expect.stringContaining('check that its disk is mounted') as string };
    await expect(store.head('blobs/sha256/a')).rejects.toMatchObject(said);
    await expect(store.put('blobs/sha256/a', Buffer.from('x'))).rejects.toMatchObject(said);
    await expect(Array.fromAsync(store.list('blobs/'))).rejects.toMatchObject(said);
    expect(existsSync(folder.join('unmounted'))).toBe(false);
  });

  // Users create it for other tools. It leads into the archive and contains only listed objects.
  test('include a link named blobs in the folder of a repository, which is ignored', async () => {
    await using at = await scene();
    const { store } = at;
    await store.put('repositories/host/path/index.json', Buffer.from('x'));
    await store.put('blobs/sha256/a', Buffer.from('y'));
    await symlink('../../../blobs', at.folder.join('ar/repositories/host/path/blobs'));
    expect((await Array.fromAsync(store.list('repositories/'))).map(({ key }) => key)).toEqual([
      'repositories/host/path/index.json',
    ]);
    await store.put('repositories/host/path/index.json', Buffer.from('z'));
  });
});

describe('a file that is not regular', () => {
  // Opening a named pipe blocks until a writer opens it, unless the flags forbid that.
  test.each(['repositories/host/path/index.json', '.mirror/receipts/x.json', 'blobs/sha256/a'])(
    'is not an object, and a write replaces it: a named pipe at %s',
    async (key) => {
      await using at = await scene();
      const { store } = at;
      execFileSync('mkfifo', [await at.archive(key)]);
      expect(await store.head(key)).toBeUndefined();
      expect(await store.get(key, { maxBytes: 100 })).toBeUndefined();
      expect(await store.read(key)).toBeUndefined();
      expect(await Array.fromAsync(store.list(key))).toEqual([]);
      const wrong = store.put(key, Buffer.from('x'), { condition: { etag: 'other' } });
      await expect(wrong).rejects.toMatchObject({ code: 'precondition-failed' });
      await store.put(key, Buffer.from('x'), { condition: { absent: true } });
      expect((await store.get(key, { maxBytes: 100 }))?.size).toBe(1);
    },
  );

  test('is not an object if it is a socket', async () => {
    await using at = await scene();
    const path = await at.archive('index.json');
    const server = createServer().listen(path);
    await once(server, 'listening');
    expect(await at.store.get('index.json', { maxBytes: 100 })).toBeUndefined();
    server.close();
    await once(server, 'close');
  });

  test('is not a lock if it is a named pipe', async () => {
    await using at = await scene();
    execFileSync('mkfifo', [await at.archive('.mirror/lock')]);
    await expect(at.store.put('key', Buffer.from('x'))).rejects.toMatchObject(REFUSED);
  });
});

describe('an upload from an untrusted folder', () => {
  /** An unfinished upload of this store that no process holds, and its folder. */
  async function made(at: Scene): Promise<{ readonly id: string; readonly path: string }> {
    await using writer = new FolderStore(at.folder.join('ar'));
    const { id } = await writer.createUpload('blobs/sha256/a', { partSize: PART_SIZE });
    await writer.uploadPart({ key: 'blobs/sha256/a', id, initiated: new Date() }, 1, Buffer.from('x'));
    return { id, path: at.folder.join('ar/.mirror/uploads', id) };
  }

  /** Asserts that it is not listed, that its id leads to `no-such-upload`, and that nothing outside is written. */
  async function isNone(at: Scene, id: string): Promise<void> {
    const before = await at.outside();
    const upload = { key: 'blobs/sha256/a', id, initiated: new Date() };
    expect(await Array.fromAsync(at.store.uploads(''))).toEqual([]);
    const gone = { code: 'no-such-upload' };
    await expect(at.store.uploadPart(upload, 1, Buffer.from('written'))).rejects.toMatchObject(gone);
    await expect(Array.fromAsync(at.store.parts(upload))).rejects.toMatchObject(gone);
    expect(await at.outside()).toEqual(before);
  }

  const meta = { version: 1, key: 'blobs/sha256/a', partSize: PART_SIZE, initiated: '2026-01-31T00:00:00.000Z' };

  test.each([
    ['an array', '[]'],
    ['null', 'null'],
    ['text that is not JSON', '{'],
    ['nothing', ''],
    ['no key', JSON.stringify({ ...meta, key: undefined })],
    ['a key that is a number', JSON.stringify({ ...meta, key: 5 })],
    ['a part size that is text', JSON.stringify({ ...meta, partSize: '65536' })],
    ['a part size of 0', JSON.stringify({ ...meta, partSize: 0 })],
    ['a part size beyond the limit', JSON.stringify({ ...meta, partSize: 2 ** 40 })],
    ['a part size with a fraction', JSON.stringify({ ...meta, partSize: PART_SIZE + 0.5 })],
    ['another version', JSON.stringify({ ...meta, version: 2 })],
    ['a time that is none', JSON.stringify({ ...meta, initiated: 'yesterday' })],
    ['more bytes than a meta file has', JSON.stringify({ ...meta, more: 'x'.repeat(100_000) })],
  ])('is not an upload if its meta is %s', async (_, text) => {
    await using at = await scene();
    const { id, path } = await made(at);
    await writeFile(`${path}/meta`, text);
    await isNone(at, id);
  });

  test("is an upload if its meta has the store's format", async () => {
    await using at = await scene();
    const { id, path } = await made(at);
    await writeFile(`${path}/meta`, JSON.stringify(meta));
    expect(await Array.fromAsync(at.store.uploads(''))).toEqual([
      { key: 'blobs/sha256/a', id, initiated: new Date('2026-01-31T00:00:00.000Z') },
    ]);
  });

  test.each(['data', 'meta'])('is not an upload if its %s is a link', async (name) => {
    await using at = await scene();
    const { id, path } = await made(at);
    await rm(`${path}/${name}`);
    await symlink(at.folder.join('victim/thesis.txt'), `${path}/${name}`);
    await isNone(at, id);
  });

  test.each(['data', 'meta', 'lock'])('is not an upload if its %s is a named pipe', async (name) => {
    await using at = await scene();
    const { id, path } = await made(at);
    await rm(`${path}/${name}`, { force: true });
    execFileSync('mkfifo', [`${path}/${name}`]);
    await isNone(at, id);
  });

  // A write or a truncation would change the file of the other name.
  test.each(['data', 'journal'])('is not written if its %s has a second name', async (name) => {
    await using at = await scene();
    const { id, path } = await made(at);
    await rm(`${path}/${name}`);
    await link(at.folder.join('victim/thesis.txt'), `${path}/${name}`);
    const before = await at.outside();
    const upload = { key: 'blobs/sha256/a', id, initiated: new Date() };
    await expect(at.store.uploadPart(upload, 1, Buffer.from('x'))).rejects.toMatchObject({ code: 'no-such-upload' });
    expect(await at.outside()).toEqual(before);
  });

  test.each(['journal', 'lock'])('is not written if its %s is a link', async (name) => {
    await using at = await scene();
    const { id, path } = await made(at);
    await rm(`${path}/${name}`, { force: true });
    await symlink(at.folder.join('victim/thesis.txt'), `${path}/${name}`);
    const before = await at.outside();
    const upload = { key: 'blobs/sha256/a', id, initiated: new Date() };
    await expect(at.store.uploadPart(upload, 1, Buffer.from('x'))).rejects.toMatchObject({ code: 'no-such-upload' });
    expect(await at.outside()).toEqual(before);
  });

  test('is not an upload if its folder is a link', async () => {
    await using at = await scene();
    const { id, path } = await made(at);
    await rename(path, at.folder.join('elsewhere'));
    await symlink(at.folder.join('elsewhere'), path);
    await isNone(at, id);
    await at.store.abortUpload({ key: 'blobs/sha256/a', id, initiated: new Date() });
    expect((await readdir(at.folder.join('elsewhere'))).sort()).toEqual(['data', 'journal', 'lock', 'meta']);
  });
});
