import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { Claim, Mutex } from '../../../lib/store/folder/lock.ts';
import { tempFolder } from '../../kit/temp.ts';

test('a claim has one holder at a time', async () => {
  await using folder = await tempFolder();
  const path = folder.join('lock');
  const claim = Claim.take(path);
  expect(claim).toBeDefined();
  expect(Claim.take(path)).toBeUndefined();
  claim?.release();
  claim?.release();
  const next = Claim.take(path);
  expect(next).toBeDefined();
  next?.release();
});

// Another process may complete an upload between its listing and the claim.
test('a removed folder cannot be claimed', async () => {
  await using folder = await tempFolder();
  expect(Claim.take(folder.join('gone', 'lock'))).toBeUndefined();
  await rm(folder.path, { recursive: true });
  expect(Claim.take(folder.join('lock'))).toBeUndefined();
});

test('work waits until the holder releases the lock', async () => {
  await using folder = await tempFolder();
  const path = folder.join('lock');
  const mutex = new Mutex(path);
  const claim = Claim.take(path);
  const done: string[] = [];
  const working = mutex.run(() => done.push('work'));
  expect(await Promise.race([working, new Promise((resolve) => setImmediate(resolve, 'waiting'))])).toBe('waiting');
  done.push('release');
  claim?.release();
  await working;
  expect(done).toEqual(['release', 'work']);
  mutex.close();
});

test('aborted work is not started after its wait', async () => {
  await using folder = await tempFolder();
  const path = folder.join('lock');
  const mutex = new Mutex(path);
  const claim = Claim.take(path);
  const controller = new AbortController();
  let done = false;
  const working = mutex.run(() => (done = true), controller.signal);
  controller.abort();
  await expect(working).rejects.toThrow('aborted');
  claim?.release();
  await expect(mutex.run(() => (done = true), controller.signal)).rejects.toThrow('aborted');
  expect(done).toBe(false);
  mutex.close();
});

test('failed work releases the lock', async () => {
  await using folder = await tempFolder();
  const mutex = new Mutex(folder.join('lock'));
  const failing = mutex.run(() => {
    throw new RangeError('no');
  });
  await expect(failing).rejects.toThrow(RangeError);
  expect(await mutex.run(() => 'next')).toBe('next');
  mutex.close();
});
