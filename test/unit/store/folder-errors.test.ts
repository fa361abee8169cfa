import { mkdir, open, rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { attempt, toFailure } from '../../../lib/store/folder/errors.ts';
import { Failure } from '../../../lib/core/failure.ts';
import { systemWords } from '../../../lib/core/system-error.ts';
import { tempFolder } from '../../kit/temp.ts';

function errno(code: string): Error {
  return Object.assign(new Error(`${code}: what libuv says, write`), { code, errno: -1, syscall: 'write' });
}

// Each tells whoever reads it what to do, and whatever decides whether trying again may help.
test.each([
  ['ENOSPC', 'no-space', 'never', 'free some space'],
  ['EDQUOT', 'no-space', 'never', 'quota'],
  ['EACCES', 'denied', 'never', 'permissions'],
  ['EROFS', 'denied', 'never', 'read-only'],
  ['ENAMETOOLONG', 'invalid', 'never', 'longer'],
  ['EMFILE', 'io', 'retry', 'ulimit -n'],
  ['EIO', 'io', 'retry', 'libuv'],
  ['constructor', 'io', 'retry', 'libuv'],
])('%s is %s', (code, failure, remedy, detail) => {
  expect(toFailure(errno(code), 'put key')).toMatchObject({
    operation: 'put key',
    side: 'archive',
    code: failure,
    remedy,
    detail: expect.stringContaining(detail),
  });
});

test.each(['ENOENT', 'EROFS', 'ENFILE', 'EBUSY', 'ESTALE', 'ENODEV'])(
  '%s has the words that it has everywhere else',
  (code) => {
    expect(toFailure(errno(code), 'put key').detail).toContain(systemWords(errno(code)));
  },
);

test('a bug is told as one', () => {
  expect(toFailure(new TypeError('x is undefined'), 'put key')).toMatchObject({ code: 'internal' });
});

// Real ones: a full device, a folder in the place of a file, a file in the place of a folder.
test('the operating system itself', async () => {
  await using folder = await tempFolder();
  const full = attempt('put key', undefined, async () => {
    await using file = await open('/dev/full', 'w');
    await file.write('x');
  });
  await expect(full).rejects.toMatchObject({ code: 'no-space' });
  await expect(attempt('put key', undefined, () => open(folder.path, 'w'))).rejects.toMatchObject({ code: 'invalid' });
  const under = attempt('put key', undefined, () => mkdir('/dev/null/x', { recursive: true }));
  await expect(under).rejects.toMatchObject({ code: 'invalid' });
  await rm(folder.path, { recursive: true });
});

// Whatever a method throws once it was told to stop, it stopped because it was told to; and why is kept.
test('an abort is told as one', async () => {
  const stop = new AbortController();
  const failing = attempt('put key', stop.signal, async () => {
    stop.abort();
    await Promise.reject(errno('EBADF'));
  });
  await expect(failing).rejects.toMatchObject({ code: 'aborted', side: 'archive' });
  const reason = new Failure({ operation: 'x', side: 'source', code: 'network', detail: 'y' });
  await expect(attempt('put key', AbortSignal.abort(reason), () => Promise.resolve())).rejects.toBe(reason);
});
