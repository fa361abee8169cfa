import { readFile, stat } from 'node:fs/promises';
import { Failure, invalid } from '../core/failure.ts';
import { wordsFor } from '../core/system-error.ts';
import type { Config } from '../config/mirrors.ts';
import type { SyncCommand } from '../cli/sync-arguments.ts';
import type { Io } from '../cli/output/io.ts';

/** The name of standard input on the command line. */
const STDIN = '-';

/** @param path of a mirror.yaml; `-` is standard input */
export async function readConfig(path: string, { stdin }: Pick<Io, 'stdin'>): Promise<Config> {
  // Loaded when it is needed, with all of YAML.
  const { MAX_CONFIG_BYTES, parseConfig } = await import('../config/config.ts');
  if (path === STDIN) return parseConfig(await readAll(stdin, MAX_CONFIG_BYTES), 'standard input');
  try {
    return parseConfig(await readFile(path, 'utf8'), path);
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw invalid(`read configuration ${path}`, wordsFor(error));
  }
}

async function readAll(stdin: Io['stdin'], limit: number): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stdin ?? []) {
    const bytes = Buffer.from(chunk);
    length += bytes.length;
    chunks.push(bytes);
    // parseConfig says that it is too large.
    if (length > limit) break;
  }
  if (length === 0) throw invalid('read configuration from standard input', 'it is empty');
  return Buffer.concat(chunks).toString('utf8');
}

/** Refuses a command that names nothing to mirror where no configuration is implied either. */
export async function requireConfig({ config, isConfigImplied }: SyncCommand): Promise<void> {
  if (config === undefined || !isConfigImplied || config === STDIN || (await isFile(config))) return;
  throw invalid(
    'mirror-sync sync',
    `name at least one image, such as alpine:3.20, or a configuration with --config FILE (there is no file ${config})`,
  );
}

/** Refuses a file name among the references: it is a configuration, of which the option was forgotten. */
export async function refuseFiles(names: readonly string[]): Promise<void> {
  for (const name of names)
    if (/\.ya?ml$/i.test(name) && (await isFile(name)))
      throw invalid('mirror-sync sync', `${name} is a file, not an image; did you mean --config ${name}?`);
}

async function isFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true;
}
