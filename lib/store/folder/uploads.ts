/**
 * Multipart uploads in a folder. Parts are written straight to where they belong in the file that becomes the object, so
 * that completing is a rename and copies nothing. An upload is a folder, `.mirror/uploads/<id>/`:
 *
 * ```
 * meta      JSON: key, part size, when it began; written once
 * data      the bytes, with holes where parts are missing
 * journal   which parts have landed: see journal.ts
 * lock      held by the process that writes: see lock.ts
 * ```
 *
 * It comes into being whole, by a rename, and goes the same way; an upload without its data is none. So whenever a process
 * is killed, the upload is either listed, with the parts that landed, or gone. Nothing need be on the disk before completion:
 * after a power failure, parts may be listed whose bytes are not there. Who continues an upload reads back what he completes,
 * which an upload that is continued needs anyway.
 *
 * An upload that a living process writes is its own: others do not see it listed, and to them it is `no-such-upload`. For
 * a process that still had the file open could write into the object that another completed, and proved.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Part, PartLimits, Upload } from '../store.ts';
import { isAbsent, isErrno, refuse } from './errors.ts';
import { parseJournal } from './journal.ts';
import { Claim } from './lock.ts';
import { isUuid, type Paths } from './paths.ts';
import { FLAGS, type Meta, openOwn, readJournal, readMeta } from './upload-files.ts';
import {
  checkParts,
  closeSession,
  forget,
  noSuchUpload,
  ofAnotherSize,
  openSession,
  type Session,
  sync,
  writePart,
} from './upload-session.ts';

/**
 * A disk needs none of S3's limits. These keep a journal short (as many parts as on S3), and a part within one write
 * (Linux: 2 GiB); small parts are for whoever has small objects to cut.
 */
export const FOLDER_PART_LIMITS: PartLimits = {
  minPartBytes: 64 * 1024,
  // A part costs no request here, so it may be smaller than on S3: as many are on their way in half the memory.
  usualPartBytes: 4 * 1024 ** 2,
  maxPartBytes: 1024 ** 3,
  maxParts: 10_000,
};

export class Uploads {
  readonly #paths: Paths;
  readonly #sessions = new Map<string, Promise<Session>>();

  constructor(paths: Paths) {
    this.#paths = paths;
  }

  async create(key: string, partSize: number): Promise<Upload> {
    const { minPartBytes, maxPartBytes } = FOLDER_PART_LIMITS;
    if (!Number.isInteger(partSize) || partSize < minPartBytes || partSize > maxPartBytes)
      throw refuse(
        `create upload ${key}`,
        'invalid',
        `parts of ${partSize} bytes: a folder takes ${minPartBytes} to ${maxPartBytes}`,
      );
    const initiated = new Date();
    const upload: Upload = { key, id: randomUUID(), initiated };
    const meta: Meta = { version: 1, key, partSize, initiated: initiated.toISOString() };
    this.#paths.checkReal(this.#paths.temporary);
    this.#paths.checkReal(this.#paths.uploads);
    const making = join(this.#paths.temporary, upload.id);
    await mkdir(making);
    await writeFile(join(making, 'meta'), JSON.stringify(meta));
    await writeFile(join(making, 'data'), '');
    // Claimed before anyone can see it. The files that are open stay the same under their new name.
    const session = await openSession(making, partSize, upload);
    await rename(making, this.#folder(upload));
    this.#sessions.set(upload.id, Promise.resolve(session));
    return upload;
  }

  async *list(prefix: string): AsyncGenerator<Upload, void, void> {
    let ids: string[];
    try {
      this.#paths.checkReal(this.#paths.uploads);
      ids = await readdir(this.#paths.uploads);
    } catch (error) {
      if (isAbsent(error)) return;
      throw error;
    }
    for (const id of ids.filter(isUuid)) {
      const folder = join(this.#paths.uploads, id);
      const meta = await readMeta(folder, FOLDER_PART_LIMITS);
      if (meta?.key.startsWith(prefix) !== true) continue;
      if (this.#sessions.has(id) || isFree(folder)) yield { key: meta.key, id, initiated: new Date(meta.initiated) };
    }
  }

  async write(upload: Upload, number: number, bytes: Uint8Array): Promise<Part> {
    const operation = `upload part ${number} of ${upload.key}`;
    const session = await this.#session(upload);
    const { maxParts } = FOLDER_PART_LIMITS;
    if (!Number.isInteger(number) || number < 1 || number > maxParts)
      throw refuse(operation, 'invalid', `parts are numbered from 1 to ${maxParts}`);
    if (bytes.length > session.partSize) throw ofAnotherSize(operation, bytes.length, session.partSize);
    if (session.closing || session.completing !== undefined) throw noSuchUpload(upload);
    const writing = writePart(session, number, bytes);
    session.writing.add(writing);
    try {
      return await writing;
    } finally {
      session.writing.delete(writing);
    }
  }

  async *parts(upload: Upload): AsyncGenerator<Part, void, void> {
    const landed = (await this.#sessions.get(upload.id))?.landed ?? (await readParts(this.#folder(upload)));
    if (landed === undefined) throw noSuchUpload(upload);
    yield* [...landed.values()].sort((a, b) => a.number - b.number);
  }

  /**
   * Hands out the file that these parts make, synced to disk, for `commit` to move to where it belongs. Where that fails the
   * upload is still there.
   */
  async complete<T>(
    upload: Upload,
    parts: readonly Part[],
    commit: (path: string, file: FileHandle) => Promise<T>,
  ): Promise<T> {
    const session = await this.#session(upload);
    if (session.closing || session.completing !== undefined) throw noSuchUpload(upload);
    const over = Promise.withResolvers<undefined>();
    session.completing = over.promise;
    try {
      await Promise.allSettled(session.writing);
      const size = checkParts(upload, session, parts);
      for (const number of session.landed.keys()) if (number > parts.length) await forget(session, number);
      await session.data.truncate(size);
      await sync(session);
      const done = await commit(join(this.#folder(upload), 'data'), session.data);
      await this.#discard(upload);
      return done;
    } catch (error) {
      session.completing = undefined;
      throw isErrno(error, 'ENOENT') ? noSuchUpload(upload) : error;
    } finally {
      over.resolve(undefined);
    }
  }

  /**
   * Lets what this process is doing with its files come to its end first: a completion that has begun may still succeed,
   * and a file that is closed under a write would be an error that means nothing to anybody.
   */
  async abort(upload: Upload): Promise<void> {
    if (!isUuid(upload.id)) return;
    const session = await this.#sessions.get(upload.id)?.catch(() => undefined);
    if (session !== undefined) {
      session.closing = true;
      await session.completing;
      await Promise.allSettled(session.writing);
    }
    await this.#discard(upload);
  }

  /** Closes what is open. The uploads are left to whoever continues them. */
  async close(): Promise<void> {
    const sessions = await Promise.allSettled(this.#sessions.values());
    this.#sessions.clear();
    for (const session of sessions) if (session.status === 'fulfilled') await closeSession(session.value);
  }

  #session(upload: Upload): Promise<Session> {
    let session = this.#sessions.get(upload.id);
    if (session === undefined) {
      session = this.#resume(upload);
      this.#sessions.set(upload.id, session);
      session.catch(() => this.#sessions.delete(upload.id));
    }
    return session;
  }

  async #resume(upload: Upload): Promise<Session> {
    const folder = this.#folder(upload);
    const meta = await readMeta(folder, FOLDER_PART_LIMITS);
    if (meta?.key !== upload.key) throw noSuchUpload(upload);
    return openSession(folder, meta.partSize, upload);
  }

  /** One rename, and it is gone; what is then left of it is of no interest to anyone. */
  async #discard(upload: Upload): Promise<void> {
    const opened = this.#sessions.get(upload.id);
    // Before anything is waited for: of two who discard it, one closes its files.
    this.#sessions.delete(upload.id);
    const session = await opened?.catch(() => undefined);
    const remains = join(this.#paths.temporary, randomUUID());
    try {
      await rename(this.#folder(upload), remains);
    } catch (error) {
      if (!isAbsent(error)) throw error;
    } finally {
      if (session !== undefined) await closeSession(session);
    }
    await rm(remains, { recursive: true, force: true });
  }

  /** @throws Failure if the folder of uploads is a link; `no-such-upload` if there is none */
  #checkReal(upload: Upload): void {
    try {
      this.#paths.checkReal(this.#paths.uploads);
    } catch (error) {
      throw isAbsent(error) ? noSuchUpload(upload) : error;
    }
  }

  #folder(upload: Upload): string {
    // An id becomes a path, so it must be one that was made here.
    if (!isUuid(upload.id)) throw noSuchUpload(upload);
    this.#checkReal(upload);
    return join(this.#paths.uploads, upload.id);
  }
}

/** Whether a folder is an upload, and not the remains of one. */
export async function isUpload(folder: string): Promise<boolean> {
  return (await readMeta(folder, FOLDER_PART_LIMITS)) !== undefined;
}

async function readParts(folder: string): Promise<Map<number, Part> | undefined> {
  if (!(await isUpload(folder))) return undefined;
  const file = await openOwn(join(folder, 'journal'), FLAGS.journal);
  try {
    return file === undefined ? undefined : parseJournal(await readJournal(file));
  } finally {
    await file?.close();
  }
}

/** Whether nobody writes it. Goes by the lock alone, which is let go of again. */
function isFree(folder: string): boolean {
  const claim = Claim.take(join(folder, 'lock'));
  claim?.release();
  return claim !== undefined;
}
