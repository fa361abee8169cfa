/** What node:fs leaves to its callers: whole reads and writes, and names that outlast a power failure. */
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The first `size` bytes of a file, from `start`; fewer where it ends before. */
export async function readAll(handle: FileHandle, size: number, start = 0): Promise<Uint8Array> {
  // Not of Node's pool: these may be kept for long, and would keep 8 KiB with them.
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(size).buffer);
  let filled = 0;
  while (filled < size) {
    const { bytesRead } = await handle.read(bytes, filled, size - filled, start + filled);
    if (bytesRead === 0) return bytes.subarray(0, filled);
    filled += bytesRead;
  }
  return bytes;
}

/** pwrite(2) may write less than it was given: near the end of the disk, or beyond 2 GiB. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, start: number): Promise<void> {
  for (let written = 0; written < bytes.length;)
    written += (await handle.write(bytes, written, bytes.length - written, start + written)).bytesWritten;
}

/** Makes a folder and those above it, durably. */
export async function makeFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true });
  if (first === undefined) return;
  for (let folder = path; ; folder = dirname(folder)) {
    await syncFolder(dirname(folder));
    if (folder === first) return;
  }
}

/** Makes durable which names are in a folder (fsync(2) on a file does not). */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Syncs folders, each once for all who ask while it is being synced, as databases commit in groups. */
export class FolderSync {
  readonly #running = new Map<string, Promise<void>>();
  /** Those that wait for the one that runs: it may have begun before their names were in the folder. */
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
