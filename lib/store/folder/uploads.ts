/**
 * Multipart uploads in a folder. Each part is written to its place in the file that becomes the object, so the completion
 * is a rename and copies nothing. An upload is a folder, `.mirror/uploads/<id>/`:
 *
 * ```
 * meta      JSON: key, part size, time of creation; written once
 * data      the bytes, with holes where parts are missing
 * journal   the stored parts: see journal.ts
 * lock      held by the process that writes: see lock.ts
 * ```
 *
 * A rename creates an upload completely, and a rename removes it; a folder without `data` is not an upload. So if a process
 * is killed, the upload is either listed with its stored parts, or gone. Nothing is synced to disk before the completion:
 * after a power failure, parts may be listed whose bytes are missing. A continued upload is read back in any case.
 *
 * An upload belongs to the process that writes it: other processes do not list it, and get `no-such-upload`. Otherwise, a
 * process with an open file could write into an object that another process has completed and proven.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Part, Upload } from '../store.ts';
import { isFile } from './commit.ts';
import { isAbsent, isErrno, refuse, undefinedIfAbsent } from './errors.ts';
import { Claim } from './lock.ts';
import { isUuid, type Paths } from './paths.ts';
import { FLAGS, FOLDER_PART_LIMITS, type Meta, openOwn, readJournal, readMeta } from './upload-files.ts';
import {
  checkParts,
  closeSession,
  forget,
  invalidParts,
  noSuchUpload,
  openSession,
  type Session,
  sync,
  writePart,
} from './upload-session.ts';

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
    let session: Session | undefined;
    try {
      await mkdir(making);
      await writeFile(join(making, 'meta'), JSON.stringify(meta));
      await writeFile(join(making, 'data'), '');
      // Claimed before other processes can see it. Open files stay valid after the rename.
      session = await openSession(making, partSize, upload);
      await rename(making, this.#folder(upload));
    } catch (error) {
      if (session !== undefined) await closeSession(session);
      await rm(making, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
    this.#sessions.set(upload.id, Promise.resolve(session));
    return upload;
  }

  async *list(prefix: string): AsyncGenerator<Upload, void, void> {
    for (const id of (await this.#ids().catch(undefinedIfAbsent)) ?? []) {
      const folder = join(this.#paths.uploads, id);
      const meta = await readMeta(folder);
      if (meta?.key.startsWith(prefix) !== true) continue;
      if (this.#sessions.has(id) || isFree(folder)) yield { key: meta.key, id, initiated: new Date(meta.initiated) };
    }
  }

  async #ids(): Promise<string[]> {
    this.#paths.checkReal(this.#paths.uploads);
    return (await readdir(this.#paths.uploads)).filter(isUuid);
  }

  async write(upload: Upload, number: number, bytes: Uint8Array): Promise<Part> {
    const operation = `upload part ${number} of ${upload.key}`;
    const session = await this.#session(upload);
    const { maxParts } = FOLDER_PART_LIMITS;
    if (!Number.isInteger(number) || number < 1 || number > maxParts)
      throw refuse(operation, 'invalid', `parts are numbered from 1 to ${maxParts}`);
    if (bytes.length > session.partSize)
      throw invalidParts(operation, `it has ${bytes.length} bytes, and the upload's parts have ${session.partSize}`);
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
   * Syncs the file of these parts to disk, and calls `commit` to move it to its final name. If that fails, the upload still
   * exists, unless the file has been moved.
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
      const data = join(this.#folder(upload), 'data');
      const done = await commit(data, session.data).catch(async (error: unknown) => {
        // The disk could not sync the folder after the rename. Without its data, the upload cannot be continued.
        if (!isFile(data)) await this.#discard(upload).catch(() => undefined);
        throw error;
      });
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
   * Waits first until this process has ended its work with the files: a completion may still succeed, and a file that is
   * closed during a write causes a misleading error.
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

  /** Closes the open files, so that other processes can continue the uploads. */
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
    const meta = await readMeta(folder);
    if (meta?.key !== upload.key) throw noSuchUpload(upload);
    return openSession(folder, meta.partSize, upload);
  }

  /** Removes an upload with one rename. Its remains are deleted afterwards. */
  async #discard(upload: Upload): Promise<void> {
    const opened = this.#sessions.get(upload.id);
    // Before the first await, so that only one of two calls closes the files.
    this.#sessions.delete(upload.id);
    const session = await opened?.catch(() => undefined);
    const remains = join(this.#paths.temporary, randomUUID());
    try {
      await rename(this.#folder(upload), remains).catch(undefinedIfAbsent);
    } finally {
      if (session !== undefined) await closeSession(session);
    }
    await rm(remains, { recursive: true, force: true });
  }

  /** @throws Failure if the folder of uploads is a link; `no-such-upload` if it is missing */
  #folder(upload: Upload): string {
    // An id becomes a path, so it must have the form of the ids that this store creates.
    if (!isUuid(upload.id)) throw noSuchUpload(upload);
    try {
      this.#paths.checkReal(this.#paths.uploads);
    } catch (error) {
      throw isAbsent(error) ? noSuchUpload(upload) : error;
    }
    return join(this.#paths.uploads, upload.id);
  }
}

async function readParts(folder: string): Promise<Map<number, Part> | undefined> {
  if ((await readMeta(folder)) === undefined) return undefined;
  const file = await openOwn(join(folder, 'journal'), FLAGS.journal);
  try {
    return file === undefined ? undefined : await readJournal(file);
  } finally {
    await file?.close();
  }
}

/** Whether no process writes the upload. Takes its lock, and releases it at once. */
function isFree(folder: string): boolean {
  const claim = Claim.take(join(folder, 'lock'));
  claim?.release();
  return claim !== undefined;
}
