/** Files that the user names. The limit keeps a device or a wrong path from filling the memory. */
import { createReadStream } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { invalid } from './failure.ts';
import { wordsFor } from './system-error.ts';

/** Far above the size of a configuration, of keys, and of ten thousand logins. */
const MAX_BYTES = 16 * 1024 * 1024;

/** @throws Failure `invalid` for the operation, in the words for what the system threw */
export async function inputFile(operation: string, path: string): Promise<Buffer> {
  try {
    return await readInput(path);
  } catch (error) {
    throw invalid(operation, wordsFor(error));
  }
}

/** @throws the error of the system, or an Error for a file of more than 16 MiB */
export async function readInput(path: string): Promise<Buffer> {
  // `end` is inclusive.
  const bytes = await buffer(createReadStream(path, { end: MAX_BYTES }));
  if (bytes.length > MAX_BYTES) throw new Error(`expected at most ${MAX_BYTES} bytes`);
  return bytes;
}
