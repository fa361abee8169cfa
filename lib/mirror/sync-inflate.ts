/**
 * Decompression in one go: what is written has come out when the call returns. Node's own streams hand each piece over to
 * another thread and back, and where that thread or this one sleeps in between, waking up takes longer than inflating;
 * whoever wants a thread for it has a whole one to give (`inflating-threads.ts`).
 */
import { constants } from 'node:zlib';
import { Gunzip, ZstdDecompress } from 'minizlib';
import { Failure } from '../base/failure.ts';
import { ZstdFrameCutter } from './zstd-frames.ts';

export type Compressed = 'gzip' | 'zstd';

export type Sink = (chunk: Uint8Array) => void;

/**
 * Bytes that are inflated at once. All that they unpack to is in memory together, and that can be a thousand times as
 * much (deflate's best; RFC 1951): 66 MB.
 */
const PIECE_BYTES = 64 * 1024;

/** Room for what a piece usually unpacks to. */
const OUTPUT_BYTES = 256 * 1024;

/**
 * The largest window that a zstd frame may ask for: 128 MiB, zstd's own limit for a decoder that was not told otherwise
 * (`ZSTD_WINDOWLOG_LIMIT_DEFAULT`); it bounds what a hostile layer makes us allocate.
 */
const ZSTD_WINDOW_LOG = 27;

export class SyncInflater {
  readonly #name: Compressed;
  readonly #stream: Gunzip | ZstdDecompress;
  /** Node finishes with the frame that ends inside a write, and drops the rest of it. */
  readonly #frames: ZstdFrameCutter | undefined;
  #failure: unknown;
  #empty = true;

  constructor(compression: Compressed, sink: Sink) {
    this.#name = compression;
    // Options that minizlib hands on to Node and that its types do not know.
    if (compression === 'gzip') this.#stream = new Gunzip({ chunkSize: OUTPUT_BYTES } as object);
    else {
      this.#frames = new ZstdFrameCutter();
      const params = { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG };
      this.#stream = new ZstdDecompress({ chunkSize: OUTPUT_BYTES, params } as object);
    }
    this.#stream.on('error', (error) => {
      this.#refuse((error as Error).message, error as Error);
    });
    this.#stream.on('data', (chunk) => {
      sink(chunk);
    });
  }

  /** Throws `not-as-declared`, or the sink's error; from then on always the same. */
  write(chunk: Uint8Array): void {
    this.#work(() => {
      for (const run of this.#frames?.cut(chunk) ?? [chunk])
        for (let at = 0; at < run.length; at += PIECE_BYTES) this.#inflate(run.subarray(at, at + PIECE_BYTES));
    });
  }

  /** Throws where the stream was cut short. */
  end(): void {
    this.#work(() => {
      this.#frames?.end();
      // Skippable frames alone are content as well: none.
      if (this.#frames === undefined || !this.#empty) this.#stream.end();
    });
  }

  destroy(): void {
    this.#stream.close();
  }

  #inflate(piece: Uint8Array): void {
    this.#empty = false;
    this.#stream.write(Buffer.from(piece.buffer, piece.byteOffset, piece.length));
    if (this.#failure !== undefined) throw this.#failure as Error;
    // Zeros behind a gzip member end the stream, and what else came with them is dropped without a word. GNU gzip
    // ignores such padding; Go's reader, and so Docker and containerd, fails on it, and so do we.
    const consumed = (this.#stream.handle as unknown as { readonly bytesWritten: number }).bytesWritten;
    if (consumed < piece.length) this.#refuse('there are other bytes behind its end');
  }

  #work(work: () => void): void {
    if (this.#failure === undefined)
      try {
        work();
      } catch (error) {
        this.#failure ??= error;
      }
    if (this.#failure === undefined) return;
    this.destroy();
    throw this.#failure as Error;
  }

  #refuse(detail: string, cause?: Error): void {
    this.#failure ??= new Failure({
      operation: `read ${this.#name}`,
      side: 'input',
      code: 'not-as-declared',
      detail,
      cause,
    });
  }
}
