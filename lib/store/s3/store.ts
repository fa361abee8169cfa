import { hash } from 'node:crypto';
import { Readable } from 'node:stream';
import { DeleteObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { Failure } from '../../core/failure.ts';
import { PATIENT, type RetryPolicy } from '../../core/retry.ts';
import { S3_PART_LIMITS } from '../parts.ts';
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
  Upload,
} from '../store.ts';
import { Calls, present, strong } from './calls.ts';
import { connect, type ConnectOptions } from './client.ts';
import { NEEDS_CONDITIONS } from './failure.ts';
import { linkTo } from './link.ts';
import { LinkedReads } from './linked-reads.ts';
import { hasObjects, listObjects } from './list.ts';
import * as multipart from './multipart.ts';
import { conditionHeaders, type S3Upload } from './multipart.ts';
import { headObject, openObject, readWhole } from './read.ts';
import type { S3Location } from './url.ts';

export interface S3StoreOptions extends S3Location, ConnectOptions {
  /** Replaces the client of `connect`. It should not retry, because the store does. */
  readonly client?: S3Client | (() => Promise<S3Client>) | undefined;
  readonly retry?: RetryPolicy | undefined;
  /** Whether bodies have checksum headers; otherwise the signature covers the bodies. Default: true. */
  readonly checksums?: boolean | undefined;
  /** Whether `getChanged` asks with links first, for a server that calls it for each request. Default: false. */
  readonly linkedReads?: boolean | undefined;
}

export class S3Store implements ObjectStore {
  readonly name: string;
  readonly limits = S3_PART_LIMITS;
  readonly #bucket: string;
  /** `''`, or a prefix with a slash at its end. */
  readonly #root: string;
  readonly #calls: Calls;
  readonly #linkedReads: LinkedReads | undefined;

  /** Sends no request and reads no configuration before the first call of a method. */
  constructor(options: S3StoreOptions) {
    const { bucket, prefix, client, retry = PATIENT, checksums = true, linkedReads = false } = options;
    this.name = prefix === '' ? `s3://${bucket}` : `s3://${bucket}/${prefix}`;
    this.#bucket = bucket;
    this.#root = prefix === '' ? '' : `${prefix}/`;
    const given = typeof client === 'object' ? () => Promise.resolve(client) : client;
    this.#calls = new Calls(bucket, given ?? (() => connect(options)), retry, checksums);
    this.#linkedReads = linkedReads ? new LinkedReads(this.#calls) : undefined;
  }

  /** The number of requests so far per operation (`PutObject: 3`), including failed tries. */
  requests(): Record<string, number> {
    return this.#calls.counts();
  }

  /** Closes the connections; requests in flight fail. */
  close(): Promise<void> {
    return this.#calls.close();
  }

  get(key: string, { maxBytes, signal }: { readonly maxBytes: number } & Cancel): Promise<StoredBytes | undefined> {
    return readWhole(this.#calls, this.#key(key), { maxBytes, signal });
  }

  async getChanged(
    key: string,
    etag: string,
    options: { readonly maxBytes: number } & Cancel,
  ): Promise<StoredBytes | 'unchanged' | undefined> {
    const full = this.#key(key);
    if ((await this.#linkedReads?.isUnchanged(full, etag, options.signal)) === true) return 'unchanged';
    try {
      return await readWhole(this.#calls, full, { ...options, unless: etag });
    } catch (error) {
      if (error instanceof Failure && error.status === 304) return 'unchanged';
      throw error;
    }
  }

  async head(key: string, { signal }: Cancel = {}): Promise<StoredObject | undefined> {
    const answer = await headObject(this.#calls, this.#key(key), signal);
    if (answer === undefined) return undefined;
    return {
      etag: strong(present(answer.ETag, 'HeadObject', 'ETag')),
      size: present(answer.ContentLength, 'HeadObject', 'Content-Length'),
    };
  }

  async read(
    key: string,
    { start = 0, signal }: { readonly start?: number } & Cancel = {},
  ): Promise<ReadableObject | undefined> {
    try {
      return await openObject(this.#calls, this.#key(key), { start, signal });
    } catch (error) {
      // A 416 for a `start` at the end of the object is an empty body.
      if (!(error instanceof Failure) || error.status !== 416) throw error;
      const there = await this.head(key, { signal });
      if (there?.size !== start) throw error;
      return { ...there, body: Readable.from([]) };
    }
  }

  link(key: string, options: { readonly contentType?: string } = {}): Promise<string> {
    return linkTo(this.#calls, this.#key(key), options.contentType);
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<StoredObject> {
    const { condition, contentType, signal } = options;
    const checksum = this.#checksumOf(key, bytes, options.sha256);
    let sent = 0;
    try {
      const answer = await this.#calls.run('PutObject', this.#key(key), signal, (client, call) => {
        sent += 1;
        return client.send(
          new PutObjectCommand({
            ...this.#target(key),
            Body: bytes,
            ContentLength: bytes.byteLength,
            ContentType: contentType,
            ChecksumSHA256: checksum,
            ...conditionHeaders(condition),
          }),
          call,
        );
      });
      return { etag: strong(present(answer.ETag, 'PutObject', 'ETag')), size: bytes.byteLength };
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      // S3 responds with a 404 if the object of an If-Match does not exist.
      if (error.code === 'blob-unknown' && condition !== undefined)
        throw this.#calls.failure(
          'PutObject',
          this.#key(key),
          'precondition-failed',
          'the object does not exist',
          error,
        );
      // The response of an earlier, successful try may have been lost.
      if (error.code !== 'precondition-failed' || sent === 1) throw error;
      const etag = await this.#etagIfThere(key, bytes, checksum, signal);
      if (etag === undefined) throw error;
      return { etag, size: bytes.byteLength };
    }
  }

  /** The value of the checksum header; if headers are disabled, the caller's digest is compared here. */
  #checksumOf(key: string, bytes: Uint8Array, sha256: string | undefined): string | undefined {
    if (this.#calls.checksums) return Buffer.from(sha256 ?? hash('sha256', bytes), 'hex').toString('base64');
    const actual = sha256 === undefined ? undefined : hash('sha256', bytes);
    if (actual === sha256) return undefined;
    const detail = `expected ${bytes.byteLength} bytes with the SHA-256 ${sha256}, got ${actual}`;
    throw this.#calls.failure('PutObject', this.#key(key), 'digest-mismatch', detail);
  }

  /** The version of the object if it has these bytes; without a checksum, the bytes are read and compared. */
  async #etagIfThere(
    key: string,
    bytes: Uint8Array,
    checksum: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    if (checksum !== undefined) {
      const there = await headObject(this.#calls, this.#key(key), signal, true);
      return there?.ChecksumSHA256 === checksum ? there.ETag : undefined;
    }
    const there = await this.head(key, { signal });
    if (there?.size !== bytes.byteLength) return undefined;
    const found = await this.get(key, { maxBytes: bytes.byteLength, signal });
    return found !== undefined && Buffer.compare(found.bytes, bytes) === 0 ? found.etag : undefined;
  }

  /** Whether the key of any object starts with `prefix`: one request, unless the first page is empty and truncated. */
  holds(prefix: string, { signal }: Cancel = {}): Promise<boolean> {
    return hasObjects(this.#calls, this.#key(prefix), signal);
  }

  /**
   * Checks, with one request that changes nothing, that the store is writable: the bucket, the credentials, the permission
   * to write, checksums and conditional writes.
   */
  async prepare({ signal }: Cancel = {}): Promise<void> {
    try {
      await this.put(PROBE, Buffer.from('{}\n'), { ...NEVER_MET, signal });
    } catch (error) {
      if (error instanceof Failure && error.code === 'precondition-failed') return;
      throw error;
    }
    // The store ignored the condition, and would lose concurrent updates of tags.
    await this.delete(PROBE, { signal });
    throw this.#calls.failure('PutObject', this.#key(PROBE), 'unsupported', NEEDS_CONDITIONS);
  }

  async delete(key: string, { etag, signal }: { readonly etag?: string } & Cancel = {}): Promise<void> {
    try {
      await this.#calls.run('DeleteObject', this.#key(key), signal, (client, options) =>
        client.send(
          new DeleteObjectCommand({ ...this.#target(key), ...(etag === undefined ? {} : { IfMatch: etag }) }),
          options,
        ),
      );
    } catch (error) {
      if (error instanceof Failure && (error.code === 'blob-unknown' || error.code === 'precondition-failed')) return;
      throw error;
    }
  }

  async *list(prefix: string, { signal }: Cancel = {}): AsyncGenerator<ListedObject> {
    for await (const object of listObjects(this.#calls, this.#key(prefix), signal))
      yield { ...object, key: object.key.slice(this.#root.length) };
  }

  async *uploads(prefix: string, { signal }: Cancel = {}): AsyncGenerator<Upload> {
    for await (const { key, id, initiated } of multipart.uploads(this.#calls, this.#key(prefix), signal))
      yield { key: key.slice(this.#root.length), id, initiated };
  }

  async createUpload(key: string, { partSize, contentType, signal }: CreateUploadOptions): Promise<Upload> {
    const { minPartBytes, maxPartBytes } = this.limits;
    if (partSize < minPartBytes || partSize > maxPartBytes)
      throw this.#calls.failure(
        'CreateMultipartUpload',
        this.#key(key),
        'invalid',
        `invalid part size: expected ${minPartBytes} to ${maxPartBytes} bytes, got ${partSize}`,
      );
    const initiated = new Date();
    return { key, id: await multipart.create(this.#calls, this.#key(key), contentType, signal), initiated };
  }

  uploadPart(upload: Upload, number: number, bytes: Uint8Array, { signal }: Cancel = {}): Promise<Part> {
    return multipart.uploadPart(this.#calls, this.#upload(upload), number, bytes, signal);
  }

  parts(upload: Upload, { signal }: Cancel = {}): AsyncIterable<Part> {
    return multipart.parts(this.#calls, this.#upload(upload), signal);
  }

  async completeUpload(
    upload: Upload,
    parts: readonly Part[],
    { condition, signal }: { readonly condition?: Condition } & Cancel = {},
  ): Promise<StoredObject> {
    const gap = parts.findIndex((part, index) => part.number !== index + 1);
    if (parts.length === 0 || gap !== -1)
      throw this.#calls.failure(
        'CompleteMultipartUpload',
        this.#key(upload.key),
        'invalid',
        `part ${gap === -1 ? 1 : gap + 1} is missing`,
      );
    return multipart.complete(this.#calls, this.#upload(upload), parts, conditionHeaders(condition), signal);
  }

  abortUpload(upload: Upload, { signal }: Cancel = {}): Promise<void> {
    return multipart.abort(this.#calls, this.#upload(upload), signal);
  }

  #key(key: string): string {
    return this.#root + key;
  }

  #target(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: this.#key(key) };
  }

  #upload({ key, id }: Upload): S3Upload {
    return { key: this.#key(key), id };
  }
}

/** The object of a PUT whose condition cannot hold, so that nothing is written. */
const PROBE = '.mirror/probe.json';
const NEVER_MET = { condition: { etag: `"${'0'.repeat(32)}"` }, contentType: 'application/json' };
