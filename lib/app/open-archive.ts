import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { asFailure, invalid } from '../core/failure.ts';
import { Archive } from '../archive/archive.ts';
import { attempt, undefinedIfAbsent } from '../store/folder/errors.ts';
import { FolderStore } from '../store/folder/store.ts';
import { ociLayout } from '../archive/oci-layout.ts';
import { checksumsFrom } from '../store/s3/checksums.ts';
import type { S3Store, S3StoreOptions } from '../store/s3/store.ts';
import { isS3Url, parseS3Url } from '../store/s3/url.ts';
import { checkAddress } from './address.ts';
import type { Host } from './host.ts';

export interface OpenArchive extends AsyncDisposable {
  readonly archive: Archive;
  /**
   * Prepares the archive for writes, before anything is fetched.
   *
   * @returns whether no other sync is known to run
   * @throws Failure (side `input`) with the reason why it is not writable
   */
  readonly prepare: () => Promise<{ readonly alone: boolean }>;
}

/**
 * Opens an archive: a folder, or `s3://bucket/prefix`.
 *
 * @param purpose `write` allows an archive that does not exist. For `read` that is an error, so that a mistyped name is not
 *   reported as a correct archive
 */
export async function openArchive(
  name: string,
  purpose: 'read' | 'write',
  { env, signal, platform }: Host,
  options: Pick<S3StoreOptions, 'linkedReads'> = {},
): Promise<OpenArchive> {
  checkAddress(name);
  if (isS3Url(name))
    return openS3(name, purpose, { ...parseS3Url(name), ...options, checksums: checksumsFrom(env) }, signal);
  // See decision 0004.
  if (platform === 'win32')
    throw invalid(
      `open archive ${name}`,
      'a folder archive needs file locks and folder syncs that Windows lacks; use WSL 2, a Linux container, or s3://bucket/prefix',
    );
  return openFolder(name, purpose, signal);
}

async function openFolder(name: string, purpose: 'read' | 'write', signal: AbortSignal): Promise<OpenArchive> {
  const path = absolute(name);
  if (purpose === 'read') await mustBeFolder(path, name);
  const store = new FolderStore(path);
  return {
    archive: new Archive(store, ociLayout),
    prepare: () => ready(name, signal, () => store.prepare({ signal })),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

async function openS3(
  name: string,
  purpose: 'read' | 'write',
  options: S3StoreOptions,
  signal: AbortSignal,
): Promise<OpenArchive> {
  // Loaded when it is needed: the SDK would cost a mirror into a folder a tenth of a second and 25 MB.
  const { S3Store } = await import('../store/s3/store.ts');
  const store = new S3Store(options);
  try {
    if (purpose === 'read') await mustHoldArchive(store, name, signal);
  } catch (error) {
    await store.close();
    throw error;
  }
  return {
    archive: new Archive(store, ociLayout),
    prepare: () =>
      ready(name, signal, async () => {
        await store.prepare({ signal });
        return { alone: true };
      }),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

async function ready<T>(name: string, signal: AbortSignal, prepare: () => Promise<T>): Promise<T> {
  try {
    return await prepare();
  } catch (error) {
    signal.throwIfAborted();
    throw asFailure(error, 'prepare', 'archive').within(`write to ${name}`, 'input');
  }
}

/** An archive has at least one of these below its root. */
const PARTS = ['repositories', 'blobs', '.mirror'] as const;

async function mustBeFolder(path: string, name: string): Promise<void> {
  const kindOf = async (at: string): Promise<'folder' | 'file' | undefined> => {
    const found = await attempt(`open archive ${name}`, undefined, () => stat(at).catch(undefinedIfAbsent));
    return found === undefined ? undefined : found.isDirectory() ? 'folder' : 'file';
  };
  const kind = await kindOf(path);
  if (kind !== 'folder') throw noArchive(name, kind === 'file' ? 'it is a file' : 'the folder does not exist');
  const parts = await Promise.all(PARTS.map((part) => kindOf(join(path, part))));
  if (!parts.includes('folder')) throw noArchive(name, `the folder has none of ${SHOWN_PARTS}`);
}

/** One listing of one key is enough if the archive has a repository. */
async function mustHoldArchive(store: S3Store, name: string, signal: AbortSignal): Promise<void> {
  for (const part of PARTS) if (await store.holds(`${part}/`, { signal })) return;
  throw noArchive(name, `no object below it has a key that begins with ${SHOWN_PARTS}`);
}

const SHOWN_PARTS = PARTS.map((part) => `${part}/`).join(', ');

function noArchive(name: string, why: string): Error {
  return invalid(
    'open archive',
    `${name} is not a mirror-sync archive (${why}); 'mirror-sync sync … --to' creates one`,
  );
}

function absolute(name: string): string {
  try {
    return resolve(name);
  } catch {
    throw invalid(`open archive ${name}`, 'the working directory was deleted; change to another directory');
  }
}
