import { execFile } from 'node:child_process';
import { constants as os } from 'node:os';
import { constants, open, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { systemWords, wordsFor } from '../../../lib/core/system-error.ts';
import { tempFolder } from '../../kit/temp.ts';

const errno = (code: string): Error => Object.assign(new Error(`${code}: raw, read`), { code });

describe('systemWords', () => {
  test('describes a real file error and a real connection error in words', async () => {
    const absent: unknown = await readFile('/nowhere/at/all').catch((error: unknown) => error);
    expect(systemWords(absent)).toBe('no such file or directory');
    const folder: unknown = await readFile(import.meta.dirname).catch((error: unknown) => error);
    expect(systemWords(folder)).toBe('it is a directory');
    const [refused] = (await once(connect(1, '127.0.0.1'), 'error').catch((error: unknown) => [error])) as [unknown];
    expect(systemWords(refused)).toBe('the connection was refused');
  });

  test('describes a device without a reader and an address of another machine in words', async () => {
    await using folder = await tempFolder();
    await promisify(execFile)('mkfifo', [folder.join('pipe')]);
    const flags = constants.O_WRONLY | constants.O_NONBLOCK;
    const device: unknown = await open(folder.join('pipe'), flags).catch((error: unknown) => error);
    expect(systemWords(device)).toBe('no such device');
    const socket = connect({ port: 1, host: '127.0.0.1', localAddress: '192.0.2.1' });
    const [address] = (await once(socket, 'error').catch((error: unknown) => [error])) as [unknown];
    expect(systemWords(address)).toBe('no local address or port is free for the connection');
  });

  test.each([
    ['EACCES', 'permission denied'],
    ['EHOSTUNREACH', 'no route to the host'],
    ['ENETUNREACH', 'the network is unreachable'],
    ['ENOTFOUND', 'the host name is unknown'],
    ['EPROTO', undefined],
  ])('describes %s as %s', (code, words) => {
    expect(systemWords(errno(code))).toBe(words);
  });

  test('describes an error without a name in libuv by its number', () => {
    const unknown = (errno: number): Error =>
      Object.assign(new Error('UNKNOWN: unknown error, open'), { code: 'UNKNOWN', errno });
    expect(systemWords(unknown(-os.errno.ESTALE))).toBe('the network file system no longer knows the file');
    expect(systemWords(unknown(-4094))).toBeUndefined();
  });

  test('uses the first of several connection errors', () => {
    expect(systemWords(new AggregateError([errno('ECONNREFUSED'), errno('ENETUNREACH')]))).toBe(
      'the connection was refused',
    );
  });

  test('keeps the message of an error without a known code', () => {
    expect(wordsFor(errno('EPROTO'))).toBe('EPROTO: raw, read');
    expect(wordsFor('text')).toBe('text');
  });
});
