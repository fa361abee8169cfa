/**
 * The version of a file. Up to a limit it is what the bytes hash to, which holds on every file system and through copies
 * of the folder: references and documents, all that is replaced on condition, are that small. Beyond, where reading would
 * cost too much, it is what the file system says of the file: to be fooled, it would have to take two replacements of
 * a file of several MiB, each synced to disk, within one tick of its clock (4 ms), and of the same size.
 */
import { createHash } from 'node:crypto';
import { type BigIntStats, closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { isAbsent, isNotAFile, refuse } from './errors.ts';
import { READ_ONLY, readAll, type Readable } from './files.ts';

/** Bytes. No manifest is larger (OCI distribution spec 1.1, "Pushing Manifests"). */
export const HASHED_BYTES = 4 * 1024 * 1024;

export function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** @param hash SHA-256 of the whole file; needed where that is at most HASHED_BYTES long */
export function etagOf(stats: BigIntStats, hash: string | undefined): string {
  return stats.size <= HASHED_BYTES ? `sha256-${hash}` : `file-${stats.size}-${stats.mtimeNs}-${stats.ino}`;
}

/**
 * The version of an open file, and all of its bytes if these had to be read for it.
 *
 * @throws Failure `truncated` if the file ends before the size that it had a moment ago
 */
export async function versionOf(
  operation: string,
  file: Readable,
  stats: BigIntStats,
): Promise<{ etag: string; size: number; bytes?: Uint8Array }> {
  const size = Number(stats.size);
  if (size > HASHED_BYTES) return { etag: etagOf(stats, undefined), size };
  const bytes = await readWhole(operation, file, size);
  return { etag: etagOf(stats, hashOf(bytes)), size, bytes };
}

/** All bytes of a file that has `size` of them. */
export async function readWhole(operation: string, file: Readable, size: number): Promise<Uint8Array> {
  const bytes = await readAll(file, size);
  if (bytes.length === size) return bytes;
  throw refuse(operation, 'truncated', `it ended after ${bytes.length} of ${size} bytes`);
}

/** The version of whatever has this name now, for what is done under a lock: nothing may come between. */
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
    return etagOf(stats, stats.size <= HASHED_BYTES ? hashOf(readAllSync(file, Number(stats.size))) : undefined);
  } finally {
    closeSync(file);
  }
}

function readAllSync(file: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let filled = 0; filled < size;) {
    const read = readSync(file, bytes, filled, size - filled, filled);
    if (read === 0) return bytes.subarray(0, filled);
    filled += read;
  }
  return bytes;
}
