/**
 * Writes that bypass the page cache (O_DIRECT, open(2)). A mirror does not read again soon what it writes, and the copy
 * into the page cache takes longer than hashing.
 */
import { type BigIntStats, constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { Semaphore } from '../../core/semaphore.ts';
import { isErrno } from './errors.ts';

/** The start and the length of such a write are multiples of this number: a page, and at least a block of the disk. */
const BLOCK_BYTES = 4096;

/** Waiting for the disk takes longer than the copy of fewer bytes. */
const MIN_BYTES = 256 * 1024;

/** Each write occupies one of Node's four threads until the disk is done; two are as fast as four. */
const writes = new Semaphore(2);

/** A second handle of a file; it writes nothing where the system or the file system does not support such writes. */
export class DirectFile {
  #file: FileHandle | undefined;

  private constructor(file: FileHandle | undefined) {
    this.#file = file;
  }

  /** @param same the file of the first handle: another file that has the name by now is not written */
  static async open(path: string, flags: number, same: BigIntStats): Promise<DirectFile> {
    // Linux has this flag; macOS and Windows do not.
    const flag = constants.O_DIRECT as number | undefined;
    const file = flag === undefined ? undefined : await open(path, flags | flag).catch(undefinedIfUnsupported);
    const { dev, ino } = (await file?.stat({ bigint: true })) ?? same;
    if (dev === same.dev && ino === same.ino) return new DirectFile(file);
    await file?.close();
    return new DirectFile(undefined);
  }

  /**
   * Resolves to the number of bytes that it has written, from the first one on. The rest has to be written through the
   * page cache: the end that does not fill a block, and everything if the memory does not begin on a page.
   */
  async write(bytes: Uint8Array, start: number): Promise<number> {
    const file = this.#file;
    const length = bytes.length - (bytes.length % BLOCK_BYTES);
    if (file === undefined || bytes.length < MIN_BYTES || start % BLOCK_BYTES !== 0) return 0;
    return writes.with(async () => {
      const written = await file.write(bytes, 0, length, start).catch(undefinedIfUnsupported);
      return (written?.bytesWritten ?? 0) - ((written?.bytesWritten ?? 0) % BLOCK_BYTES);
    });
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}

function undefinedIfUnsupported(error: unknown): undefined {
  if (!isErrno(error, 'EINVAL', 'EOPNOTSUPP', 'ENOTSUP')) throw error;
}
