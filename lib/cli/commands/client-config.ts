import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { openArchive } from '../../app/open-archive.ts';
import { repositoriesOf } from '../../app/repositories.ts';
import { Failure, invalid } from '../../core/failure.ts';
import { systemCode, wordsFor } from '../../core/system-error.ts';
import { show } from '../../oci/show.ts';
import { requestName } from '../../serve/names.ts';
import { makeFolder } from '../../store/folder/files.ts';
import { type Client, CLIENTS, type ConfigFile, docker } from '../clients.ts';
import { defineCommand, usage } from '../command.ts';
import { EXIT, type Io, writeLine } from '../output/io.ts';
import { withholdingSettings } from '../../policy/policy.ts';

const NAME = 'client-config';

interface ClientConfigCommand {
  readonly client: Client;
  readonly registry: URL;
  readonly archive: string | undefined;
  readonly exclusive: boolean;
  readonly output: string | undefined;
}

export const clientConfig = defineCommand({
  name: NAME,
  summary: 'print files that make clients pull from an archive',
  usage: ['CLIENT --registry URL [ARCHIVE] [--exclusive]'],
  description: [
    'CLIENT is containerd, docker, podman or k3s. It asks the archive that mirror-sync serve offers at URL first, and then the registry itself. The files are for each ' +
      'registry of ARCHIVE, or for docker.io without one. Their limits are printed on standard error (docs/serve.md).',
  ],
  options: {
    registry: { value: 'URL', help: 'the address of the served archive: https://mirror.example.com' },
    exclusive: {
      help: 'do not let the client ask the registry itself; the default where a policy withholds images of ARCHIVE',
    },
    output: {
      value: 'FOLDER',
      isPath: true,
      help: 'write the files below this folder instead of printing them; existing files stay',
    },
  },
  words: [...CLIENTS.keys()],
  parse(args) {
    const [name, archive, ...more] = args.positionals;
    const client = CLIENTS.get(name ?? '');
    const available = [...CLIENTS.keys()].join(', ');
    if (name === undefined || more.length > 0)
      throw usage(NAME, `name one client (${available}) and at most one archive`);
    if (client === undefined) throw usage(NAME, `unknown client ${show(name)} (available: ${available})`);
    const registry = registryOf(args.value('registry'));
    const command = { client, registry, archive, exclusive: args.has('exclusive'), output: args.value('output') };
    return (io) => printConfig(command, io);
  },
});

async function printConfig(command: ClientConfigCommand, io: Io): Promise<number> {
  const { client, registry, archive, exclusive, output } = command;
  const { hosts, policies } =
    archive === undefined ? { hosts: ['docker.io'], policies: [] } : await found(archive, exclusive, io);
  // dockerd asks its mirror for images of docker.io only.
  const withheld = new Map(policies.filter(([name]) => client !== docker || name.startsWith('docker.io/')));
  const { files, notes } = client({ registry, hosts, exclusive: exclusive || withheld.size > 0, withheld });
  for (const [at, file] of files.entries())
    if (output !== undefined) await writeConfig(file, output, io);
    else if (file.hasComments) io.stdout.write(`${at === 0 ? '' : '\n'}# ${file.path}\n${file.text}`);
    else {
      writeLine(io.stderr, `${file.path}:`);
      io.stdout.write(file.text);
    }
  for (const note of notes) writeLine(io.stderr, `note: ${note}`);
  if (withheld.size > 0) writeLine(io.stderr, `note: ${becauseOf([...withheld.keys()])}`);
  return EXIT.ok;
}

/** Repositories in the note. */
const SOME = 3;

function becauseOf(repositories: readonly string[]): string {
  const some = repositories.slice(0, SOME).join(', ') + (repositories.length > SOME ? ', …' : '');
  return `the files are exclusive, because a policy withholds images (${some}), and the client would get them from the registry itself`;
}

/**
 * The registries whose images are in an archive, and the repositories whose policy withholds images, with its settings;
 * exclusive files need no policy.
 *
 * @throws Failure for a policy that cannot be read
 */
async function found(
  archive: string,
  exclusive: boolean,
  io: Io,
): Promise<{ readonly hosts: readonly string[]; readonly policies: readonly (readonly [string, string])[] }> {
  await using opened = await openArchive(archive, 'read', io);
  const names = await repositoriesOf(opened.archive, io.signal);
  const hosts = new Set<string>();
  const policies: [string, string][] = [];
  for (const name of names) {
    if (requestName(name) === undefined) continue;
    hosts.add(name.slice(0, name.indexOf('/')));
    // Without its policy, a file that is not exclusive may let clients pull withheld images from the registry itself.
    const read = exclusive ? undefined : await opened.archive.tagIndex(name, { signal: io.signal });
    const settings = read === undefined ? '' : withholdingSettings(read.index.control.policy);
    if (settings !== '') policies.push([name, settings]);
  }
  if (hosts.size === 0) throw invalid(`read archive ${archive}`, 'it has no repository; leave it out for docker.io');
  return { hosts: [...hosts], policies };
}

async function writeConfig({ path, name, text }: ConfigFile, folder: string, { stdout }: Io): Promise<void> {
  const file = join(folder, name);
  try {
    await makeFolder(dirname(file));
    await writeFile(file, text, { flag: 'wx' });
  } catch (error) {
    if (error instanceof Failure) throw invalid(`write ${file}`, error.detail);
    const exists = systemCode(error) === 'EEXIST';
    throw invalid(`write ${file}`, exists ? 'the file exists; remove it, or choose another --output' : wordsFor(error));
  }
  writeLine(stdout, `${file}  for ${path}`);
}

function registryOf(text: string | undefined): URL {
  const example = 'such as https://mirror.example.com or http://127.0.0.1:5000';
  if (text === undefined) throw usage(NAME, `name the served archive with --registry URL, ${example}`);
  const url = URL.parse(text);
  const isOrigin = url !== null && [url.origin, `${url.origin}/`].includes(url.href);
  if (!isOrigin || !/^https?:$/.test(url.protocol))
    throw usage(NAME, `--registry must be an address without a path, ${example}, not ${show(text)}`);
  return url;
}
