/**
 * Writes that go from memory to the disk without a copy in the page cache (O_DIRECT, open(2)). What a mirror writes, it
 * does not read again soon; and the copy, with the pages that are to be found for it, takes as long as hashing.
 */
import { type BigIntStats, constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { Semaphore } from '../../core/semaphore.ts';
import { isErrno } from './errors.ts';

/** Where such a write begins in the file, and how long it is, are multiples of it: a page, and hardly a disk's block is larger. */
const BLOCK_BYTES = 4096;

/** Below, waiting for the disk takes longer than the copy. */
const MIN_BYTES = 256 * 1024;

/** Each keeps one of the four threads that all of Node.js has until the disk is done; two are as fast as four. */
const writes = new Semaphore(2);

/** A second handle of a file; where the system or the file system has no such thing, one that writes nothing. */
export class DirectFile {
  readonly #opened: FileHandle | undefined;
  #refused = false;

  private constructor(opened: FileHandle | undefined) {
    this.#opened = opened;
  }

  /**
   * @param flags besides O_DIRECT
   * @param same of the first handle: a file that has the name by now and is another one is not written
   */
  static async open(path: string, flags: number, same: BigIntStats): Promise<DirectFile> {
    // Linux has it, macOS and Windows have not.
    const flag = constants.O_DIRECT as number | undefined;
    if (flag === undefined) return new DirectFile(undefined);
    try {
      const file = await open(path, flags | flag);
      const { dev, ino } = await file.stat({ bigint: true });
      if (dev === same.dev && ino === same.ino) return new DirectFile(file);
      await file.close();
      return new DirectFile(undefined);
    } catch (error) {
      if (isUnsupported(error)) return new DirectFile(undefined);
      throw error;
    }
  }

  /**
   * Resolves to how many bytes, from the first on, it has written: the rest is to be written in the usual way. That is the end
   * which does not fill a block; and everything, where the memory does not begin on a page (`lib/core/pages.ts`) or the file
   * system refuses for a reason of its own.
   */
  async write(bytes: Uint8Array, start: number): Promise<number> {
    const file = this.#opened;
    if (file === undefined || this.#refused || bytes.length < MIN_BYTES || start % BLOCK_BYTES !== 0) return 0;
    return writes.with(() => this.#write(file, bytes, start));
  }

  async #write(file: FileHandle, bytes: Uint8Array, start: number): Promise<number> {
    const whole = bytes.length - (bytes.length % BLOCK_BYTES);
    let written = 0;
    while (written < whole && written % BLOCK_BYTES === 0 && !this.#refused)
      try {
        written += (await file.write(bytes, written, whole - written, start + written)).bytesWritten;
      } catch (error) {
        if (!isUnsupported(error)) throw error;
        this.#refused = true;
      }
    return written;
  }

  async close(): Promise<void> {
    await this.#opened?.close();
  }
}

function isUnsupported(error: unknown): boolean {
  return isErrno(error, 'EINVAL', 'EOPNOTSUPP', 'ENOTSUP');
}
