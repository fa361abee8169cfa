import { Failure } from '../../core/failure.ts';
import type { Config } from '../../config/mirrors.ts';
import { parseRepository } from '../../oci/reference.ts';
import type { CheckCommand } from '../command.ts';
import { readConfig } from '../../app/config-file.ts';
import { plural } from '../../core/format.ts';
import { EXIT, type Io, writeJson, writeLine } from '../output/io.ts';

/** Validates a configuration. Resolves to 2 for one that is not valid, as `sync` does. */
export async function check(command: CheckCommand, io: Io): Promise<number> {
  const { config, json } = command;
  const line = (value: object): unknown => writeJson(io.stdout, { type: 'check', ...value });
  let mirrors: Config['mirrors'];
  try {
    ({ mirrors } = await readConfig(config, io));
  } catch (error) {
    if (!json || !(error instanceof Failure) || error.side !== 'input') throw error;
    line({ ok: false, reason: error.message });
    return EXIT.usage;
  }
  const registries = new Set(mirrors.map(({ source }) => parseRepository(source).host)).size;
  if (json) line({ ok: true, mirrors: mirrors.length, registries });
  else {
    const counts = `${plural(mirrors.length, 'mirror')} of ${plural(registries, 'registry', 'registries')}`;
    writeLine(io.stdout, `${config}: valid (${counts})`);
  }
  return EXIT.ok;
}
