import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
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
 * @param purpose `write` makes it where it is not there yet; for `read` a folder that is not there is an error
 */
export async function openArchive(name: string, purpose: 'read' | 'write'): Promise<OpenArchive> {
  if (isS3Url(name)) {
    // Loaded when it is needed: the SDK would cost a mirror into a folder a tenth of a second and 25 MB.
    const { openS3Store } = await import('../archive/s3/store.ts');
    const store = openS3Store(parseS3Url(name));
    return { archive: new Archive(store, ociLayout), [Symbol.asyncDispose]: () => store.close() };
  }
  const path = resolve(name);
  if (purpose === 'read') await mustBeFolder(path, name);
  const store = new FolderStore(path);
  return { archive: new Archive(store, ociLayout), [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

async function mustBeFolder(path: string, name: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() !== true)
    throw invalid(`open archive ${name}`, 'there is no such folder; `mirror-sync sync … --to` makes one');
}
