import type { Digest } from '../oci/digest.ts';

/**
 * The source port: what the mirror asks of an upstream registry (OCI distribution spec 1.1, "pull" and "content
 * discovery"). All errors are `Failure`s with side `source`. Short requests (everything but a blob's body) are retried
 * inside; a blob's body is resumed inside, and only what cannot be mended there is thrown.
 */
export interface Source {
  /** The repository, as a reference's name: `docker.io/library/alpine`. */
  readonly repository: string;

  /** What a tag (or digest) names now: HEAD, or GET where HEAD is refused or answers without a digest. */
  resolve(tagOrDigest: string, options?: Cancel): Promise<Resolved>;

  /** What a tag names now, with GET alone: for a registry whose HEAD names what cannot be fetched. */
  fetchTag(tag: string, options?: Cancel): Promise<FetchedManifest>;

  /** A manifest by digest: its bytes are proven against it, and are 4 MiB at most. */
  manifest(digest: Digest, options?: Cancel): Promise<FetchedManifest>;

  /** A small blob (a config) whole; proven against its digest; `too-large` beyond `maxBytes`. */
  smallBlob(
    digest: Digest,
    options: { readonly maxBytes: number; readonly size?: number } & Cancel,
  ): Promise<Uint8Array>;

  /** A blob for streaming. Nothing is requested yet. `urls` are a foreign layer's own addresses, tried first. */
  blob(digest: Digest, options?: { readonly size?: number; readonly urls?: readonly string[] } & Cancel): BlobSource;

  /** All tags, one page at a time, in the registry's order. */
  tags(options?: Cancel): AsyncIterable<readonly string[]>;
}

export interface Cancel {
  readonly signal?: AbortSignal | undefined;
}

export interface Resolved {
  readonly digest: Digest;
  /** The Content-Type that the registry gave. */
  readonly mediaType: string;
  /** Where a GET was needed, what it brought, already proven. */
  readonly fetched?: FetchedManifest | undefined;
}

export interface FetchedManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/**
 * One blob upstream. Several bodies may be open at once. It remembers what concerns the blob and not one body: where
 * the registry redirects to, and the strong ETag and total length that every further response must repeat.
 */
export interface BlobSource {
  /**
   * The bytes from `start` up to (not including) `end`, or to the blob's end where `end` is not given.
   *
   * The body ends only when exactly that much has arrived, and throws a Failure otherwise. A connection that breaks,
   * stalls or loses its token in the middle is resumed inside at the byte that is missing, after a wait; `resumed` then
   * says so. `range-ignored`, `range-mismatch` and `source-changed` are thrown where what would come now cannot be
   * believed to belong to what came before.
   */
  open(range: { readonly start: number; readonly end?: number | undefined }, options?: Cancel): Promise<BlobBody>;
}

export interface BlobBody {
  /** Each chunk is its reader's own, who may release it (`base/release.ts`). */
  readonly body: AsyncIterable<Uint8Array>;
  /**
   * False when a range was asked for and the registry sent the whole blob (200 for 206): then `body` starts at byte 0
   * and runs to the blob's end, whatever was asked. Only possible for `start` 0; elsewhere `range-ignored` is thrown.
   */
  readonly ranged: boolean;
  /** The whole blob's length in bytes, where the registry said it. */
  readonly total: number | undefined;
  /** How many times this body had to be resumed so far. */
  readonly resumed: () => number;
}

/** Gives the source for a repository; one registry client stands behind all of a host's repositories. */
export interface Sources {
  repository(name: { readonly host: string; readonly path: string }): Source;
  /** How many connections a blob's ranges and all other requests to this host share. */
  connections(host: string): number;
  close(): Promise<void>;
}
