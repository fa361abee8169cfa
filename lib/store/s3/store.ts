import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { DeleteObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import type { ListObjectsV2CommandOutput, S3Client } from '@aws-sdk/client-s3';
import { Failure } from '../../core/failure.ts';
import type { FailureCode } from '../../core/failure.ts';
import { PATIENT } from '../../core/retry.ts';
import type { RetryPolicy } from '../../core/retry.ts';
import { S3_PART_LIMITS } from '../parts.ts';
import type {
  Cancel,
  Condition,
  ListedObject,
  ObjectStore,
  Part,
  ReadableObject,
  StoredBytes,
  StoredObject,
  Upload,
} from '../store.ts';
import { Calls } from './calls.ts';
import { connect } from './client.ts';
import type { ConnectOptions } from './client.ts';
import { NEEDS_CONDITIONS } from './failure.ts';
import type { Operation } from './failure.ts';
import * as multipart from './multipart.ts';
import { present } from './multipart.ts';
import type { ConditionHeaders, S3Upload } from './multipart.ts';
import { lookUp, openReading } from './read.ts';
import type { Reading } from './read.ts';
import type { S3Location } from './url.ts';

export interface S3StoreOptions extends S3Location, ConnectOptions {
  /** A client instead of one that `connect` makes; its own retries should be off, since the store does them. */
  readonly client?: S3Client | (() => Promise<S3Client>) | undefined;
  readonly retry?: RetryPolicy | undefined;
  /** Whether bodies are sent with checksum headers (default: yes). Without them, the signature covers the bodies. */
  readonly checksums?: boolean | undefined;
}

export interface S3Store extends ObjectStore {
  /** Requests sent so far by operation (`PutObject: 3`), those tried again included: what a mirror costs. */
  requests(): Record<string, number>;
  /** Whether the key of any object begins with `prefix`: one request. */
  holds(prefix: string, options?: Cancel): Promise<boolean>;
  /**
   * Finds out, with one request that changes nothing, whether this store can be written: the bucket, the credentials, the right
   * to write, checksums and conditional writes.
   */
  prepare(options?: Cancel): Promise<void>;
  /** Gives the connections back; what is under way fails. */
  close(): Promise<void>;
}

/** Nothing is sent, and no configuration read, before the first method is called. */
export function openS3Store(options: S3StoreOptions): S3Store {
  return new Store(options);
}

class Store implements S3Store {
  readonly name: string;
  readonly limits = S3_PART_LIMITS;
  readonly #bucket: string;
  /** `''`, or with a slash at its end. */
  readonly #root: string;
  readonly #calls: Calls;

  constructor(options: S3StoreOptions) {
    const { bucket, prefix, client, retry = PATIENT, checksums = true } = options;
    this.name = prefix === '' ? `s3://${bucket}` : `s3://${bucket}/${prefix}`;
    this.#bucket = bucket;
    this.#root = prefix === '' ? '' : `${prefix}/`;
    const given = typeof client === 'object' ? () => Promise.resolve(client) : client;
    this.#calls = new Calls(bucket, given ?? (() => connect(options)), retry, checksums);
  }

  requests(): Record<string, number> {
    return this.#calls.counts();
  }

  close(): Promise<void> {
    return this.#calls.close();
  }

  async get(
    key: string,
    { maxBytes, signal }: { readonly maxBytes: number } & Cancel,
  ): Promise<StoredBytes | undefined> {
    const reading = await this.#open(key, 0, signal);
    if (reading === undefined) return undefined;
    const { size, etag } = reading;
    if (size > maxBytes) {
      reading.cancel();
      throw this.#failure('GetObject', key, 'too-large', `it has ${size} bytes, and at most ${maxBytes} are read`);
    }
    const bytes = new Uint8Array(size);
    let at = 0;
    for await (const chunk of reading.body) {
      bytes.set(chunk, at);
      at += chunk.byteLength;
    }
    return { bytes, size, etag };
  }

  async head(key: string, { signal }: Cancel = {}): Promise<StoredObject | undefined> {
    const answer = await lookUp(this.#calls, this.#key(key), signal);
    if (answer === undefined) return undefined;
    return {
      etag: present(answer.ETag, 'HeadObject', 'ETag'),
      size: present(answer.ContentLength, 'HeadObject', 'Content-Length'),
    };
  }

  async read(
    key: string,
    { start = 0, signal }: { readonly start?: number } & Cancel = {},
  ): Promise<ReadableObject | undefined> {
    try {
      return await this.#open(key, start, signal);
    } catch (error) {
      // 416: there is no byte at `start`. Just behind the last one that is an empty rest, further on a mistake.
      if (!(error instanceof Failure) || error.status !== 416) throw error;
      const there = await this.head(key, { signal });
      if (there?.size !== start) throw error;
      return { ...there, body: Readable.from([]) };
    }
  }

  async put(
    key: string,
    bytes: Uint8Array,
    options: { readonly condition?: Condition; readonly sha256?: string; readonly contentType?: string } & Cancel = {},
  ): Promise<StoredObject> {
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
      return { etag: present(answer.ETag, 'PutObject', 'ETag'), size: bytes.byteLength };
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      // If-Match over what is not there: S3 says 404, and means that the condition does not hold.
      if (error.code === 'blob-unknown' && condition !== undefined)
        throw this.#failure('PutObject', key, 'precondition-failed', 'there is no such object (any more)', error);
      // A write whose answer was lost meets its own work when it is repeated.
      if (error.code !== 'precondition-failed' || sent === 1) throw error;
      const etag = await this.#etagIfThere(key, bytes, checksum, signal);
      if (etag === undefined) throw error;
      return { etag, size: bytes.byteLength };
    }
  }

  /** What the header of a PUT says; without headers, the digest that the caller names is compared here. */
  #checksumOf(key: string, bytes: Uint8Array, sha256: string | undefined): string | undefined {
    if (this.#calls.checksums) return Buffer.from(sha256 ?? hashOf(bytes), 'hex').toString('base64');
    const actual = sha256 === undefined ? undefined : hashOf(bytes);
    if (actual === sha256) return undefined;
    const detail = `its ${bytes.byteLength} bytes hash to ${actual}, not to ${sha256}`;
    throw this.#failure('PutObject', key, 'digest-mismatch', detail);
  }

  /** The version of the object that is there, if it has these bytes: by its checksum, or read and compared if it has none. */
  async #etagIfThere(
    key: string,
    bytes: Uint8Array,
    checksum: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    if (checksum !== undefined) {
      const there = await lookUp(this.#calls, this.#key(key), signal, true);
      return there?.ChecksumSHA256 === checksum ? there.ETag : undefined;
    }
    const there = await this.head(key, { signal });
    if (there?.size !== bytes.byteLength) return undefined;
    const found = await this.get(key, { maxBytes: bytes.byteLength, signal });
    return found !== undefined && Buffer.compare(found.bytes, bytes) === 0 ? found.etag : undefined;
  }

  async holds(prefix: string, { signal }: Cancel = {}): Promise<boolean> {
    const operation = 'ListObjectsV2';
    const Prefix = this.#key(prefix);
    const page = await this.#calls.run(operation, Prefix, signal, async (client, options) =>
      multipart.wholePage(
        operation,
        await client.send(new ListObjectsV2Command({ Bucket: this.#bucket, Prefix, MaxKeys: 1 }), options),
      ),
    );
    return (page.Contents ?? []).length > 0;
  }

  async prepare({ signal }: Cancel = {}): Promise<void> {
    try {
      await this.put(PROBE, Buffer.from('{}\n'), {
        condition: { etag: NO_ETAG },
        contentType: 'application/json',
        signal,
      });
    } catch (error) {
      if (error instanceof Failure && error.code === 'precondition-failed') return;
      throw error;
    }
    // The store wrote over a version that does not exist: it ignores conditions, and would lose updates of tags.
    await this.delete(PROBE, { signal });
    throw this.#failure('PutObject', PROBE, 'unsupported', NEEDS_CONDITIONS);
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
    const operation = 'ListObjectsV2';
    let token: string | undefined;
    do {
      const page: ListObjectsV2CommandOutput = await this.#calls.run(
        operation,
        this.#key(prefix),
        signal,
        async (client, options) =>
          multipart.wholePage(
            operation,
            await client.send(
              new ListObjectsV2Command({ Bucket: this.#bucket, Prefix: this.#key(prefix), ContinuationToken: token }),
              options,
            ),
          ),
      );
      for (const object of page.Contents ?? [])
        yield {
          key: present(object.Key, operation, 'Key').slice(this.#root.length),
          size: present(object.Size, operation, 'Size'),
          modified: present(object.LastModified, operation, 'LastModified'),
        };
      token =
        page.IsTruncated === true ? present(page.NextContinuationToken, operation, 'NextContinuationToken') : undefined;
    } while (token !== undefined);
  }

  async *uploads(prefix: string, { signal }: Cancel = {}): AsyncGenerator<Upload> {
    for await (const { key, id, initiated } of multipart.uploads(this.#calls, this.#key(prefix), signal))
      yield { key: key.slice(this.#root.length), id, initiated };
  }

  async createUpload(
    key: string,
    { partSize, contentType, signal }: { readonly partSize: number; readonly contentType?: string } & Cancel,
  ): Promise<Upload> {
    const { minPartBytes, maxPartBytes } = this.limits;
    if (partSize < minPartBytes || partSize > maxPartBytes)
      throw this.#failure(
        'CreateMultipartUpload',
        key,
        'invalid',
        `parts of ${partSize} bytes: S3 takes ${minPartBytes} to ${maxPartBytes}`,
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
      throw this.#failure(
        'CompleteMultipartUpload',
        upload.key,
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

  #open(key: string, start: number, signal: AbortSignal | undefined): Promise<Reading | undefined> {
    return openReading(this.#calls, this.#key(key), start, signal);
  }

  #failure(operation: Operation, key: string, code: FailureCode, detail: string, cause?: unknown): Failure {
    return new Failure({
      operation: `${operation} s3://${this.#bucket}/${this.#key(key)}`,
      side: 'archive',
      code,
      detail,
      cause,
    });
  }
}

/** An object that is never written: a PUT of it, over a version that cannot be there, asks a store what it can do. */
const PROBE = '.mirror/probe.json';
const NO_ETAG = `"${'0'.repeat(32)}"`;

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function conditionHeaders(condition: Condition | undefined): ConditionHeaders {
  if (condition === undefined) return {};
  return 'etag' in condition ? { IfMatch: condition.etag } : { IfNoneMatch: '*' };
}
