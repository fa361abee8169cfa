import { dirname, join } from 'node:path';
import { invalid } from '../core/failure.ts';
import { inputFile, type InputOptions } from '../core/input-file.ts';
import { withoutSecrets } from '../core/secrets.ts';
import { unlessAborted } from '../core/unless-aborted.ts';
import type { Config } from '../config/mirrors.ts';
import { libraryWith } from '../signatures/trusted-root.ts';

/** The name of standard input. */
export const STDIN = '-';

type Input = AsyncIterable<Uint8Array | string>;

/** A configuration with the files that it names. */
export interface LoadedConfig extends Config {
  /** The content of the file that `trustedRoot` names. */
  readonly root?: Uint8Array;
}

interface From {
  readonly stdin?: Input | undefined;
  readonly signal?: AbortSignal;
}

/** @param path of a mirror.yaml; `-` is standard input, and files beside it are those of the working directory */
export async function readConfig(path: string, from: From): Promise<LoadedConfig> {
  const config = await readFileOrInput(path, from);
  if (config.trustedRoot === undefined) return config;
  const name = config.trustedRoot;
  const root = join(path === STDIN ? '.' : dirname(path), name);
  return { ...config, root: await readTrustedRoot('read trustedRoot', root, { name, signal: from.signal }) };
}

/** Reads the trusted root of Sigstore, and checks it. */
export async function readTrustedRoot(action: string, path: string, options: InputOptions = {}): Promise<Uint8Array> {
  const bytes = await inputFile(action, path, options);
  await libraryWith(bytes, `${action} ${withoutSecrets(options.name ?? path)}`);
  return bytes;
}

async function readFileOrInput(path: string, { stdin, signal }: From): Promise<Config> {
  // The YAML parser is loaded on demand.
  const { MAX_CONFIG_BYTES, parseConfig } = await import('../config/config.ts');
  if (path !== STDIN)
    return parseConfig((await inputFile('read configuration', path, { signal })).toString('utf8'), path);
  const reading = readAll(stdin, MAX_CONFIG_BYTES);
  return parseConfig(await (signal === undefined ? reading : unlessAborted(reading, signal)), 'standard input');
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
