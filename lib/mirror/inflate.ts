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
  let empty = true;
  return {
    async write(chunk) {
      for (const piece of frames.cut(chunk)) {
        empty = false;
        await inner.write(piece);
      }
    },
    async end() {
      frames.end();
      // Skippable frames alone are content as well: none.
      if (!empty) await inner.end();
    },
    destroy: () => {
      inner.destroy();
    },
  };
}

type Decompressor = ReturnType<typeof createGunzip> | ReturnType<typeof createZstdDecompress>;

function drive(stream: Decompressor, name: string, sink: (chunk: Uint8Array) => void): Inflater {
  let failure: unknown;
  let fed = 0;
  /** Settles the write under way. A promise raced with every write would keep all of them until the end. */
  let settle: (() => void) | undefined;
  const ended = new Promise<void>((resolve) => {
    stream.once('close', () => {
      resolve();
      settle?.();
    });
  });
  const refuse = (detail: string, cause?: Error): void => {
    failure ??= new Failure({ operation: `read ${name}`, side: 'input', code: 'not-as-declared', detail, cause });
  };
  stream.once('error', (error) => {
    refuse(error.message, error);
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
      if (failure === undefined && !stream.closed) {
        await new Promise<void>((resolve) => {
          settle = resolve;
          stream.write(chunk, () => {
            resolve();
          });
        });
        fed += chunk.length;
        // Zeros behind a gzip member end Node's stream, and what else came with them is dropped without a word. GNU gzip
        // ignores such padding; Go's reader, and so Docker and containerd, fails on it, and so do we.
        if (stream.bytesWritten < fed && !stream.destroyed) refuse('there are other bytes behind its end');
      }
      if (failure !== undefined) throw failure as Error;
    },
    async end() {
      if (failure === undefined) stream.end();
      else stream.destroy();
      await ended;
      if (failure !== undefined) throw failure as Error;
    },
    destroy() {
      stream.destroy();
    },
  };
}
