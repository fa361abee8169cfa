/**
 * The object-store port: the little that the archive needs of S3, and that a folder can do as well. Keys are relative
 * to the archive's root, `/`-separated, never empty, without `.` or `..` components.
 *
 * Every method takes an AbortSignal and leaves nothing running once its promise has settled. Errors are `Failure`s with
 * side `archive`; a key that is not there is an answer (`undefined`, or nothing to delete), not an error.
 */
export interface ObjectStore {
  /** How a person names it: a folder's path, or `s3://bucket/prefix`. */
  readonly name: string;

  /** What parts of a multipart upload may be. */
  readonly limits: PartLimits;

  /**
   * A whole small object. Refuses (`too-large`) instead of truncating when it is longer than `maxBytes`.
   */
  get(key: string, options: { readonly maxBytes: number } & Cancel): Promise<StoredBytes | undefined>;

  head(key: string, options?: Cancel): Promise<StoredObject | undefined>;

  /**
   * The bytes of an object from `start` (0 unless told) to its end, in order. The stream throws at its end when it was
   * shorter than the object. `undefined` when there is no such object.
   */
  read(key: string, options?: { readonly start?: number } & Cancel): Promise<ReadableObject | undefined>;

  /**
   * Writes a whole object at once: after it resolves the object is there, durably; before that, or when it rejects,
   * what was there before is there still. `sha256` (hex) is what the store itself checks the bytes against.
   * A condition that does not hold is a `precondition-failed`.
   */
  put(
    key: string,
    bytes: Uint8Array,
    options?: { readonly condition?: Condition; readonly sha256?: string; readonly contentType?: string } & Cancel,
  ): Promise<StoredObject>;

  /**
   * Deletes an object. A missing object is not an error. With an `etag` only that version is deleted, and one that was put in its
   * place meanwhile stays, which is not an error either.
   */
  delete(key: string, options?: { readonly etag?: string } & Cancel): Promise<void>;

  /** All objects whose key starts with `prefix`, in no particular order, page by page underneath. */
  list(prefix: string, options?: Cancel): AsyncIterable<ListedObject>;

  /** Unfinished uploads whose key starts with `prefix`. */
  uploads(prefix: string, options?: Cancel): AsyncIterable<Upload>;

  /** Begins an upload whose parts, but for the last, are all `partSize` bytes long. */
  createUpload(
    key: string,
    options: { readonly partSize: number; readonly contentType?: string } & Cancel,
  ): Promise<Upload>;

  /** Uploads (or replaces) part `number`, counted from 1. The bytes may be reused once it has settled. */
  uploadPart(upload: Upload, number: number, bytes: Uint8Array, options?: Cancel): Promise<Part>;

  /** The parts that have landed, by ascending number; they need not be contiguous. `no-such-upload` when it is gone. */
  parts(upload: Upload, options?: Cancel): AsyncIterable<Part>;

  /** Makes the object out of exactly these parts, which must be contiguous from 1. `no-such-upload` when it is gone. */
  completeUpload(
    upload: Upload,
    parts: readonly Part[],
    options?: { readonly condition?: Condition } & Cancel,
  ): Promise<StoredObject>;

  /** Forgets an upload and its parts. A missing upload is not an error. */
  abortUpload(upload: Upload, options?: Cancel): Promise<void>;
}

export interface Cancel {
  readonly signal?: AbortSignal | undefined;
}

/** Write only if nothing is there (`absent`), or only over the version that was read. */
export type Condition = { readonly absent: true } | { readonly etag: string };

export interface StoredObject {
  /** Opaque version of the object's bytes; changes whenever they do. */
  readonly etag: string;
  /** Bytes. */
  readonly size: number;
}

export interface StoredBytes extends StoredObject {
  readonly bytes: Uint8Array;
}

export interface ReadableObject extends StoredObject {
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
  /** What the store checked the part's bytes against and wants to be told again on completion, where it keeps one; opaque. */
  readonly checksum?: string | undefined;
}

/** S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
export interface PartLimits {
  /** Smallest part but the last, in bytes. */
  readonly minPartBytes: number;
  /** The part size that suits the store, while a blob's parts suffice; 8 MiB where it does not say. */
  readonly usualPartBytes?: number;
  readonly maxPartBytes: number;
  readonly maxParts: number;
}
