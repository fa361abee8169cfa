/** Checks how a command names its configuration. */
import { stat } from 'node:fs/promises';
import { STDIN } from '../app/config-file.ts';
import { invalid } from '../core/failure.ts';
import type { SyncCommand } from './sync-arguments.ts';

/** Refuses a command without references and without a configuration. */
export async function requireConfig({ config, isConfigImplied }: SyncCommand): Promise<void> {
  if (config === undefined || !isConfigImplied || config === STDIN || (await isFile(config))) return;
  throw invalid(
    'mirror-sync sync',
    `name at least one image, such as alpine:3.20, or a configuration with --config FILE (there is no file ${config})`,
  );
}

/** Refuses a file name as a reference; it is probably a configuration without --config. */
export async function refuseFiles(names: readonly string[]): Promise<void> {
  for (const name of names)
    if (/\.ya?ml$/i.test(name) && (await isFile(name)))
      throw invalid('mirror-sync sync', `${name} is a file, not an image; did you mean --config ${name}?`);
}

async function isFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true;
}
