/** Files that the user names. The limit keeps a device or a wrong path from filling the memory. */
import { createReadStream } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { invalid } from './failure.ts';
import { withoutSecrets } from './secrets.ts';
import { wordsFor } from './system-error.ts';
import { unlessAborted } from './unless-aborted.ts';

/** Far above the size of a configuration, of keys, and of ten thousand logins. */
const MAX_BYTES = 16 * 1024 * 1024;

export interface InputOptions {
  /** Ends the wait for a file that does not respond, such as a pipe without a writer. */
  readonly signal?: AbortSignal | undefined;
  /** The name of the file in the operation; by default its path. */
  readonly name?: string;
}

/**
 * @param action the operation without the file: `read configuration`
 * @throws Failure `invalid` for the operation, in the words for what the system threw
 */
export async function inputFile(
  action: string,
  path: string,
  { signal, name = path }: InputOptions = {},
): Promise<Buffer> {
  try {
    return await readInput(path, signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw invalid(`${action} ${withoutSecrets(name)}`, wordsFor(error));
  }
}

/** @throws the error of the system, or an Error for a file of more than 16 MiB */
export async function readInput(path: string, signal?: AbortSignal): Promise<Buffer> {
  // `end` is inclusive.
  const reading = buffer(createReadStream(path, { end: MAX_BYTES }));
  // An aborted stream would wait for the end of its current read.
  const bytes = await (signal === undefined ? reading : unlessAborted(reading, signal));
  if (bytes.length > MAX_BYTES) throw new Error(`expected at most ${MAX_BYTES} bytes`);
  return bytes;
}
