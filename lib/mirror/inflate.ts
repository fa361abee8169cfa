/**
 * Decompression as a sink: bytes go in with backpressure, the uncompressed bytes come out through a callback, and the
 * work itself happens on libuv's threads, so that the caller hashes one chunk while the next is being inflated.
 */
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';
import { Failure } from '../base/failure.ts';
import { ZstdFrameCutter } from './zstd-frames.ts';

export interface Inflater {
  /** Resolves when the bytes have been consumed and may be reused. Rejects with `not-as-declared` or the sink's error. */
  write(chunk: Uint8Array): Promise<void>;
  /** Resolves when everything has come out. Rejects where the stream was cut short. */
  end(): Promise<void>;
  destroy(): void;
}

/** Smaller chunks cost more hand-overs between threads than they save memory; larger ones gain nothing (bench/README). */
const CHUNK_BYTES = 256 * 1024;

/**
 * The largest window that a zstd frame may ask for: 128 MiB, zstd's own limit for a decoder that was not told otherwise
 * (`ZSTD_WINDOWLOG_LIMIT_DEFAULT`); it bounds what a hostile layer makes us allocate.
 */
const ZSTD_WINDOW_LOG = 27;

export function createInflater(compression: 'gzip' | 'zstd', sink: (chunk: Uint8Array) => void): Inflater {
  if (compression === 'gzip') return drive(createGunzip({ chunkSize: CHUNK_BYTES }), 'gzip', sink);

  const frames = new ZstdFrameCutter();
  const stream = createZstdDecompress({
    chunkSize: CHUNK_BYTES,
    params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG },
  });
  const inner = drive(stream, 'zstd', sink);
  return {
    async write(chunk) {
      for (const piece of frames.cut(chunk)) await inner.write(piece);
    },
    async end() {
      frames.end();
      await inner.end();
    },
    destroy: () => {
      inner.destroy();
    },
  };
}

type Decompressor = ReturnType<typeof createGunzip> | ReturnType<typeof createZstdDecompress>;

function drive(stream: Decompressor, name: string, sink: (chunk: Uint8Array) => void): Inflater {
  let failure: unknown;
  const ended = new Promise<void>((resolve) => {
    stream.once('close', resolve);
  });
  stream.once('error', (error) => {
    failure ??= new Failure({
      operation: `read ${name}`,
      side: 'input',
      code: 'not-as-declared',
      detail: error.message,
      cause: error,
    });
  });
  stream.on('data', (chunk: Uint8Array) => {
    try {
      sink(chunk);
    } catch (error) {
      failure ??= error;
      stream.destroy();
    }
  });

  return {
    async write(chunk) {
      if (failure === undefined)
        await Promise.race([
          new Promise<void>((resolve) => {
            stream.write(chunk, () => {
              resolve();
            });
          }),
          ended,
        ]);
      if (failure !== undefined) throw failure as Error;
    },
    async end() {
      if (failure === undefined) stream.end();
      await ended;
      if (failure !== undefined) throw failure as Error;
    },
    destroy() {
      stream.destroy();
    },
  };
}
