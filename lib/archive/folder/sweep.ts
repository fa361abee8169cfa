import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbsent } from './errors.ts';
import type { Paths } from './paths.ts';
import { isUpload } from './uploads.ts';

/** Milliseconds after which what lies under a temporary name belongs to no living process: nothing that has one takes a day. */
const LEFT_OVER_MS = 24 * 60 * 60 * 1000;

/** Removes what killed processes left behind: temporary files, and the remains of uploads. */
export async function sweep(paths: Paths): Promise<void> {
  for (const path of await old(paths.temporary)) await rm(path, { recursive: true, force: true });
  for (const path of await old(paths.uploads))
    if (!(await isUpload(path))) await rm(path, { recursive: true, force: true });
}

async function old(folder: string): Promise<string[]> {
  const before = Date.now() - LEFT_OVER_MS;
  const found: string[] = [];
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    try {
      if ((await stat(path)).mtimeMs < before) found.push(path);
    } catch (error) {
      // Another process was faster.
      if (!isAbsent(error)) throw error;
    }
  }
  return found;
}
