import type fsPromises from 'node:fs/promises';
import { afterEach, expect, test, vi } from 'vitest';
import { makeFolder } from '../../../lib/store/folder/files.ts';
import { FolderStore } from '../../../lib/store/folder/store.ts';
import { tempFolder } from '../../kit/temp.ts';

const system = vi.hoisted(() => ({ made: [] as string[], answer: undefined as string | undefined }));

vi.mock('node:fs/promises', async (importOriginal) => {
  const original = await importOriginal<typeof fsPromises>();
  return {
    ...original,
    mkdir: (path: string, options?: { readonly recursive: boolean }) => {
      system.made.push(path);
      const { answer } = system;
      if (answer === undefined || !path.includes('mount')) return original.mkdir(path, options);
      return Promise.reject(Object.assign(new Error(`${answer}: from the file system`), { code: answer, errno: -1 }));
    },
  };
});

afterEach(() => {
  system.made = [];
  system.answer = undefined;
});

test('folders are created one by one below the first that exists', async () => {
  await using folder = await tempFolder();
  await makeFolder(folder.join('a/b/c'));
  expect(system.made).toEqual(['a', 'a/b', 'a/b/c'].map((path) => folder.join(path)));
  await makeFolder(folder.join('a/b/c'));
  expect(system.made).toHaveLength(3);
});

// Automounters and /proc answer ENOENT although the parent exists, and a read-only file system answers EROFS.
test.each([
  ['ENOENT', 'denied', 'no such file or directory, although its parent exists'],
  ['EROFS', 'denied', 'the file system is mounted read-only'],
  ['EACCES', 'denied', 'check the owner and the permissions of the folder'],
  ['ENOSPC', 'no-space', 'the disk is full'],
])('a file system that answers %s is asked once, and the error is described in words', async (answer, code, words) => {
  await using folder = await tempFolder();
  await using store = new FolderStore(folder.join('mount/archive'));
  system.answer = answer;
  await expect(store.prepare()).rejects.toMatchObject({
    code,
    remedy: 'never',
    message: expect.stringContaining(words) as string,
  });
  expect(system.made).toEqual([folder.join('mount')]);
});
