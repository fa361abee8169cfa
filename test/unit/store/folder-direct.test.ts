import { constants } from 'node:fs';
import { open, readFile, writeFile, type FileHandle } from 'node:fs/promises';
import { describe, expect, test, vi } from 'vitest';
import { DirectFile } from '../../../lib/store/folder/direct.ts';
import { writeAll } from '../../../lib/store/folder/files.ts';
import { sharedPages } from '../../../lib/core/pages.ts';
import { BufferPool } from '../../../lib/sync/transfer/buffer-pool.ts';
import { randomBytes } from '../../kit/content.ts';
import { tempFolder } from '../../kit/temp.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

/** A file that is open like the data of an unfinished upload. */
interface Opened extends AsyncDisposable {
  readonly path: string;
  readonly usual: FileHandle;
  readonly direct: DirectFile;
}

async function opened(): Promise<Opened> {
  const folder = await tempFolder();
  const path = folder.join('data');
  await writeFile(path, '');
  const usual = await open(path, 'r+');
  const direct = await DirectFile.open(path, constants.O_WRONLY, await usual.stat({ bigint: true }));
  return {
    path,
    usual,
    direct,
    async [Symbol.asyncDispose]() {
      await usual.close();
      await direct.close();
      await folder.remove();
    },
  };
}

function filled(memory: Uint8Array, seed: number): Uint8Array {
  memory.set(randomBytes(memory.length, seed));
  return memory;
}

function aligned(bytes: number, seed: number): Uint8Array {
  return filled(new Uint8Array(sharedPages(Math.ceil(bytes / MiB) * MiB), 0, bytes), seed);
}

/** Whether this machine supports O_DIRECT, determined without the code under test. */
async function probe(): Promise<boolean> {
  const flag = constants.O_DIRECT as number | undefined;
  if (flag === undefined) return false;
  await using folder = await tempFolder();
  try {
    await using file = await open(folder.join('probe'), constants.O_CREAT | constants.O_WRONLY | flag);
    await file.write(aligned(MiB, 0), 0, MiB, 0);
    return true;
  } catch {
    return false;
  }
}

const possible = await probe();

/** Writes like an upload writes a part; resolves to the number of bytes that bypassed the page cache. */
async function write({ direct, usual }: Opened, bytes: Uint8Array, start: number): Promise<number> {
  const written = await direct.write(bytes, start);
  await writeAll(usual, bytes.subarray(written), start + written);
  return written;
}

// Without O_DIRECT all bytes are written in the usual way, with the same result.
describe('writes without the page cache', () => {
  const whole = (bytes: number): number => (possible ? bytes - (bytes % 4096) : 0);

  test('cover all whole blocks, but not the end', async () => {
    await using file = await opened();
    const second = aligned(MiB + 100, 1);
    const first = aligned(MiB, 2);
    expect(await write(file, second, MiB)).toBe(whole(MiB + 100));
    expect(await write(file, first, 0)).toBe(whole(MiB));
    expect((await readFile(file.path)).equals(Buffer.concat([first, second]))).toBe(true);
  });

  test('replace bytes of usual writes, and usual writes replace theirs', async () => {
    await using file = await opened();
    await writeAll(file.usual, aligned(2 * MiB, 3), 0);
    const over = aligned(MiB, 4);
    expect(await write(file, over, 0)).toBe(whole(MiB));
    const usual = aligned(512 * KiB, 5);
    await writeAll(file.usual, usual, MiB);
    const content = await readFile(file.path);
    expect(content.subarray(0, MiB).equals(over)).toBe(true);
    expect(content.subarray(MiB, MiB + 512 * KiB).equals(usual)).toBe(true);
  });

  test('accept the large buffers of the pool, even reused ones', async () => {
    await using file = await opened();
    const pool = new BufferPool(24 * MiB);
    for (const bytes of [4 * MiB, 5 * MiB + 1000, 8 * MiB, 6 * MiB]) {
      const buffer = await pool.take(bytes);
      expect(await write(file, buffer, 0)).toBe(whole(bytes));
      if (bytes !== 4 * MiB) pool.give(buffer, false);
    }
  });

  // Most file systems refuse unaligned memory (ext4, xfs), and some accept it (tmpfs, btrfs).
  test('fall back to the usual way for unaligned memory', async () => {
    await using file = await opened();
    const askew = filled(new Uint8Array(sharedPages(2 * MiB), 1, MiB), 6);
    for (const bytes of [askew, aligned(MiB, 7)]) {
      expect([0, MiB]).toContain(await write(file, bytes, 0));
      expect((await readFile(file.path)).equals(bytes)).toBe(true);
    }
  });

  // Each write occupies one of the four threads that open files and look up hosts.
  test('run at most twice concurrently over all files', async () => {
    await using one = await opened();
    await using other = await opened();
    const bytes = aligned(MiB, 8);
    let now = 0;
    let most = 0;
    const prototype = Object.getPrototypeOf(one.usual) as FileHandle;
    const writing = vi.spyOn(prototype, 'write').mockImplementation(async () => {
      most = Math.max(most, (now += 1));
      await new Promise(setImmediate);
      now -= 1;
      return { bytesWritten: MiB, buffer: '' };
    });
    try {
      await Promise.all([one, other].flatMap(({ direct }) => [0, 1, 2].map((part) => direct.write(bytes, part * MiB))));
    } finally {
      writing.mockRestore();
    }
    expect(most).toBe(possible ? 2 : 0);
  });
});

test.each([
  ['what is small', 64 * KiB, 0],
  ['what begins within a block', MiB, 100],
])('%s is written in the usual way', async (_, bytes, start) => {
  await using file = await opened();
  expect(await write(file, aligned(bytes, 7), start)).toBe(0);
});

test('writes nothing to another file that has taken the name', async () => {
  await using file = await opened();
  await writeFile(`${file.path}.other`, '');
  await using other = await open(`${file.path}.other`, 'r');
  const direct = await DirectFile.open(file.path, constants.O_WRONLY, await other.stat({ bigint: true }));
  expect(await direct.write(aligned(MiB, 9), 0)).toBe(0);
  expect((await file.usual.stat()).size).toBe(0);
});

test('a missing or closed file leads to the same error as in the usual way', async () => {
  await using folder = await tempFolder();
  await using file = await opened();
  const same = await file.usual.stat({ bigint: true });
  const opening = DirectFile.open(folder.join('absent'), constants.O_WRONLY, same);
  await expect(opening).rejects.toMatchObject({ code: 'ENOENT' });
  await file.direct.close();
  await file.usual.close();
  await expect(write(file, aligned(MiB, 8), 0)).rejects.toThrow();
});
