import { hash, randomUUID } from 'node:crypto';
import { unlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type {
  Cancel,
  Condition,
  CreateUploadOptions,
  ListedObject,
  ObjectStore,
  Part,
  PutOptions,
  ReadableObject,
  StoredBytes,
  StoredObject,
  StreamOptions,
  Upload,
} from '../store.ts';
import { bodyOf } from '../body.ts';
import { Committer, isFile } from './commit.ts';
import { attempt, attemptEach, isAbsent, isNotAFile, refuse } from './errors.ts';
import { etagOf, etagSync, HASHED_BYTES, readObject, versionOf } from './etag.ts';
import { BriefFile, FolderSync, writeAll } from './files.ts';
import { KnownVersions } from './known-versions.ts';
import { list } from './list.ts';
import { Claim, Mutex } from './lock.ts';
import { Paths } from './paths.ts';
import { checkStart, opened, pieces, stream } from './read.ts';
import { sweep } from './sweep.ts';
import { FOLDER_PART_LIMITS } from './upload-files.ts';
import { Uploads } from './uploads.ts';

/**
 * Objects as files in a folder, which several processes on one machine may use concurrently.
 *
 * An object is written under a temporary name, synced to disk, and then renamed, so that it is complete after a killed
 * process or a power failure. Each rename or deletion runs under one lock together with the check of its condition; this
 * takes microseconds, and all longer work is done before.
 *
 * A failure leaves all objects unchanged, with one exception: if the disk cannot sync the folder after a rename, the failure
 * is reported although the object exists.
 */
export class FolderStore implements ObjectStore, AsyncDisposable {
  readonly name: string;
  readonly limits = FOLDER_PART_LIMITS;
  readonly #paths: Paths;
  readonly #mutex: Mutex;
  readonly #uploads: Uploads;
  readonly #folders = new FolderSync();
  /** Of the objects that `getChanged` has read. */
  readonly #known = new KnownVersions();
  readonly #committer: Committer;
  #prepared: Promise<void> | undefined;
  #running: Claim | undefined;

  /** @param path of the folder; the first write creates it */
  constructor(path: string) {
    this.name = path;
    this.#paths = new Paths(path);
    this.#mutex = new Mutex(this.#paths.lock);
    this.#uploads = new Uploads(this.#paths);
    this.#committer = new Committer(this.#paths, this.#mutex, this.#folders);
  }

  get(key: string, { maxBytes, signal }: { readonly maxBytes: number } & Cancel): Promise<StoredBytes | undefined> {
    const operation = `get ${key}`;
    return attempt(operation, signal, async () => {
      using file = await this.#openFile(key);
      return file === undefined ? undefined : await readObject(operation, file, file.stat(), maxBytes);
    });
  }

  getChanged(
    key: string,
    etag: string,
    { maxBytes, signal }: { readonly maxBytes: number } & Cancel,
  ): Promise<StoredBytes | 'unchanged' | undefined> {
    const operation = `get ${key}`;
    return attempt(operation, signal, async () => {
      const now = Date.now();
      using file = await this.#openFile(key);
      if (file === undefined) return undefined;
      const stats = file.stat();
      if (this.#known.find(key, stats) === etag) return 'unchanged';
      const found = await readObject(operation, file, stats, maxBytes);
      this.#known.add(key, stats, found.etag, now);
      return found.etag === etag ? 'unchanged' : found;
    });
  }

  head(key: string, { signal }: Cancel = {}): Promise<StoredObject | undefined> {
    const operation = `head ${key}`;
    return attempt(operation, signal, async () => {
      using file = await this.#openFile(key);
      if (file === undefined) return undefined;
      const { etag, size } = await versionOf(operation, file, file.stat());
      return { etag, size };
    });
  }

  read(
    key: string,
    { start = 0, signal }: { readonly start?: number } & Cancel = {},
  ): Promise<ReadableObject | undefined> {
    const operation = `read ${key}`;
    return attempt(operation, signal, async () => {
      const file = await this.#openFile(key);
      if (file === undefined) return undefined;
      let streaming = false;
      try {
        const { etag, size, bytes } = await versionOf(operation, file, file.stat());
        checkStart(operation, start, size);
        streaming = bytes === undefined;
        const body = bytes
          ? pieces(operation, bytes.subarray(start), signal)
          : bodyOf(stream(operation, file, { start, size, signal }), () => {
              file.close();
            });
        return { etag, size, body };
      } finally {
        if (!streaming) file.close();
      }
    });
  }

  stream(key: string, { start, chunkBytes, signal }: StreamOptions): Promise<Omit<ReadableObject, 'etag'> | undefined> {
    const operation = `read ${key}`;
    return attempt(operation, signal, async () => {
      const file = await this.#openFile(key);
      return file === undefined ? undefined : opened(operation, file, { start, signal }, chunkBytes);
    });
  }

  put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<StoredObject> {
    const { condition, sha256, signal } = options;
    const operation = `put ${key}`;
    return attempt(operation, signal, async () => {
      const path = this.#paths.object(key);
      const actual = sha256 !== undefined || bytes.length <= HASHED_BYTES ? hash('sha256', bytes) : undefined;
      if (sha256 !== undefined && sha256 !== actual)
        throw refuse(
          operation,
          'digest-mismatch',
          `expected ${bytes.length} bytes with the SHA-256 ${sha256}, got ${actual}`,
        );
      await this.#prepare();
      this.#paths.checkReal(this.#paths.temporary);
      const temporary = join(this.#paths.temporary, randomUUID());
      try {
        const etag = await writeFile(temporary, bytes, actual);
        const copied = await this.#committer.commit(operation, temporary, path, condition, signal);
        return { etag: copied ?? etag, size: bytes.length };
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    });
  }

  delete(key: string, { etag, signal }: { readonly etag?: string } & Cancel = {}): Promise<void> {
    return attempt(`delete ${key}`, signal, async () => {
      const path = this.#paths.object(key);
      if (!isFile(path)) return;
      await this.#prepare();
      const deleted = await this.#mutex.run(() => {
        this.#paths.checkReal(dirname(path));
        if (!isFile(path) || (etag !== undefined && etag !== etagSync(path))) return false;
        unlinkSync(path);
        return true;
      }, signal);
      if (deleted) await this.#folders.sync(dirname(path));
    });
  }

  list(prefix: string, { signal }: Cancel = {}): AsyncIterable<ListedObject> {
    return attemptEach(`list ${prefix}`, signal, list(this.#paths, prefix, signal));
  }

  uploads(prefix: string, { signal }: Cancel = {}): AsyncIterable<Upload> {
    return attemptEach(`list uploads ${prefix}`, signal, this.#uploads.list(prefix));
  }

  createUpload(key: string, { partSize, signal }: CreateUploadOptions): Promise<Upload> {
    return attempt(`create upload ${key}`, signal, async () => {
      this.#paths.object(key);
      await this.#prepare();
      return this.#uploads.create(key, partSize);
    });
  }

  uploadPart(upload: Upload, number: number, bytes: Uint8Array, { signal }: Cancel = {}): Promise<Part> {
    const operation = `upload part ${number} of ${upload.key}`;
    return attempt(operation, signal, () => this.#uploads.write(upload, number, bytes));
  }

  parts(upload: Upload, { signal }: Cancel = {}): AsyncIterable<Part> {
    return attemptEach(`list parts of ${upload.key}`, signal, this.#uploads.parts(upload));
  }

  completeUpload(
    upload: Upload,
    parts: readonly Part[],
    { condition, signal }: { readonly condition?: Condition } & Cancel = {},
  ): Promise<StoredObject> {
    const operation = `complete upload of ${upload.key}`;
    return attempt(operation, signal, async () => {
      const path = this.#paths.object(upload.key);
      return this.#uploads.complete(upload, parts, async (data, file) => {
        const { etag, size } = await versionOf(operation, file, await file.stat({ bigint: true }));
        const copied = await this.#committer.commit(operation, data, path, condition, signal);
        return { etag: copied ?? etag, size };
      });
    });
  }

  abortUpload(upload: Upload, { signal }: Cancel = {}): Promise<void> {
    return attempt(`abort upload of ${upload.key}`, signal, () => this.#uploads.abort(upload));
  }

  /**
   * Prepares the folder for writes, so that an error is found before anything is fetched. Other processes that call this can
   * detect this one until the store is closed.
   *
   * @returns whether no other such process is running
   */
  prepare({ signal }: Cancel = {}): Promise<{ readonly alone: boolean }> {
    const operation = `prepare folder ${this.name}`;
    return attempt(operation, signal, async () => {
      await this.#prepare();
      const temporary = join(this.#paths.temporary, randomUUID());
      try {
        await writeFile(temporary, new Uint8Array(), hash('sha256', ''));
      } finally {
        await rm(temporary, { force: true });
      }
      await this.#mutex.run(() => undefined, signal);
      this.#running ??= Claim.take(this.#paths.running);
      return { alone: this.#running !== undefined };
    });
  }

  /** Closes the files of unfinished uploads, so that another process can continue them. */
  async close(): Promise<void> {
    await this.#uploads.close();
    this.#mutex.close();
    this.#running?.release();
    this.#running = undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Creates the store's own folders before the first write, and removes the files of killed processes. */
  async #prepare(): Promise<void> {
    this.#prepared ??= (async (): Promise<void> => {
      for (const folder of [this.#paths.temporary, this.#paths.uploads]) {
        await this.#committer.makeFolder(folder);
        this.#paths.checkReal(folder);
      }
      await sweep(this.#paths);
    })();
    try {
      await this.#prepared;
    } catch (error) {
      this.#prepared = undefined;
      throw error;
    }
  }

  async #openFile(key: string): Promise<BriefFile | undefined> {
    const path = this.#paths.object(key);
    let file: BriefFile;
    try {
      this.#paths.checkReal(dirname(path));
      // A third of the lookups of a first sync are for missing objects, and another thread takes ten times as long.
      if (!isFile(path)) return undefined;
      file = await BriefFile.open(path);
    } catch (error) {
      if (isAbsent(error) || isNotAFile(error)) return undefined;
      throw error;
    }
    if (file.stat().isFile()) return file;
    // Only a regular file is an object.
    file.close();
    return undefined;
  }
}

/** Writes a new file, syncs it to disk, and returns its version. */
async function writeFile(path: string, bytes: Uint8Array, sha256: string | undefined): Promise<string> {
  using file = await BriefFile.open(path, 'wx');
  await writeAll(file, bytes, 0);
  await file.datasync();
  return etagOf(file.stat(), sha256);
}
