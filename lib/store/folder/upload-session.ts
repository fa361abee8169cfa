/** The files of one unfinished upload while this process writes them. */
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../../core/failure.ts';
import type { Part, Upload } from '../store.ts';
import { DirectFile } from './direct.ts';
import { isAbsent, refuse } from './errors.ts';
import { writeAll } from './files.ts';
import * as journal from './journal.ts';
import { Claim } from './lock.ts';
import { FLAGS, openOwn, readJournal } from './upload-files.ts';

/** Files that stay open from the first part of this process until the completion. */
export interface Session {
  readonly partSize: number;
  readonly claim: Claim;
  readonly data: FileHandle;
  /** The same file, for writes that bypass the page cache. */
  readonly direct: DirectFile;
  readonly journal: FileHandle;
  readonly landed: Map<number, Part>;
  readonly writing: Set<Promise<unknown>>;
  /** Bytes that were written through the page cache since the last background sync began. */
  dirty: number;
  /** The last background sync. It rejects if the disk failed, which `fdatasync` reports only once. */
  synced: Promise<unknown>;
  syncing: boolean;
  /** Resolves when a running completion has ended, with success or failure. */
  completing: Promise<undefined> | undefined;
  /** Whether the upload is being aborted: no new work with its files begins. */
  closing: boolean;
}

/** The bytes that start a background sync. So the completion waits for at most about this number of bytes. */
const DIRTY_BYTES = 64 * 1024 * 1024;

/** @throws Failure `no-such-upload` if another process writes, completed or aborted the upload */
export async function openSession(folder: string, partSize: number, upload: Upload): Promise<Session> {
  const claim = Claim.take(join(folder, 'lock'));
  if (claim === undefined) throw noSuchUpload(upload, 'another process is writing it, or just completed it');
  const opened: { close(): Promise<void> }[] = [];
  const own = async (name: string, flags: number): Promise<FileHandle> => {
    const file = await openOwn(join(folder, name), flags);
    if (file === undefined) throw noSuchUpload(upload);
    opened.push(file);
    return file;
  };
  try {
    const data = await own('data', FLAGS.data);
    const direct = await DirectFile.open(join(folder, 'data'), FLAGS.direct, await data.stat({ bigint: true }));
    opened.push(direct);
    const log = await own('journal', FLAGS.journal);
    const landed = await readJournal(log);
    const idle = {
      writing: new Set<Promise<unknown>>(),
      dirty: 0,
      synced: Promise.resolve(),
      syncing: false,
      completing: undefined,
      closing: false,
    };
    return { partSize, claim, data, direct, journal: log, landed, ...idle };
  } catch (error) {
    await Promise.all(opened.map((handle) => handle.close()));
    claim.release();
    throw isAbsent(error) ? noSuchUpload(upload) : error;
  }
}

export async function closeSession({ data, direct, journal: log, claim }: Session): Promise<void> {
  await Promise.all([data.close(), direct.close(), log.close()]);
  // Last, so that the next owner of the claim can rely on closed files.
  claim.release();
}

/** Writes the bytes, and then records them in the journal. The record of an overwritten part is removed first. */
export async function writePart(session: Session, number: number, bytes: Uint8Array): Promise<Part> {
  if (session.landed.has(number)) await forget(session, number);
  const start = (number - 1) * session.partSize;
  const written = await session.direct.write(bytes, start);
  await writeAll(session.data, bytes.subarray(written), start + written);
  session.dirty += bytes.length - written;
  if (session.dirty >= DIRTY_BYTES && !session.syncing) beginSync(session);
  const part: Part = { number, size: bytes.length, etag: journal.newEtag() };
  await session.journal.appendFile(journal.landed(part));
  session.landed.set(number, part);
  return part;
}

/** Starts a sync in the background, one at a time, because each occupies one of Node's four threads. */
function beginSync(session: Session): void {
  session.dirty = 0;
  session.syncing = true;
  session.synced = session.synced.then(() => session.data.datasync());
  const over = (): void => {
    session.syncing = false;
  };
  session.synced.then(over, over);
}

/** Syncs all written bytes to disk. If that fails, the state of the bytes is unknown, so all parts count as missing. */
export async function sync(session: Session): Promise<void> {
  try {
    await session.synced;
    await session.data.datasync();
  } catch (error) {
    session.synced = Promise.resolve();
    for (const number of [...session.landed.keys()]) await forget(session, number).catch(() => undefined);
    throw error;
  }
}

export async function forget(session: Session, number: number): Promise<void> {
  session.landed.delete(number);
  await session.journal.appendFile(journal.lost(number));
}

/**
 * The size of the object. The parts must be contiguous and equal to the stored ones, and all except the last must have
 * the planned size.
 */
export function checkParts(upload: Upload, { landed, partSize }: Session, parts: readonly Part[]): number {
  const wrong = (detail: string): Failure => invalidParts(`complete upload ${upload.key}`, detail);
  if (parts.length === 0) throw wrong('part 1 is missing');
  let size = 0;
  for (const [index, part] of parts.entries()) {
    const number = index + 1;
    const there = landed.get(number);
    if (part.number !== number || there === undefined) throw wrong(`part ${number} is missing`);
    if (there.etag !== part.etag || there.size !== part.size) throw wrong(`part ${number} was replaced meanwhile`);
    if (part.size !== partSize && number < parts.length)
      throw wrong(`part ${number} has ${part.size} bytes, and all but the last have ${partSize}`);
    size += part.size;
  }
  return size;
}

/** The failure of parts that cannot become the object. The blob needs a new upload. */
export function invalidParts(operation: string, detail: string): Failure {
  return new Failure({ operation, side: 'archive', code: 'invalid', remedy: 'restart', detail });
}

export function noSuchUpload(upload: Upload, detail = 'it was completed or aborted'): Failure {
  return refuse(`continue upload ${upload.id} of ${upload.key}`, 'no-such-upload', detail);
}
