import type { Failure } from '../../core/failure.ts';
import { bodyOf } from '../body.ts';
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
  readonly signal: AbortSignal | undefined;
}

/**
 * Reads an open file from `start` to `size`, and closes it. The next chunk is read while the consumer processes the last
 * one. The consumer owns the memory of each chunk.
 */
export async function* stream(
  operation: string,
  file: BriefFile,
  { start, size, signal }: Section,
): AsyncGenerator<Uint8Array, void, void> {
  let at = start;
  const ahead = (): Promise<Uint8Array> => {
    const reading = readAll(file, Math.min(CHUNK_BYTES, size - at), at);
    // Prevents an unhandled rejection when the consumer has stopped; otherwise `await next` throws the error.
    reading.catch(() => undefined);
    return reading;
  };
  let next = ahead();
  try {
    while (at < size) {
      signal?.throwIfAborted();
      const chunk = await next;
      if (chunk.length < Math.min(CHUNK_BYTES, size - at)) throw ended(operation, at + chunk.length, size);
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

/** Opens a body whose chunks share one buffer. It closes the file. */
export function opened(
  operation: string,
  file: BriefFile,
  section: Omit<Section, 'size'>,
  chunkBytes: number,
): { readonly size: number; readonly body: AsyncIterable<Uint8Array> } {
  const close = (): void => {
    file.close();
  };
  try {
    const size = Number(file.stat().size);
    checkStart(operation, section.start, size);
    return { size, body: bodyOf(overwriting(operation, file, { ...section, size }, chunkBytes), close) };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * It does not read ahead: during a read, the kernel still sends the previous chunk from the buffers of the connection.
 */
async function* overwriting(
  operation: string,
  file: BriefFile,
  { start, size, signal }: Section,
  chunkBytes: number,
): AsyncGenerator<Uint8Array, void, void> {
  try {
    const buffer = Buffer.allocUnsafeSlow(Math.min(chunkBytes, size - start));
    for (let at = start; at < size;) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, size - at), at);
      if (bytesRead === 0) throw ended(operation, at, size);
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } catch (error) {
    throw toFailure(error, operation, signal);
  } finally {
    file.close();
  }
}

function ended(operation: string, at: number, size: number): Failure {
  return refuse(operation, 'truncated', `the file ended after ${at} of ${size} bytes`);
}

export function checkStart(operation: string, start: number, size: number): void {
  if (start > size) throw refuse(operation, 'invalid', `invalid start: expected at most ${size}, got ${start}`);
}
