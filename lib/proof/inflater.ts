/** Decompression as a sink: bytes go in with backpressure, the uncompressed bytes come out through a callback. */

/** Takes uncompressed bytes, in order. They are overwritten once it has returned. */
export type Sink = (chunk: Uint8Array) => void;

export interface Inflater {
  /** Resolves when the bytes have been consumed and may be reused; the next may be written before. Rejects with `not-as-declared` or the sink's error. */
  write(chunk: Uint8Array): Promise<void>;
  /** Resolves when everything has come out. Rejects where the stream was cut short. */
  end(): Promise<void>;
  /** Resolves when nothing reads any more what was written. */
  destroy(): Promise<void>;
}
