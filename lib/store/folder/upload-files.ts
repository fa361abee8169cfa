/**
 * The limits for parts in a folder, and the files of an unfinished upload. Others may have created these files (an archive
 * unpacked from a tar file), so a symbolic link, a second name of another file and a named pipe are not opened. A folder
 * with other files than this store creates is not an upload.
 */
import { constants } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../../core/failure.ts';
import { Place } from '../../oci/document.ts';
import type { Part, PartLimits } from '../store.ts';
import { isAbsent, isErrno, isNotAFile } from './errors.ts';
import { BriefFile, readAll } from './files.ts';
import { parseJournal } from './journal.ts';
import { mayBeLock } from './lock.ts';

/**
 * A disk does not need the limits of S3. These limits keep a journal short (as many parts as on S3), and a part within
 * one write (Linux: 2 GiB).
 */
export const FOLDER_PART_LIMITS: PartLimits = {
  minPartBytes: 64 * 1024,
  // A part costs no request here, so it is smaller than on S3, and the same number of parts needs half the memory.
  usualPartBytes: 4 * 1024 ** 2,
  maxPartBytes: 1024 ** 3,
  maxParts: 10_000,
};

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

/** The stored parts by number. */
export async function readJournal(file: FileHandle): Promise<Map<number, Part>> {
  const { size } = await file.stat();
  // This store writes no journal of that length.
  if (size > MAX_JOURNAL_BYTES) return new Map();
  return parseJournal(Buffer.from(await readAll(file, size)).toString('utf8'));
}

/** Returns `undefined` if the folder is not an upload: it is missing, its data is an object by now, or others made it. */
export async function readMeta(folder: string): Promise<Meta | undefined> {
  try {
    const stats = await lstat(folder);
    const data = await lstat(join(folder, 'data'));
    if (!stats.isDirectory() || !data.isFile() || data.nlink !== 1 || !mayBeLock(join(folder, 'lock')))
      return undefined;
    using file = await BriefFile.open(join(folder, 'meta'), constants.O_RDONLY | NO_LINKS);
    const { size } = file.stat();
    if (!file.stat().isFile() || size > MAX_META_BYTES) return undefined;
    return parseMeta(await readAll(file, Number(size)));
  } catch (error) {
    if (isForeign(error)) return undefined;
    throw error;
  }
}

/** An upload that lost its `meta` in a power failure, since it is not synced to disk, cannot be continued: it is ignored. */
function parseMeta(bytes: Uint8Array): Meta | undefined {
  const { minPartBytes, maxPartBytes } = FOLDER_PART_LIMITS;
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
