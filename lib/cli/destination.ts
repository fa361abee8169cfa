import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { invalid } from '../base/failure.ts';
import { Archive } from '../archive/archive.ts';
import { FolderStore } from '../archive/folder/store.ts';
import { ociLayout } from '../archive/oci-layout.ts';
import { isS3Url, parseS3Url } from '../archive/s3/url.ts';

export interface OpenArchive extends AsyncDisposable {
  readonly archive: Archive;
}

/**
 * An archive as a user names it: a folder, or `s3://bucket/prefix`.
 *
 * @param purpose `write` makes it where it is not there yet; for `read` a folder that is not there, or is no archive, is an
 *   error: of a wrong name nobody may be told that all is well with it
 */
export async function openArchive(name: string, purpose: 'read' | 'write'): Promise<OpenArchive> {
  if (isS3Url(name)) {
    // Loaded when it is needed: the SDK would cost a mirror into a folder a tenth of a second and 25 MB.
    const { openS3Store } = await import('../archive/s3/store.ts');
    const store = openS3Store(parseS3Url(name));
    return { archive: new Archive(store, ociLayout), [Symbol.asyncDispose]: () => store.close() };
  }
  const path = resolve(name);
  if (purpose === 'read') await mustBeArchive(path, name);
  const store = new FolderStore(path);
  return { archive: new Archive(store, ociLayout), [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

/** What an archive has below its root, one of these at least. */
const PARTS = ['repositories', 'blobs', '.mirror'];

async function mustBeArchive(path: string, name: string): Promise<void> {
  if (!(await isFolder(path)))
    throw invalid(`open archive ${name}`, 'there is no such folder; `mirror-sync sync … --to` makes one');
  const parts = await Promise.all(PARTS.map((part) => isFolder(join(path, part))));
  if (!parts.includes(true))
    throw invalid(`open archive ${name}`, `the folder is no archive: there is none of ${PARTS.join(', ')} in it`);
}

async function isFolder(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isDirectory() === true;
}
