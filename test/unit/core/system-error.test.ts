import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { systemWords, wordsFor } from '../../../lib/core/system-error.ts';

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

  test.each([
    ['EACCES', 'permission denied'],
    ['EHOSTUNREACH', 'no route to the host'],
    ['ENETUNREACH', 'the network is unreachable'],
    ['ENOTFOUND', 'the host name is unknown'],
    ['EPROTO', undefined],
  ])('describes %s as %s', (code, words) => {
    expect(systemWords(errno(code))).toBe(words);
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
