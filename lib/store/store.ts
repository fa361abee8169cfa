/**
 * The object-store port: the operations of S3 that the archive needs, and that a folder can implement. Keys are relative to
 * the archive's root, `/`-separated, never empty, and have no `.` or `..` components.
 *
 * Every method accepts an AbortSignal, and leaves nothing running after its promise has settled. Errors are `Failure`s with
 * side `archive`. A missing key is not an error.
 */
export interface ObjectStore {
  /** The path of the folder, or `s3://bucket/prefix`. */
  readonly name: string;

  readonly limits: PartLimits;

  /** Reads a whole object. @throws Failure `too-large` above `maxBytes` */
  get(key: string, options: { readonly maxBytes: number } & Cancel): Promise<StoredBytes | undefined>;

  /**
   * Like `get`, but returns `unchanged` instead of the bytes if the object still has the version `etag`. A store in memory
   * need not have it.
   */
  getChanged?(
    key: string,
    etag: string,
    options: { readonly maxBytes: number } & Cancel,
  ): Promise<StoredBytes | 'unchanged' | undefined>;

  head(key: string, options?: Cancel): Promise<StoredObject | undefined>;

  /** Reads an object from `start` (default: 0) to its end; `undefined` if it does not exist. A short stream throws. */
  read(key: string, options?: { readonly start?: number } & Cancel): Promise<ReadableObject | undefined>;

  /**
   * Like `read`, but without the version, and for many bodies at a time: all chunks of a body share one buffer of `chunkBytes`,
   * so a chunk is valid until the next one is requested. For stores on this machine.
   */
  stream?(key: string, options: StreamOptions): Promise<Omit<ReadableObject, 'etag'> | undefined>;

  /**
   * A URL from which a client without credentials can GET the object, or ranges of it, for at most 15 minutes. It sends no
   * request to the store, so the object may be missing. For stores over a network.
   *
   * @param options `contentType` is the type in the response; by default, the type that the object has
   * @throws Failure `token-expired` if the store's credentials end within a minute
   */
  link?(key: string, options?: { readonly contentType?: string }): Promise<string>;

  /**
   * Writes a whole object atomically and durably. If it rejects, the previous object is unchanged. The store verifies the
   * bytes with `sha256` (hex). They may be reused after the promise has settled.
   *
   * @throws Failure `precondition-failed` if the condition does not hold
   */
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<StoredObject>;

  /** Deletes an object. With an `etag`, another version is not deleted. Neither that nor a missing object is an error. */
  delete(key: string, options?: { readonly etag?: string } & Cancel): Promise<void>;

  /** Lists all objects whose key starts with `prefix`, in any order. */
  list(prefix: string, options?: Cancel): AsyncIterable<ListedObject>;

  /** Lists the unfinished uploads whose key starts with `prefix`. */
  uploads(prefix: string, options?: Cancel): AsyncIterable<Upload>;

  /** Creates an upload whose parts, except the last, have `partSize` bytes. */
  createUpload(key: string, options: CreateUploadOptions): Promise<Upload>;

  /** Uploads or replaces part `number`, counted from 1. The bytes may be reused after the promise has settled. */
  uploadPart(upload: Upload, number: number, bytes: Uint8Array, options?: Cancel): Promise<Part>;

  /** Lists the stored parts by ascending number, possibly with gaps. @throws Failure `no-such-upload` */
  parts(upload: Upload, options?: Cancel): AsyncIterable<Part>;

  /** Creates the object from exactly these parts, which are contiguous from 1. @throws Failure `no-such-upload` */
  completeUpload(
    upload: Upload,
    parts: readonly Part[],
    options?: { readonly condition?: Condition } & Cancel,
  ): Promise<StoredObject>;

  /** Deletes an upload and its parts. A missing upload is not an error. */
  abortUpload(upload: Upload, options?: Cancel): Promise<void>;
}

export interface Cancel {
  readonly signal?: AbortSignal | undefined;
}

export interface StreamOptions extends Cancel {
  readonly start: number;
  readonly chunkBytes: number;
}

export interface PutOptions extends Cancel {
  readonly condition?: Condition;
  readonly sha256?: string;
  readonly contentType?: string;
}

export interface CreateUploadOptions extends Cancel {
  readonly partSize: number;
  readonly contentType?: string;
}

/** Write only if the object does not exist (`absent`), or only if it has this version. */
export type Condition = { readonly absent: true } | { readonly etag: string };

export interface StoredObject {
  /** The opaque version of the object; changes whenever its bytes change. */
  readonly etag: string;
  readonly size: number;
}

export interface StoredBytes extends StoredObject {
  readonly bytes: Uint8Array;
}

export interface ReadableObject extends StoredObject {
  /** Holds a file or a connection until it has been iterated, or its iterator returned, also before the first chunk. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface ListedObject {
  readonly key: string;
  readonly size: number;
  readonly modified: Date;
}

export interface Upload {
  readonly key: string;
  readonly id: string;
  readonly initiated: Date;
}

export interface Part {
  readonly number: number;
  readonly size: number;
  readonly etag: string;
  /** The opaque checksum of the part, which some stores require again on completion. */
  readonly checksum?: string | undefined;
}

/** S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
export interface PartLimits {
  /** The minimum size of all parts except the last, in bytes. */
  readonly minPartBytes: number;
  /** The preferred part size, while the number of parts is sufficient. Default: 8 MiB. */
  readonly usualPartBytes?: number;
  readonly maxPartBytes: number;
  readonly maxParts: number;
}
