/** Decompression as a sink: bytes go in with backpressure, the uncompressed bytes come out through a callback. */
import { inflateOnThread } from './inflating-threads.ts';
import { type Compressed, type Sink, SyncInflater } from './sync-inflate.ts';

export interface Inflater {
  /** Resolves when the bytes have been consumed and may be reused; the next may be written before. Rejects with `not-as-declared` or the sink's error. */
  write(chunk: Uint8Array): Promise<void>;
  /** Resolves when everything has come out. Rejects where the stream was cut short. */
  end(): Promise<void>;
  destroy(): void;
}

/**
 * @param large whether it is worth a thread: then the caller reads and hashes while that inflates, and what it writes
 *   should be in shared memory, or is copied
 */
export function createInflater(compression: Compressed, sink: Sink, { large }: { readonly large: boolean }): Inflater {
  return large ? inflateOnThread(compression, sink) : inflateHere(compression, sink);
}

function inflateHere(compression: Compressed, sink: Sink): Inflater {
  const inflater = new SyncInflater(compression, sink);
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
    },
  };
}
