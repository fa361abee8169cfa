/**
 * Loaded before a program (`--import`): kills it, as `kill -9` does, just before the n-th call that changes the visible
 * state of the file system, with n from MIRROR_SYNC_TEST_DIE_AT. Before it is killed at a write, it writes half of the
 * bytes. A program that was not killed prints the number of these calls at its end. Syncs do not count, because only a
 * power failure reveals them.
 */
import fs from 'node:fs';
import fsPromises, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

const dieAt = Number(process.env['MIRROR_SYNC_TEST_DIE_AT'] ?? Infinity);
let steps = 0;

type Method = (...args: unknown[]) => unknown;

function step(beforeDying?: () => void): void {
  steps += 1;
  if (steps !== dieAt) return;
  beforeDying?.();
  process.kill(process.pid, 'SIGKILL');
}

function counted(object: object, name: string, beforeDying?: (self: unknown, args: unknown[]) => void): void {
  const methods = object as Record<string, Method>;
  const original = methods[name]!;
  const counting = function (this: unknown, ...args: unknown[]): unknown {
    step(() => beforeDying?.(this, args));
    return original.apply(this, args);
  };
  // `promisify` uses the properties of the function.
  methods[name] = Object.defineProperties(counting, Object.getOwnPropertyDescriptors(original));
}

const { writeSync } = fs;

function writeHalf(fd: number, [data, from, length, position]: unknown[]): void {
  const half = Math.floor((typeof data === 'string' ? data.length : (length as number)) / 2);
  if (typeof data === 'string') writeSync(fd, data.slice(0, half));
  else writeSync(fd, data as Uint8Array, from as number, half, position as number);
}

for (const name of ['mkdir', 'rename', 'rm', 'writeFile']) counted(fsPromises, name);
for (const name of ['renameSync', 'unlinkSync']) counted(fs, name);
for (const name of ['write', 'writeSync'])
  counted(fs, name, (_, [fd, ...args]) => {
    writeHalf(fd as number, args);
  });
const handle = await fsPromises.open(import.meta.filename);
const prototype = Object.getPrototypeOf(handle) as object;
await handle.close();
counted(prototype, 'truncate');
for (const name of ['write', 'appendFile'])
  counted(prototype, name, (self, args) => {
    writeHalf((self as FileHandle).fd, args);
  });
syncBuiltinESMExports();
steps = 0;
process.on('exit', () => {
  process.stdout.write(`steps ${steps}\n`);
});
