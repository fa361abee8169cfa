/**
 * The version of a file. Up to a limit it is the hash of the bytes, which is correct on every file system and in copies of
 * the folder; all conditionally replaced objects are that small. Above the limit it is the size, the modification time and
 * the inode, which fail only for two synced replacements of equal size within one tick of the clock (4 ms).
 */
import { hash } from 'node:crypto';
import { type BigIntStats, closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { isAbsent, isNotAFile, refuse } from './errors.ts';
import type { StoredBytes } from '../store.ts';
import { READ_ONLY, readAll, type Readable } from './files.ts';

/** The limit for hashing; no manifest is larger (OCI distribution spec 1.1, "Pushing Manifests"). */
export const HASHED_BYTES = 4 * 1024 * 1024;

/** @param sha256 of the whole file; required up to HASHED_BYTES */
export function etagOf(stats: BigIntStats, sha256: string | undefined): string {
  return stats.size <= HASHED_BYTES ? `sha256-${sha256}` : `file-${stats.size}-${stats.mtimeNs}-${stats.ino}`;
}

/**
 * The version of an open file, and its bytes if they were read for the version.
 *
 * @throws Failure `truncated` if the file is shorter than its size in `stats`
 */
export async function versionOf(
  operation: string,
  file: Readable,
  stats: BigIntStats,
): Promise<{ etag: string; size: number; bytes?: Uint8Array }> {
  const size = Number(stats.size);
  if (size > HASHED_BYTES) return { etag: etagOf(stats, undefined), size };
  const bytes = await readWhole(operation, file, size);
  return { etag: etagOf(stats, hash('sha256', bytes)), size, bytes };
}

/** @throws Failure `too-large` above `maxBytes` */
export async function readObject(
  operation: string,
  file: Readable,
  stats: BigIntStats,
  maxBytes: number,
): Promise<StoredBytes> {
  const size = Number(stats.size);
  if (size > maxBytes)
    throw refuse(operation, 'too-large', `the object is too large: expected at most ${maxBytes} bytes, got ${size}`);
  const { etag, bytes = await readWhole(operation, file, size) } = await versionOf(operation, file, stats);
  return { etag, size, bytes };
}

/** Reads all `size` bytes of a file. */
async function readWhole(operation: string, file: Readable, size: number): Promise<Uint8Array> {
  const bytes = await readAll(file, size);
  if (bytes.length === size) return bytes;
  throw refuse(operation, 'truncated', `the file ended after ${bytes.length} of ${size} bytes`);
}

/** The current version of a path. Synchronous, so that it runs under a lock together with the following change. */
export function etagSync(path: string): string | undefined {
  let file: number;
  try {
    file = openSync(path, READ_ONLY);
  } catch (error) {
    if (isAbsent(error) || isNotAFile(error)) return undefined;
    throw error;
  }
  try {
    const stats = fstatSync(file, { bigint: true });
    if (!stats.isFile()) return undefined;
    return etagOf(
      stats,
      stats.size <= HASHED_BYTES ? hash('sha256', readAllSync(file, Number(stats.size))) : undefined,
    );
  } finally {
    closeSync(file);
  }
}

/** Reads at most `size` bytes, like `readAll`: a file of another system may have no end (/proc). */
function readAllSync(file: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let filled = 0; filled < size;) {
    const read = readSync(file, bytes, filled, size - filled, filled);
    if (read === 0) return bytes.subarray(0, filled);
    filled += read;
  }
  return bytes;
}
