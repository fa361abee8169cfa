/** Complete reads and writes, and names that survive a power failure, on top of node:fs. */
import {
  type BigIntStats,
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  fsync,
  lstatSync,
  open,
  read,
  write,
  writeSync,
} from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { isErrno, refuse } from './errors.ts';
import { isFolder } from './paths.ts';

/** Without O_NONBLOCK, opening a named pipe waits for a writer. Regular files ignore the flag. */
export const READ_ONLY = constants.O_RDONLY | constants.O_NONBLOCK;

const calls = {
  open: promisify(open),
  read: promisify(read),
  write: promisify(write),
  fsync: promisify(fsync),
  fdatasync: promisify(fdatasync),
};

interface Written {
  readonly bytesWritten: number;
}

/** The number of bytes whose copy to the page cache takes as long as waking another thread. */
const BRIEF_BYTES = 64 * 1024;

/**
 * A file that is open for a short time. Calls that need no disk are synchronous: handing them to libuv's threads takes ten
 * times as long, above all in a virtual machine.
 */
export class BriefFile implements Disposable {
  readonly #descriptor: number;

  private constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  static async open(path: string, flags: string | number = READ_ONLY): Promise<BriefFile> {
    return new BriefFile(await calls.open(path, flags));
  }

  stat(): BigIntStats {
    return fstatSync(this.#descriptor, { bigint: true });
  }

  read(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }> {
    return calls.read(this.#descriptor, bytes, offset, length, position);
  }

  async write(bytes: Uint8Array, offset: number, length: number, position: number): Promise<Written> {
    if (length > BRIEF_BYTES) return calls.write(this.#descriptor, bytes, offset, length, position);
    return { bytesWritten: writeSync(this.#descriptor, bytes, offset, length, position) };
  }

  sync(): Promise<void> {
    return calls.fsync(this.#descriptor);
  }

  datasync(): Promise<void> {
    return calls.fdatasync(this.#descriptor);
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A `BriefFile`, or one of Node's handles for files that stay open. */
export type Readable = Pick<BriefFile, 'read'>;
type Writable = Pick<BriefFile, 'write'>;

/** Reads `size` bytes of a file from `start` on; fewer if the file ends before. */
export async function readAll(file: Readable, size: number, start = 0): Promise<Uint8Array> {
  // Not from Node's pool: bytes that are kept for long would keep 8 KiB of it.
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(size).buffer);
  let filled = 0;
  while (filled < size) {
    const { bytesRead } = await file.read(bytes, filled, size - filled, start + filled);
    if (bytesRead === 0) return bytes.subarray(0, filled);
    filled += bytesRead;
  }
  return bytes;
}

/** Writes all bytes. pwrite(2) may write fewer: near the end of the disk, or beyond 2 GiB. */
export async function writeAll(file: Writable, bytes: Uint8Array, start: number): Promise<void> {
  for (let written = 0; written < bytes.length;)
    written += (await file.write(bytes, written, bytes.length - written, start + written)).bytesWritten;
}

/**
 * Creates a folder and its missing parents durably, one by one: Node's recursive mkdir never returns on a file system that
 * fails with ENOENT although the parent exists (/proc, automounters), and reports ENOENT on a read-only one.
 *
 * @param check is called with the lowest existing folder, before a folder is created below it
 */
export async function makeFolder(path: string, check?: (existing: string) => void): Promise<void> {
  const missing: string[] = [];
  let existing = path;
  for (; !isFolder(existing); existing = dirname(existing)) missing.unshift(existing);
  check?.(existing);
  for (const folder of missing) {
    await makeOne(folder);
    await syncFolder(dirname(folder));
  }
}

async function makeOne(folder: string): Promise<void> {
  try {
    await mkdir(folder);
  } catch (error) {
    // Another process created it meanwhile. A link is not a folder.
    if (isErrno(error, 'EEXIST') && lstatSync(folder).isDirectory()) return;
    if (!isErrno(error, 'ENOENT')) throw error;
    throw refuse(
      `make folder ${folder}`,
      'denied',
      'no such file or directory, although its parent exists; choose a folder on another file system',
      error,
    );
  }
}

/** Syncs the names in a folder to disk, which fsync(2) on a file does not do. */
async function syncFolder(path: string): Promise<void> {
  using folder = await BriefFile.open(path);
  await folder.sync();
}

/** Syncs folders: one sync serves all callers that arrive during the one before, like a group commit of a database. */
export class FolderSync {
  readonly #running = new Map<string, Promise<void>>();
  /** The next sync of each folder; a running sync may have begun before the caller's name was in the folder. */
  readonly #next = new Map<string, Promise<void>>();

  async sync(path: string): Promise<void> {
    const running = this.#running.get(path);
    if (running === undefined) return this.#run(path);
    let next = this.#next.get(path);
    if (next === undefined) {
      next = running
        .catch(() => undefined)
        .then(() => {
          this.#next.delete(path);
          return this.#run(path);
        });
      this.#next.set(path, next);
    }
    return next;
  }

  #run(path: string): Promise<void> {
    const run = syncFolder(path).finally(() => {
      if (this.#running.get(path) === run) this.#running.delete(path);
    });
    this.#running.set(path, run);
    return run;
  }
}
