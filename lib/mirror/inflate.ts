/** Decompression as a sink: bytes go in with backpressure, the uncompressed bytes come out through a callback. */
import { inflateOnThread } from './inflating-threads.ts';
import { type Compressed, SyncInflater } from './sync-inflate.ts';

/** Takes uncompressed bytes, in order. They are overwritten once it has returned. */
export type Sink = (chunk: Uint8Array) => void;

const ROOM_BYTES = 128 * 1024;

export interface Inflater {
  /** Resolves when the bytes have been consumed and may be reused; the next may be written before. Rejects with `not-as-declared` or the sink's error. */
  write(chunk: Uint8Array): Promise<void>;
  /** Resolves when everything has come out. Rejects where the stream was cut short. */
  end(): Promise<void>;
  /** Resolves when nothing reads any more what was written. */
  destroy(): Promise<void>;
}

/**
 * @param large whether it is worth a thread: then the caller reads and hashes while that inflates, and what it writes
 *   should be in shared memory, or is copied
 */
export function createInflater(compression: Compressed, sink: Sink, { large }: { readonly large: boolean }): Inflater {
  return large ? inflateOnThread(compression, sink) : inflateHere(compression, sink);
}

/** Room for what comes out here: its reader is done with it before anything else comes out. */
let here: Uint8Array | undefined;

function inflateHere(compression: Compressed, sink: Sink): Inflater {
  const room = (here ??= new Uint8Array(ROOM_BYTES));
  const inflater = new SyncInflater(compression, {
    room: () => room,
    filled: (length) => {
      sink(room.subarray(0, length));
    },
  });
  return {
    // As promises: what is thrown is a rejection.
    write: async (chunk) => {
      await Promise.resolve();
      inflater.write(chunk);
    },
    end: async () => {
      await Promise.resolve();
      inflater.end();
    },
    destroy: () => {
      inflater.destroy();
      return Promise.resolve();
    },
  };
}
