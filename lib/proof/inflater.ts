import type { ContentOptions, DiffIds } from './content.ts';

export type Compressed = 'gzip' | 'zstd';

/** A plain object, which can be posted to a thread. */
export interface InflateOptions extends ContentOptions {
  readonly compression: Compressed;
  /** The size of the blob, in bytes; `Infinity` where it is unknown. */
  readonly size: number;
  /** The largest window that a zstd frame may ask for, as the base-2 logarithm of its bytes. */
  readonly windowLog: number;
}

/** Decompression with backpressure: compressed bytes go in, the digests of the uncompressed bytes come out. */
export interface Inflater {
  /**
   * Resolves when the bytes are processed. They may be overwritten once it has resolved or rejected. The next bytes may be
   * written before that. After a failure, every call rejects with it.
   *
   * @throws Failure `not-as-declared` for other bytes, `too-large` beyond the limits, and `no-space` where a frame needs
   *   a window that is larger than `windowLog`, and not larger than the largest
   */
  write(chunk: Uint8Array): Promise<void>;
  /** Resolves to the digests once all bytes are processed. Rejects where the stream is incomplete. */
  end(): Promise<DiffIds>;
  /** Resolves when the written bytes are not read any more. Later calls reject. */
  destroy(): Promise<void>;
}
