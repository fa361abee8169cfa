import { constants } from 'node:fs';
import { open, readFile, writeFile, type FileHandle } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { DirectFile } from '../../../lib/archive/folder/direct.ts';
import { writeAll } from '../../../lib/archive/folder/files.ts';
import { sharedPages } from '../../../lib/base/pages.ts';
import { Window } from '../../../lib/mirror/window.ts';
import { randomBytes } from '../../kit/content.ts';
import { tempFolder } from '../../kit/temp.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

/** A file, open as an unfinished upload's data is. */
async function opened(): Promise<{
  readonly path: string;
  readonly usual: FileHandle;
  readonly direct: DirectFile;
  [Symbol.asyncDispose](): Promise<void>;
}> {
  const folder = await tempFolder();
  const path = folder.join('data');
  await writeFile(path, '');
  const usual = await open(path, 'r+');
  const direct = await DirectFile.open(path);
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

/** Why this machine writes nothing past its page cache; asked of the operating system, not of what is tested here. */
async function whyNot(): Promise<string | undefined> {
  const flag = constants.O_DIRECT as number | undefined;
  if (flag === undefined) return `${process.platform} has no O_DIRECT`;
  await using folder = await tempFolder();
  try {
    await using file = await open(folder.join('probe'), constants.O_CREAT | constants.O_WRONLY | flag);
    await file.write(aligned(MiB, 0), 0, MiB, 0);
    return undefined;
  } catch {
    return 'the file system of the temporary folder takes no O_DIRECT';
  }
}

const lacking = await whyNot();

describe('past the page cache', () => {
  if (lacking !== undefined) {
    // Nothing that could be installed would change it.
    test.skip(`skipped: ${lacking}`, () => undefined);
    return;
  }

  test('go all whole blocks; the end is left', async () => {
    await using file = await opened();
    const bytes = aligned(MiB + 100, 1);
    const first = aligned(MiB, 2);
    expect(await file.direct.write(bytes, MiB)).toBe(MiB);
    expect(await file.direct.write(first, 0)).toBe(MiB);
    await writeAll(file.usual, bytes.subarray(MiB), 2 * MiB);
    expect(await readFile(file.path)).toEqual(Buffer.concat([first, bytes]));
  });

  test('goes what is over what came the usual way, and the other way round', async () => {
    await using file = await opened();
    await writeAll(file.usual, aligned(2 * MiB, 3), 0);
    const direct = aligned(MiB, 4);
    expect(await file.direct.write(direct, 0)).toBe(MiB);
    const usual = aligned(512 * KiB, 5);
    await writeAll(file.usual, usual, MiB);
    const content = await readFile(file.path);
    expect(content.subarray(0, MiB).equals(direct)).toBe(true);
    expect(content.subarray(MiB, MiB + 512 * KiB).equals(usual)).toBe(true);
  });

  test('goes a buffer of the window, also one that was used before', async () => {
    await using file = await opened();
    const window = new Window(8 * MiB);
    for (const bytes of [4 * MiB, 3 * MiB + 1000, 300_000, 5 * MiB]) {
      const buffer = await window.take(bytes);
      expect(await file.direct.write(buffer, 0)).toBe(bytes - (bytes % 4096));
      window.give(buffer);
    }
  });

  // Most file systems refuse it (ext4, xfs), some take it (tmpfs, btrfs): either way all of it is there at the end.
  test('what does not begin on a page is not lost', async () => {
    await using file = await opened();
    const askew = filled(new Uint8Array(sharedPages(2 * MiB), 1, MiB), 6);
    for (const bytes of [askew, aligned(MiB, 7)]) {
      const written = await file.direct.write(bytes, 0);
      expect([0, MiB]).toContain(written);
      await writeAll(file.usual, bytes.subarray(written), written);
      expect((await readFile(file.path)).equals(bytes)).toBe(true);
    }
  });
});

test.each([
  ['what is small', 64 * KiB, 0],
  ['what begins within a block', MiB, 100],
])('%s goes the usual way', async (_, bytes, start) => {
  await using file = await opened();
  expect(await file.direct.write(aligned(bytes, 7), start)).toBe(0);
});

test('a file that cannot be written fails as it does otherwise', async () => {
  await using folder = await tempFolder();
  await expect(DirectFile.open(folder.join('absent'))).rejects.toMatchObject({ code: 'ENOENT' });
  await using file = await opened();
  await file.direct.close();
  if (lacking === undefined) await expect(file.direct.write(aligned(MiB, 8), 0)).rejects.toThrow();
});
