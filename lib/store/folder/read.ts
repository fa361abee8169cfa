import { refuse, toFailure } from './errors.ts';
import { type BriefFile, readAll } from './files.ts';

/** 512 MiB from the page cache take 90 ms; with chunks of 256 KiB 140 ms, and of 4 MiB 105 ms. */
const CHUNK_BYTES = 1024 * 1024;

/** Yields bytes in memory in chunks, and checks the signal before each. */
// eslint-disable-next-line @typescript-eslint/require-await -- a body is an async iterable, also one that need not wait
export async function* pieces(
  operation: string,
  bytes: Uint8Array,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    if (signal?.aborted === true) throw toFailure(signal.reason, operation, signal);
    yield bytes.subarray(at, at + CHUNK_BYTES);
  }
}

interface Section {
  readonly start: number;
  readonly size: number;
  /** Default: 1 MiB. */
  readonly chunkBytes: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/**
 * Reads an open file from `start` to `size`, and closes it. The next chunk is read while the consumer processes the last
 * one. The consumer owns the memory of each chunk.
 */
export async function* stream(
  operation: string,
  file: BriefFile,
  { start, size, chunkBytes = CHUNK_BYTES, signal }: Section,
): AsyncGenerator<Uint8Array, void, void> {
  let at = start;
  const ahead = (): Promise<Uint8Array> => {
    const reading = readAll(file, Math.min(chunkBytes, size - at), at);
    // Prevents an unhandled rejection when the consumer has stopped; otherwise `await next` throws the error.
    reading.catch(() => undefined);
    return reading;
  };
  let next = ahead();
  try {
    while (at < size) {
      signal?.throwIfAborted();
      const chunk = await next;
      if (chunk.length < Math.min(chunkBytes, size - at))
        throw refuse(operation, 'truncated', `the file ended after ${at + chunk.length} of ${size} bytes`);
      at += chunk.length;
      if (at < size) next = ahead();
      yield chunk;
    }
  } catch (error) {
    throw toFailure(error, operation, signal);
  } finally {
    await next.catch(() => undefined);
    file.close();
  }
}
