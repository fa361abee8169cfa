import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { inputFile, readInput } from '../../../lib/core/input-file.ts';
import { tempFolder } from '../../kit/temp.ts';

const LIMIT = 16 * 1024 * 1024;

test('reads a file, an empty file and a pipe', async () => {
  await using folder = await tempFolder();
  await writeFile(folder.join('some'), 'some text');
  await writeFile(folder.join('none'), '');
  expect(String(await readInput(folder.join('some')))).toBe('some text');
  expect(String(await readInput(folder.join('none')))).toBe('');
  await promisify(execFile)('mkfifo', [folder.join('pipe')]);
  const [piped] = await Promise.all([readInput(folder.join('pipe')), writeFile(folder.join('pipe'), 'through a pipe')]);
  expect(String(piped)).toBe('through a pipe');
});

test('reads a file of the maximum size, and no byte more', async () => {
  await using folder = await tempFolder();
  await writeFile(folder.join('full'), Buffer.alloc(LIMIT, 'x'));
  expect((await readInput(folder.join('full'))).length).toBe(LIMIT);
  await writeFile(folder.join('more'), Buffer.alloc(LIMIT + 1, 'x'));
  await expect(readInput(folder.join('more'))).rejects.toThrow(/^expected at most 16777216 bytes$/);
});

test('an abort ends the wait for a pipe without a writer', async () => {
  await using folder = await tempFolder();
  const pipe = folder.join('pipe');
  await promisify(execFile)('mkfifo', [pipe]);
  const controller = new AbortController();
  const reading = inputFile('read configuration', pipe, { signal: controller.signal });
  controller.abort(new Error('stopped'));
  await expect(reading).rejects.toThrow('stopped');
  // The system call itself cannot be stopped.
  await writeFile(pipe, '');
});

test('the error for a path that is a private key, or a URL with a password, contains neither', async () => {
  const pem = '-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----\n';
  await expect(inputFile('read key', pem)).rejects.toMatchObject({
    operation: 'read key -----BEGIN PRIVATE KEY-----[redacted]',
  });
  await expect(inputFile('read key', 'https://me:secret@host/key.pem')).rejects.toMatchObject({
    operation: 'read key https://[redacted]@host/key.pem',
  });
});

test('refuses a device without end', async () => {
  await expect(inputFile('read configuration', '/dev/zero')).rejects.toMatchObject({
    code: 'invalid',
    operation: 'read configuration /dev/zero',
    message: expect.stringContaining('expected at most 16777216 bytes') as string,
  });
});

test('describes a missing file in words', async () => {
  await expect(inputFile('read key', '/nowhere/at/all')).rejects.toMatchObject({
    code: 'invalid',
    operation: 'read key /nowhere/at/all',
    message: expect.stringContaining('no such file or directory') as string,
  });
});
