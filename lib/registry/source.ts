import type { Digest } from '../oci/digest.ts';

/**
 * The source port: the operations that a sync needs from a registry (OCI distribution spec 1.1, "pull" and "content
 * discovery"). All errors are `Failure`s with side `source`. Implementations retry short requests (all except a blob's
 * body) and resume the body of a blob; they throw only failures that remain after that.
 */
export interface Source {
  /** The name of the repository as in a reference: `docker.io/library/alpine`. */
  readonly repository: string;

  /** Resolves a tag or digest with HEAD, or with GET if HEAD is refused or has no digest. */
  resolve(tagOrDigest: string, options?: Cancel): Promise<Resolved>;

  /** Fetches the manifest of a tag with GET: of a tag that the archive lacks, or whose digest from HEAD cannot be fetched. */
  fetchTag(tag: string, options?: Cancel): Promise<FetchedManifest>;

  /** Fetches a manifest of at most 4 MiB by digest, and verifies the digest. */
  manifest(digest: Digest, options?: Cancel): Promise<FetchedManifest>;

  /** Fetches a small blob, such as a config, and verifies its digest. @throws Failure `too-large` above `maxBytes` */
  smallBlob(
    digest: Digest,
    options: { readonly maxBytes: number; readonly size?: number } & Cancel,
  ): Promise<Uint8Array>;

  /** A blob for streaming. Nothing is requested yet. `urls` are a foreign layer's URLs, which are tried first. */
  blob(digest: Digest, options?: { readonly size?: number; readonly urls?: readonly string[] } & Cancel): BlobSource;

  /** All tags, one page at a time, in the registry's order. */
  tags(options?: Cancel): AsyncIterable<readonly string[]>;

  /**
   * The referrers of a manifest, such as its signatures: from the referrers API, or the tag schema `sha256-…`, and from
   * cosign's tags. The list is bounded, and only a hint: the manifest of a referrer states its subject.
   *
   * A registry with the API costs one request, and the list of the repository's tags once for all its manifests. A
   * registry without the API costs one request for each referrer's tag that the list has.
   *
   * @throws Failure for a temporary problem, and for a list that cannot be read
   */
  referrers(digest: Digest, options?: ReferrersQuery & Cancel): Promise<Referrers>;
}

export interface ReferrersQuery {
  /** Only referrers of these types, and those whose type the list omits. Default: all. */
  readonly artifactTypes?: readonly string[] | undefined;
  /** Lists the tags of the repository again, even if they were listed a moment ago. */
  readonly fresh?: boolean | undefined;
}

export interface Referrers {
  readonly manifests: readonly Referrer[];
  /** The parts that are missing in the list, each a sentence. */
  readonly notes: readonly string[];
}

/** A referrer as the registry lists it. */
export interface Referrer extends Omit<Resolved, 'fetched'> {
  /** Bytes; unknown for a tag. */
  readonly size?: number;
  readonly artifactType?: string;
  /** The tag of cosign (`sha256-….sig`) that names it. The manifest of such a referrer has no subject. */
  readonly tag?: string;
}

export interface Cancel {
  readonly signal?: AbortSignal | undefined;
}

export interface Resolved {
  readonly digest: Digest;
  /** The Content-Type of the response. */
  readonly mediaType: string;
  /** The verified manifest, if a GET was needed. */
  readonly fetched?: FetchedManifest | undefined;
}

export interface FetchedManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/**
 * One blob of a registry. Several bodies may be open at once. They share the target of the registry's redirect, and the
 * strong ETag and the total length that each further response must repeat.
 */
export interface BlobSource {
  /**
   * The bytes from `start` to `end` (exclusive), or to the blob's end if `end` is undefined.
   *
   * The body ends when exactly these bytes have arrived, and throws a Failure otherwise. After a broken or stalled
   * connection or an expired token it resumes at the first missing byte, and counts this in `resumed`. It throws
   * `range-ignored`, `range-mismatch` or `source-changed` if the next bytes may not belong to the previous ones.
   */
  open(range: { readonly start: number; readonly end?: number | undefined }, options?: Cancel): Promise<BlobBody>;
}

export interface BlobBody {
  /** The reader owns each chunk, and may release it (`core/release.ts`). */
  readonly body: AsyncIterable<Uint8Array>;
  /**
   * False if the registry sent the whole blob (200) instead of the range (206), or refused the range and was asked for
   * the whole blob; `body` then contains the whole blob. Only possible for `start` 0; otherwise `range-ignored` or
   * `range-mismatch` is thrown.
   */
  readonly ranged: boolean;
  /** The length of the whole blob in bytes, if the registry sent it. */
  readonly total: number | undefined;
  /** The number of times this body was resumed. */
  readonly resumed: () => number;
}

/** The sources of all repositories; the repositories of a host share one client. */
export interface Sources {
  repository(name: { readonly host: string; readonly path: string }): Source;
  /** The number of connections that all requests to this host share. */
  connections(host: string): number;
  close(): Promise<void>;
}
