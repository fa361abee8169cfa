import { randomUUID } from 'node:crypto';
import type * as fs from 'node:fs/promises';
import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { FolderStore } from '../../../lib/store/folder/store.ts';
import { tempFolder } from '../../kit/temp.ts';

const LONG_AGO = new Date(Date.now() - 25 * 60 * 60 * 1000);

const other = vi.hoisted(() => ({
  /** Called before the store looks at a path. */
  beforeLook: undefined as ((path: string) => Promise<void>) | undefined,
}));

vi.mock('node:fs/promises', async (importOriginal) => {
  const original = await importOriginal<typeof fs>();
  return {
    ...original,
    lstat: async (path: string) => {
      await other.beforeLook?.(path);
      return original.lstat(path);
    },
  };
});

test('the sweep ignores a file that another process removes first', async () => {
  await using folder = await tempFolder();
  const temporary = folder.join('ar/.mirror/tmp');
  await mkdir(temporary, { recursive: true });
  const names = [randomUUID(), randomUUID()];
  for (const name of names) {
    await writeFile(`${temporary}/${name}`, 'x');
    await utimes(`${temporary}/${name}`, LONG_AGO, LONG_AGO);
  }
  const { rm } = await vi.importActual<typeof fs>('node:fs/promises');
  const removed: string[] = [];
  other.beforeLook = async (path) => {
    if (removed.length > 0 || !names.some((name) => path.endsWith(name))) return;
    removed.push(path);
    await rm(path);
  };
  await using store = new FolderStore(folder.join('ar'));
  await store.put('key', Buffer.from('x'));
  expect(removed).toHaveLength(1);
  expect(await readdir(temporary)).toEqual([]);
});
