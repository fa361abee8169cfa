import { mkdir, open, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { expect, test } from 'vitest';
import { attempt, toFailure } from '../../../lib/store/folder/errors.ts';
import { Failure } from '../../../lib/core/failure.ts';
import { systemWords } from '../../../lib/core/system-error.ts';
import { tempFolder } from '../../kit/temp.ts';

function errno(code: string): Error {
  return Object.assign(new Error(`${code}: what libuv says, write`), { code, errno: -1, syscall: 'write' });
}

test.each([
  ['ENOSPC', 'no-space', 'never', 'free some space'],
  ['EDQUOT', 'no-space', 'never', 'quota'],
  ['EACCES', 'denied', 'never', 'permissions'],
  ['EROFS', 'denied', 'never', 'read-only'],
  ['ENAMETOOLONG', 'invalid', 'never', 'longer'],
  ['EMFILE', 'io', 'retry', 'ulimit -n'],
  ['EIO', 'io', 'retry', 'libuv'],
  ['constructor', 'io', 'retry', 'libuv'],
])('%s is reported as %s with its remedy', (code, failure, remedy, detail) => {
  expect(toFailure(errno(code), 'put key')).toMatchObject({
    operation: 'put key',
    side: 'archive',
    code: failure,
    remedy,
    detail: expect.stringContaining(detail),
  });
});

test.each(['ENOENT', 'EROFS', 'ENFILE', 'EBUSY', 'ESTALE', 'ENODEV'])(
  '%s is described in the same words as everywhere else',
  (code) => {
    expect(toFailure(errno(code), 'put key').detail).toContain(systemWords(errno(code)));
  },
);

// libuv has no name for them: synchronous and asynchronous calls report them in these two forms.
test.each([
  ['EDQUOT', 'UNKNOWN', 'no-space', 'the disk quota is used up; free some space'],
  ['EDQUOT', getSystemErrorName(-constants.errno.EDQUOT), 'no-space', 'the disk quota is used up; free some space'],
  ['ESTALE', 'UNKNOWN', 'io', 'the network file system no longer knows the file; check the mount'],
] as const)('%s with the code "%s" is reported as %s', (name, code, failure, detail) => {
  const error = Object.assign(new Error(`${code}: unknown error, write`), { code, errno: -constants.errno[name] });
  expect(toFailure(error, 'put key')).toMatchObject({ code: failure, detail: expect.stringContaining(detail) });
});

test('a bug is reported as an internal failure', () => {
  expect(toFailure(new TypeError('x is undefined'), 'put key')).toMatchObject({ code: 'internal' });
});

// A full device, a folder instead of a file, and a file instead of a folder.
test('errors of the real operating system have a code', async () => {
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

test('an error after an abort is reported as the abort, with its reason', async () => {
  const stop = new AbortController();
  const failing = attempt('put key', stop.signal, async () => {
    stop.abort();
    await Promise.reject(errno('EBADF'));
  });
  await expect(failing).rejects.toMatchObject({ code: 'aborted', side: 'archive' });
  const reason = new Failure({ operation: 'x', side: 'source', code: 'network', detail: 'y' });
  await expect(attempt('put key', AbortSignal.abort(reason), () => Promise.resolve())).rejects.toBe(reason);
});
