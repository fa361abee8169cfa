import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { undefinedIfAbsent } from './errors.ts';
import { isUuid, type Paths } from './paths.ts';
import { readMeta } from './upload-files.ts';

/** A process needs a temporary file for less than this time. */
const LEFT_OVER_MS = 24 * 60 * 60 * 1000;

/**
 * Removes the temporary files and incomplete uploads of killed processes. Only names and types of files that the store
 * creates are removed; all other files stay.
 */
export async function sweep(paths: Paths): Promise<void> {
  await removeAll(await old(paths, paths.temporary, 'either'));
  const uploads = await old(paths, paths.uploads, 'folder');
  // The remains of an upload without its data, or its meta.
  for (const path of uploads) if ((await readMeta(path)) === undefined) await removeAll([path]);
  await removeAll((await old(paths, paths.temporaryOfBlobs, 'file').catch(undefinedIfAbsent)) ?? []);
}

/** `rm` removes links, and never their targets. */
async function removeAll(found: readonly string[]): Promise<void> {
  for (const path of found) await rm(path, { recursive: true, force: true });
}

async function old(paths: Paths, folder: string, kind: 'file' | 'folder' | 'either'): Promise<string[]> {
  paths.checkReal(folder);
  const before = Date.now() - LEFT_OVER_MS;
  const found: string[] = [];
  for (const name of (await readdir(folder)).filter(isUuid)) {
    const path = join(folder, name);
    // Undefined if another process has removed it.
    const stats = await lstat(path).catch(undefinedIfAbsent);
    if (stats === undefined || stats.mtimeMs >= before) continue;
    if ((stats.isFile() && kind !== 'folder') || (stats.isDirectory() && kind !== 'file')) found.push(path);
  }
  return found;
}
