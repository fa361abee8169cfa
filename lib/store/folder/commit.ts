import { randomUUID } from 'node:crypto';
import { constants, renameSync, statSync } from 'node:fs';
import { copyFile, rm } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import type { Condition } from '../store.ts';
import { isErrno, refuse } from './errors.ts';
import { etagSync, versionOf } from './etag.ts';
import { BriefFile, type FolderSync, makeFolder } from './files.ts';
import type { Mutex } from './lock.ts';
import type { Paths } from './paths.ts';

/** Moves complete files to their final names. */
export class Committer {
  readonly #paths: Paths;
  readonly #mutex: Mutex;
  readonly #folders: FolderSync;

  constructor(paths: Paths, mutex: Mutex, folders: FolderSync) {
    this.#paths = paths;
    this.#mutex = mutex;
    this.#folders = folders;
  }

  /**
   * Renames a synced file to its final name, if the condition holds. After a success `from` does not exist.
   *
   * @returns the new version, if the file had to be copied to another disk
   */
  async commit(
    operation: string,
    from: string,
    to: string,
    condition: Condition | undefined,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    try {
      await this.#move(operation, from, to, condition, signal);
      return undefined;
    } catch (error) {
      if (!isErrno(error, 'EXDEV') || !to.startsWith(this.#paths.blobs + sep)) throw error;
    }
    await this.makeFolder(this.#paths.temporaryOfBlobs);
    const near = join(this.#paths.temporaryOfBlobs, randomUUID());
    try {
      this.#paths.checkReal(this.#paths.temporaryOfBlobs);
      await copyFile(from, near, constants.COPYFILE_EXCL);
      using file = await BriefFile.open(near);
      await file.datasync();
      const { etag } = await versionOf(operation, file, file.stat());
      await this.#move(operation, near, to, condition, signal);
      // The object exists, so an error is not a failure. The sweep removes the file after a day.
      await rm(from, { force: true }).catch(() => undefined);
      return etag;
    } catch (error) {
      await rm(near, { force: true });
      throw error;
    }
  }

  /** Creates a folder, but not below a link that leads out of the archive. */
  makeFolder(path: string): Promise<void> {
    return makeFolder(path, (existing) => {
      if (existing.startsWith(this.#paths.root + sep)) this.#paths.checkReal(existing);
    });
  }

  async #move(
    operation: string,
    from: string,
    to: string,
    condition: Condition | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const move = (): Promise<void> =>
      this.#mutex.run(() => {
        this.#paths.checkReal(dirname(from));
        this.#paths.checkReal(dirname(to));
        if (condition !== undefined) checkCondition(operation, to, condition);
        renameSync(from, to);
      }, signal);
    try {
      await move();
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
      await this.makeFolder(dirname(to));
      await move();
    }
    await this.#folders.sync(dirname(to));
  }
}

export function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

function checkCondition(operation: string, path: string, condition: Condition): void {
  if ('absent' in condition) {
    if (isFile(path)) throw refuse(operation, 'precondition-failed', 'the object already exists');
  } else if (etagSync(path) !== condition.etag)
    throw refuse(operation, 'precondition-failed', 'the object was replaced or deleted after it was read');
}
