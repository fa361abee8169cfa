import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ListedObject } from '../store.ts';
import { isAbsent } from './errors.ts';
import type { Paths } from './paths.ts';

/** Files that are looked at side by side, and directory entries that are held at once. */
const BATCH = 64;

/** All objects whose key starts with `prefix`. Folders that cannot hold any are not read; what vanishes meanwhile is not there. */
export async function* list(
  paths: Paths,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<ListedObject, void, void> {
  const folders = [prefix.slice(0, prefix.lastIndexOf('/') + 1)];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for await (const names of batches(folder === '' ? paths.root : paths.object(folder.slice(0, -1)))) {
      signal?.throwIfAborted();
      const keys: string[] = [];
      for (const { name, isFolder } of names) {
        const key = folder + name;
        if (paths.isOwn(key)) continue;
        if (!isFolder && key.startsWith(prefix)) keys.push(key);
        // Above the prefix's last slash there is one way down, below it every way.
        if (isFolder && `${key}/`.startsWith(prefix.slice(0, key.length + 1))) folders.push(`${key}/`);
      }
      for (const listed of await Promise.all(keys.map((key) => look(paths, key))))
        if (listed !== undefined) yield listed;
    }
  }
}

interface Name {
  readonly name: string;
  readonly isFolder: boolean;
}

async function* batches(path: string): AsyncGenerator<Name[], void, void> {
  try {
    let batch: Name[] = [];
    for await (const entry of await opendir(path, { bufferSize: BATCH })) {
      batch.push({ name: entry.name, isFolder: entry.isDirectory() });
      if (batch.length < BATCH) continue;
      yield batch;
      batch = [];
    }
    yield batch;
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
}

async function look(paths: Paths, key: string): Promise<ListedObject | undefined> {
  try {
    const stats = await stat(join(paths.root, key));
    return stats.isFile() ? { key, size: stats.size, modified: stats.mtime } : undefined;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
