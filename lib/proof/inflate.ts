/** Decompression on this thread, or on a thread of its own. */
import { MAX_WINDOW_LOG } from '../oci/compression.ts';
import type { Inflater, Sink } from './inflater.ts';
import { inflateOnThread } from './inflating-threads.ts';
import { type Compressed, SyncInflater } from './sync-inflate.ts';

const ROOM_BYTES = 128 * 1024;

/**
 * @param large whether it is worth a thread: then the caller reads and hashes while that thread inflates, and bytes
 *   outside shared memory are copied
 * @param windowLog see `SyncInflater`
 */
export function createInflater(
  compression: Compressed,
  sink: Sink,
  { large, windowLog = MAX_WINDOW_LOG }: { readonly large: boolean; readonly windowLog?: number },
): Inflater {
  return large ? inflateOnThread(compression, windowLog, sink) : inflateHere(compression, windowLog, sink);
}

/** The room for uncompressed bytes; the sink has read them before more come out. */
let here: Uint8Array | undefined;

function inflateHere(compression: Compressed, windowLog: number, sink: Sink): Inflater {
  const room = (here ??= new Uint8Array(ROOM_BYTES));
  const output = {
    room: () => room,
    filled: (length: number): void => {
      sink(room.subarray(0, length));
    },
  };
  const inflater = new SyncInflater(compression, output, windowLog);
  return {
    // An async function turns what is thrown into a rejection.
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
