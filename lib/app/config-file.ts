import { readFile } from 'node:fs/promises';
import { Failure, invalid } from '../core/failure.ts';
import { wordsFor } from '../core/system-error.ts';
import type { Config } from '../config/mirrors.ts';

/** The name of standard input. */
export const STDIN = '-';

type Input = AsyncIterable<Uint8Array | string>;

/** @param path of a mirror.yaml; `-` is standard input */
export async function readConfig(path: string, { stdin }: { readonly stdin?: Input | undefined }): Promise<Config> {
  // The YAML parser is loaded on demand.
  const { MAX_CONFIG_BYTES, parseConfig } = await import('../config/config.ts');
  if (path === STDIN) return parseConfig(await readAll(stdin, MAX_CONFIG_BYTES), 'standard input');
  try {
    return parseConfig(await readFile(path, 'utf8'), path);
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw invalid(`read configuration ${path}`, wordsFor(error));
  }
}

async function readAll(stdin: Input | undefined, limit: number): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stdin ?? []) {
    const bytes = Buffer.from(chunk);
    length += bytes.length;
    chunks.push(bytes);
    // parseConfig reports that it is too large.
    if (length > limit) break;
  }
  if (length === 0) throw invalid('read configuration from standard input', 'it is empty');
  return Buffer.concat(chunks).toString('utf8');
}
