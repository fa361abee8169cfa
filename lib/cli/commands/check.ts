import { withoutSecrets } from '../../core/secrets.ts';
import { Failure } from '../../core/failure.ts';
import type { Config } from '../../config/mirrors.ts';
import { parseRepository } from '../../oci/reference.ts';
import { defineCommand, usage } from '../command.ts';
import { readConfig } from '../../app/config-file.ts';
import { plural } from '../../core/format.ts';
import { EXIT, type Io, writeJson, writeLine } from '../output/io.ts';

export const check = defineCommand({
  name: 'check',
  summary: 'validate a mirror.yaml without using the network',
  usage: ['[--config] FILE [--json]'],
  description: [
    'FILE - is standard input. Every problem is reported with its line and column. Exit code: 0 when the file is valid, 2 when ' +
      'it is not.',
  ],
  options: {
    config: {
      value: 'FILE',
      isPath: true,
      help: 'the mirror.yaml, as sync names it',
      elsewhere: ['file', 'f', 'c'],
    },
    json: { help: 'one JSON object' },
  },
  parse(args) {
    const files = [...args.values('config'), ...args.positionals];
    const [config, ...more] = files;
    if (config === undefined) throw usage('check', 'name the file, such as mirror.yaml');
    if (more.length > 0) throw usage('check', `name one file (got ${files.map(withoutSecrets).join(', ')})`);
    return (io) => checkConfig(config, args.has('json'), io);
  },
});

/** Validates a configuration. Resolves to 2 for one that is not valid, as `sync` does. */
async function checkConfig(config: string, json: boolean, io: Io): Promise<number> {
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
