/**
 * Opens the files of an unfinished upload. Others may have created them (an archive unpacked from a tar file), so a
 * symbolic link, a second name of another file and a named pipe are not opened. A folder with other files than this store
 * creates is not an upload.
 */
import { constants, lstatSync } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../../core/failure.ts';
import { Place } from '../../oci/document.ts';
import type { PartLimits } from '../store.ts';
import { isAbsent, isErrno, isNotAFile } from './errors.ts';
import { BriefFile, readAll } from './files.ts';

/** Bytes. A meta file has about 200. */
const MAX_META_BYTES = 64 * 1024;

/** Bytes. Ten thousand parts, each written a few times, need less. A longer journal is not read into memory. */
const MAX_JOURNAL_BYTES = 16 * 1024 * 1024;

const NO_LINKS = constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Flags for the existing and new files of an upload. */
export const FLAGS = {
  data: constants.O_RDWR | NO_LINKS,
  direct: constants.O_WRONLY | NO_LINKS,
  journal: constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | NO_LINKS,
} as const;

export interface Meta {
  readonly version: 1;
  readonly key: string;
  readonly partSize: number;
  /** ISO 8601. */
  readonly initiated: string;
}

/** Opens one of an upload's files for writing; `undefined` if it is not a file of this upload alone. */
export async function openOwn(path: string, flags: number): Promise<FileHandle | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, flags);
  } catch (error) {
    if (isForeign(error)) return undefined;
    throw error;
  }
  const stats = await file.stat();
  if (stats.isFile() && stats.nlink === 1) return file;
  await file.close();
  return undefined;
}

export async function readJournal(file: FileHandle): Promise<string> {
  const { size } = await file.stat();
  // This store writes no journal of that length.
  if (size > MAX_JOURNAL_BYTES) return '';
  return Buffer.from(await readAll(file, size)).toString('utf8');
}

/** Returns `undefined` if the folder is not an upload: it is missing, its data is an object by now, or others made it. */
export async function readMeta(folder: string, limits: PartLimits): Promise<Meta | undefined> {
  try {
    const stats = await lstat(folder);
    const data = await lstat(join(folder, 'data'));
    if (!stats.isDirectory() || !data.isFile() || data.nlink !== 1 || !isLock(join(folder, 'lock'))) return undefined;
    using file = await BriefFile.open(join(folder, 'meta'), constants.O_RDONLY | NO_LINKS);
    const { size } = file.stat();
    if (!file.stat().isFile() || size > MAX_META_BYTES) return undefined;
    return parseMeta(await readAll(file, Number(size)), limits);
  } catch (error) {
    if (isForeign(error)) return undefined;
    throw error;
  }
}

function isLock(path: string): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found === undefined || (found.isFile() && found.size === 0);
}

/** An upload that lost its `meta` in a power failure, since it is not synced to disk, cannot be continued: it is ignored. */
function parseMeta(bytes: Uint8Array, { minPartBytes, maxPartBytes }: PartLimits): Meta | undefined {
  try {
    const place = Place.ofBytes('read upload', bytes);
    const [version, key, partSize, initiated] = [
      place.at('version').integer(),
      place.at('key').text(),
      place.at('partSize').integer(),
      place.at('initiated').text(),
    ];
    if (version !== 1 || partSize < minPartBytes || partSize > maxPartBytes) return undefined;
    return Number.isNaN(Date.parse(initiated)) ? undefined : { version, key, partSize, initiated };
  } catch (error) {
    if (error instanceof Failure) return undefined;
    throw error;
  }
}

/** open(2) fails with ELOOP for a symbolic link (FreeBSD: EMLINK), EISDIR for a folder, and ENXIO for a socket. */
function isForeign(error: unknown): boolean {
  return isAbsent(error) || isNotAFile(error) || isErrno(error, 'ELOOP', 'EMLINK', 'EISDIR');
}
