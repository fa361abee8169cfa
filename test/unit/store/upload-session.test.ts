import { mkdir, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { closeSession, openSession, sync, writePart } from '../../../lib/store/folder/upload-session.ts';
import { tempFolder } from '../../kit/temp.ts';

const MiB = 1024 * 1024;

/** A session of an upload, with the number of flushes to the disk. */
async function opened(): Promise<{
  readonly session: Awaited<ReturnType<typeof openSession>>;
  readonly told: { count: number; refuse: boolean; gate: Promise<undefined> };
  [Symbol.asyncDispose](): Promise<void>;
}> {
  const folder = await tempFolder();
  const path = folder.join('upload');
  await mkdir(path);
  await writeFile(folder.join('upload', 'data'), '');
  const session = await openSession(path, 40 * MiB, { key: 'x', id: 'x', initiated: new Date() });
  const told = { count: 0, refuse: false, gate: Promise.resolve(undefined) };
  // Writes with O_DIRECT need no flush.
  session.direct.write = () => Promise.resolve(0);
  const datasync = session.data.datasync.bind(session.data);
  session.data.datasync = async () => {
    told.count += 1;
    await told.gate;
    if (told.refuse) throw new Error('EIO');
    await datasync();
  };
  return {
    session,
    told,
    async [Symbol.asyncDispose]() {
      await closeSession(session);
      await folder.remove();
    },
  };
}

test('data is flushed to the disk while the upload continues', async () => {
  await using upload = await opened();
  const { session, told } = upload;
  const part = new Uint8Array(40 * MiB);
  await writePart(session, 1, part);
  expect(told.count).toBe(0);
  await writePart(session, 2, part);
  expect(told.count).toBe(1);
  await writePart(session, 3, part.subarray(0, MiB));
  expect(told.count).toBe(1);
  await sync(session);
  expect(told.count).toBe(2);
});

// `fdatasync` reports a failed write only once.
test('a failed flush fails the upload, even if a later flush succeeds', async () => {
  await using upload = await opened();
  const { session, told } = upload;
  const part = new Uint8Array(40 * MiB);
  told.refuse = true;
  await writePart(session, 1, part);
  await writePart(session, 2, part);
  told.refuse = false;
  await expect(sync(session)).rejects.toThrow('EIO');
  expect([...session.landed]).toEqual([]);
  await writePart(session, 1, part);
  await sync(session);
  expect([...session.landed.keys()]).toEqual([1]);
});

// Each flush occupies one of four threads.
test('flushes run one at a time', async () => {
  await using upload = await opened();
  const { session, told } = upload;
  const { promise, resolve } = Promise.withResolvers<undefined>();
  told.gate = promise;
  const part = new Uint8Array(40 * MiB);
  for (const number of [1, 2, 3, 4, 5]) await writePart(session, number, part);
  expect(told.count).toBe(1);
  resolve(undefined);
  await sync(session);
  expect(told.count).toBe(2);
});
