import type { Stats } from 'node:fs';
import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ListedObject } from '../store.ts';
import { isAbsent, refuse, undefinedIfAbsent } from './errors.ts';
import type { Paths } from './paths.ts';

/** The number of concurrent stat calls, and of directory entries in memory. */
const BATCH = 64;

/**
 * Lists all objects whose key starts with `prefix`. Other folders are not read. Files that are deleted meanwhile are skipped. A
 * link to a folder is an error, so that no command reports a part of an archive as the whole.
 */
export async function* list(
  paths: Paths,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<ListedObject, void, void> {
  const folders = [prefix.slice(0, prefix.lastIndexOf('/') + 1)];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for await (const names of batches(paths, folder === '' ? paths.root : paths.object(folder.slice(0, -1)))) {
      signal?.throwIfAborted();
      const keys: string[] = [];
      for (const { name, kind } of names) {
        const key = folder + name;
        // Above the last slash of the prefix only one folder matches, and below it all folders.
        const leadsOn = `${key}/`.startsWith(prefix.slice(0, key.length + 1));
        if (paths.isOwn(key) || (!leadsOn && !key.startsWith(prefix))) continue;
        const isFolder = kind === 'folder' || (kind === 'link' && (await statOf(paths, key))?.isDirectory() === true);
        if (isFolder && kind === 'link' && !paths.mayBeLink(key)) {
          if (isForTools(key)) continue;
          throw refuse(
            `list ${folder}`,
            'invalid',
            `${key} is a symbolic link to a folder; replace it with a real folder (only "blobs" may be a link)`,
          );
        }
        if (isFolder && leadsOn) folders.push(`${key}/`);
        if (!isFolder && key.startsWith(prefix)) keys.push(key);
      }
      for (const listed of await Promise.all(keys.map((key) => listedOf(paths, key))))
        if (listed !== undefined) yield listed;
    }
  }
}

interface Name {
  readonly name: string;
  readonly kind: 'folder' | 'link' | 'file';
}

async function* batches(paths: Paths, path: string): AsyncGenerator<Name[], void, void> {
  try {
    let batch: Name[] = [];
    paths.checkReal(path);
    for await (const entry of await opendir(path, { bufferSize: BATCH })) {
      const kind = entry.isDirectory() ? 'folder' : entry.isSymbolicLink() ? 'link' : 'file';
      batch.push({ name: entry.name, kind });
      if (batch.length < BATCH) continue;
      yield batch;
      batch = [];
    }
    yield batch;
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
}

/** A repository's link to the blobs for standard tools (README.md); the archive does not use it. */
function isForTools(key: string): boolean {
  return key.startsWith('repositories/') && key.endsWith('/blobs');
}

function statOf(paths: Paths, key: string): Promise<Stats | undefined> {
  return stat(join(paths.root, key)).catch(undefinedIfAbsent);
}

async function listedOf(paths: Paths, key: string): Promise<ListedObject | undefined> {
  const stats = await statOf(paths, key);
  return stats?.isFile() === true ? { key, size: stats.size, modified: stats.mtime } : undefined;
}
