/** From arguments to a command, or a usage error; nothing is done here. */
import { Failure } from '../core/failure.ts';
import { parseForeignHost, parseHost } from '../config/definition.ts';
import { parseGlob } from '../config/glob.ts';
import { closest } from '../core/suggest.ts';
import { parsePlatform, type Platform } from '../oci/platform.ts';
import {
  formatRepository,
  isTag,
  parseReference,
  parseRepository,
  type Reference,
  withDefaultTag,
} from '../oci/reference.ts';
import { show } from '../oci/show.ts';
import { type CommandName, COMMANDS, DEFAULT_CONCURRENCY } from './help.ts';
import { type ParsedOptions, parseOptions, usage } from './options.ts';
import { type Progress, PROGRESS } from './output/output.ts';

export type Command =
  | SyncCommand
  | ListCommand
  | VerifyCommand
  | StatusCommand
  | ConvertCommand
  | CheckCommand
  | { readonly name: 'help'; readonly topic: CommandName | undefined }
  | { readonly name: 'version' };

export interface SyncCommand {
  readonly name: 'sync';
  /**
   * Each has a tag or a digest; where tags are chosen (`tags`, or a configuration), a name alone is a repository. With a
   * configuration they select mirrors of it; without any, all of it is mirrored.
   */
  readonly references: readonly Reference[];
  /** The references as they were typed. */
  readonly names: readonly string[];
  /** A mirror.yaml; `-` is standard input. */
  readonly config: string | undefined;
  /** The configuration was not named on the command line. */
  readonly isConfigImplied: boolean;
  readonly to: string;
  /** Which tags of the repositories that are named: those that match one of these patterns. */
  readonly tags: readonly string[] | undefined;
  readonly platforms: readonly Platform[];
  readonly foreignLayers: 'fetch' | 'skip';
  readonly strictMediaTypes: boolean;
  readonly insecure: readonly string[];
  readonly authfile: string | undefined;
  /** Connections per registry, and blobs that are fetched concurrently. */
  readonly concurrency: number;
  /** Hosts besides Microsoft's from which foreign layers are fetched. */
  readonly foreignHosts: readonly string[];
  /** The longest wait for a registry that limits its requests, in milliseconds. */
  readonly maxWaitMs: number;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly progress: Progress | undefined;
}

export interface CheckCommand {
  readonly name: 'check';
  /** A mirror.yaml; `-` is standard input. */
  readonly config: string;
  readonly json: boolean;
}

export interface ListCommand {
  readonly name: 'ls';
  readonly archive: string;
  /** Only these repositories; all of them where there is none. */
  readonly repositories: readonly string[];
  readonly json: boolean;
}

export interface VerifyCommand {
  readonly name: 'verify';
  readonly archive: string;
  /** Only these repositories; all of them if there is none. */
  readonly repositories: readonly string[];
  /** Removes corrupt blobs and the tags that use them, and rewrites the receipts of what was proven. */
  readonly repair: boolean;
  /** Repairs without a question. */
  readonly yes: boolean;
  readonly json: boolean;
}

export interface StatusCommand {
  readonly name: 'status';
  readonly archive: string;
  /** The run; the latest by default. */
  readonly run: string | undefined;
  readonly json: boolean;
}

export interface ConvertCommand {
  readonly name: 'convert';
  /** The image as `ls` names it. */
  readonly reference: Reference;
  readonly archive: string;
  /** The tag of the OCI image. */
  readonly as: string;
}

export const MAX_CONCURRENCY = 64;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * @param env for what the arguments do not name
 * @throws Failure (side `input`) that says which argument is wrong, and how to correct it
 */
export function parseCommand(args: readonly string[], env: Environment = {}): Command {
  const [name = 'help', ...rest] = args;
  switch (name) {
    case 'help':
    case '--help':
    case '-h':
      return { name: 'help', topic: isCommand(rest[0]) ? rest[0] : undefined };
    case 'version':
    case '--version':
    case '-V':
    case '-v':
      return { name: 'version' };
  }
  if (!isCommand(name)) throw usage(name, unknownCommand(name));
  const end = rest.indexOf('--');
  const options = end < 0 ? rest : rest.slice(0, end);
  if (options.includes('--help') || options.includes('-h')) return { name: 'help', topic: name };
  return PARSERS[name](rest, env);
}

function isCommand(name: string | undefined): name is CommandName {
  return COMMANDS.some((command) => command === name);
}

function unknownCommand(name: string): string {
  const meant = closest(name, COMMANDS);
  return `unknown command ${show(name)} (${meant === undefined ? `available: ${COMMANDS.join(', ')}` : `did you mean ${meant}?`})`;
}

const PARSERS: Readonly<Record<CommandName, (args: readonly string[], env: Environment) => Command>> = {
  sync: parseSync,
  check(args) {
    const options = parseOptions('check', args, { config: 'value', json: 'flag' });
    const files = [...options.values('config'), ...options.positionals];
    const [config, ...more] = files;
    if (config === undefined) throw usage('check', 'name the file, such as mirror.yaml');
    if (more.length > 0) throw usage('check', `name one file (got ${files.join(', ')})`);
    return { name: 'check', config, json: options.flag('json') };
  },
  ls(args) {
    const options = parseOptions('ls', args, { json: 'flag' });
    const [archive, ...repositories] = options.positionals;
    if (archive === undefined) throw usage('ls', NAME_ARCHIVE);
    const names = repositories.map((text) => formatRepository(parseRepository(text)));
    return { name: 'ls', archive, repositories: names, json: options.flag('json') };
  },
  verify(args) {
    const options = parseOptions('verify', args, { json: 'flag', repair: 'flag', yes: 'flag' });
    const [archive, ...names] = options.positionals;
    if (archive === undefined) throw usage('verify', NAME_ARCHIVE);
    const [repair, yes] = [options.flag('repair'), options.flag('yes')];
    // Corrupt bytes may be shared with repositories that were not verified, whose references would stay.
    if (repair && names.length > 0)
      throw usage('verify', '--repair needs the whole archive; leave out the repositories');
    if (yes && !repair) throw usage('verify', '--yes confirms a repair; add --repair, or leave it out');
    const repositories = names.map((text) => formatRepository(parseRepository(text)));
    return { name: 'verify', archive, repositories, json: options.flag('json'), repair, yes };
  },
  convert: parseConvert,
  status(args) {
    const options = parseOptions('status', args, { json: 'flag' });
    const [archive, run, ...more] = options.positionals;
    if (archive === undefined) throw usage('status', NAME_ARCHIVE);
    if (more.length > 0) throw usage('status', `name one run at a time (got also ${more.join(', ')})`);
    return { name: 'status', archive, run, json: options.flag('json') };
  },
};

const NAME_ARCHIVE = 'name the archive: a folder, or s3://bucket/prefix';

function parseConvert(args: readonly string[]): Command {
  const options = parseOptions('convert', args, { as: 'value' });
  const [text, archive, ...more] = options.positionals;
  if (text === undefined || archive === undefined || more.length > 0)
    throw usage('convert', 'name one image as ls does, and the archive that has it');
  const reference = withDefaultTag(parseReference(text));
  const as = options.value('as') ?? `${reference.tag ?? ''}-oci`;
  if (!isTag(as)) throw usage('convert', `${show(as)} is not a tag; name the new image's tag with --as TAG`);
  return { name: 'convert', reference, archive, as };
}

/** What a mirror.yaml says for each mirror. */
const OF_CONFIG = [
  'all-tags',
  'tags',
  'platform',
  'foreign-layers',
  'foreign-host',
  'strict-media-types',
  'insecure-registry',
];

/** The file that is mirrored where nothing else is named. */
const IMPLIED_CONFIG = 'mirror.yaml';

function parseSync(args: readonly string[], env: Environment): Command {
  const options = parseOptions('sync', args, {
    to: 'value',
    config: 'value',
    'all-tags': 'flag',
    tags: 'values',
    platform: 'values',
    'foreign-layers': 'value',
    'strict-media-types': 'flag',
    'insecure-registry': 'values',
    authfile: 'value',
    concurrency: 'value',
    'foreign-host': 'values',
    'max-wait': 'value',
    progress: 'value',
    quiet: 'flag',
    json: 'flag',
  });
  const { positionals: names } = options;
  const named = options.value('config');
  const config = named ?? (names.length > 0 ? undefined : (set(env['MIRROR_SYNC_CONFIG']) ?? IMPLIED_CONFIG));
  const ofConfig = OF_CONFIG.find((option) => config !== undefined && options.has(option));
  if (ofConfig !== undefined)
    throw usage(
      'sync',
      named === undefined
        ? `--${ofConfig} needs a reference, such as alpine:3.20; a mirror.yaml has a setting for it`
        : `--${ofConfig} is for references without --config; a mirror.yaml has a setting for it`,
    );
  const to = options.value('to') ?? set(env['MIRROR_SYNC_ARCHIVE']);
  const isConfigImplied = config !== undefined && named === undefined;
  if (to === undefined && isConfigImplied)
    throw usage(
      'sync',
      'name at least one image, such as alpine:3.20, or --config FILE, and the archive with --to ARCHIVE',
    );
  if (to === undefined)
    throw usage('sync', 'name the archive with --to FOLDER, --to s3://bucket/prefix or MIRROR_SYNC_ARCHIVE');
  const tags = parseTags(options);
  return {
    name: 'sync',
    references: names.map((text) => parseWanted(text, config !== undefined, tags)),
    names,
    config,
    isConfigImplied,
    to,
    tags,
    platforms: options.values('platform').map(parsePlatform),
    foreignLayers: oneOf('--foreign-layers', options.value('foreign-layers'), FOREIGN_LAYERS) ?? 'fetch',
    strictMediaTypes: options.flag('strict-media-types'),
    insecure: options.values('insecure-registry').map(parseInsecure),
    authfile: options.value('authfile'),
    concurrency: parseConcurrency(options.value('concurrency')),
    foreignHosts: options.values('foreign-host').map(parseForeignHost),
    maxWaitMs: parseMaxWait(options.value('max-wait')),
    json: options.flag('json'),
    quiet: options.flag('quiet'),
    progress: oneOf('--progress', options.value('progress'), PROGRESS),
  };
}

/** A variable that is empty counts as not set. */
function set(variable: string | undefined): string | undefined {
  return variable === '' ? undefined : variable;
}

/** The patterns of `--tags`; `--all-tags` is all of them. */
function parseTags(options: ParsedOptions): readonly string[] | undefined {
  if (!options.has('tags')) return options.flag('all-tags') ? ['*'] : undefined;
  if (options.flag('all-tags')) throw usage('sync', '--all-tags and --tags exclude each other');
  const patterns = options.values('tags');
  patterns.forEach(parseGlob);
  return patterns;
}

function parseWanted(text: string, hasConfig: boolean, tags: readonly string[] | undefined): Reference {
  const reference = parseNamed(text);
  if (hasConfig) return reference;
  if (tags === undefined) return withDefaultTag(reference);
  if (reference.tag !== undefined || reference.digest !== undefined)
    throw usage('sync', `${text} names one image; with --all-tags or --tags name only the repository`);
  return reference;
}

function parseNamed(text: string): Reference {
  try {
    return parseReference(text);
  } catch (error) {
    if (!(error instanceof Failure) || !/\.ya?ml$/i.test(text)) throw error;
    throw usage('sync', `${text} is not an image; did you mean --config ${text}?`);
  }
}

const FOREIGN_LAYERS = ['fetch', 'skip'] as const;

function oneOf<const T extends string>(option: string, value: string | undefined, known: readonly T[]): T | undefined {
  if (value === undefined) return undefined;
  const found = known.find((each) => each === value);
  if (found === undefined) throw usage('sync', `${option} must be ${known.join(' or ')}, not ${show(value)}`);
  return found;
}

function parseInsecure(text: string): string {
  try {
    return parseHost(text);
  } catch {
    const example = 'a registry host as references have it, such as registry.example.com:5000';
    throw usage('sync', `--insecure-registry must be ${example}, not ${show(text)}`);
  }
}

function parseConcurrency(value: string | undefined): number {
  if (value === undefined) return DEFAULT_CONCURRENCY;
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1 || number > MAX_CONCURRENCY)
    throw usage('sync', `--concurrency must be a whole number from 1 to ${MAX_CONCURRENCY}, not ${show(value)}`);
  return number;
}

export const DEFAULT_MAX_WAIT_MS = 15 * 60_000;
const DURATION_UNITS: ReadonlyMap<string, number> = new Map([
  ['s', 1000],
  ['m', 60_000],
  ['min', 60_000],
  ['h', 3_600_000],
]);

/** `90s`, `15m`, `6h`; a number alone is seconds. */
function parseMaxWait(value: string | undefined): number {
  if (value === undefined) return DEFAULT_MAX_WAIT_MS;
  const [, number, unit = 's'] = /^(\d{1,6})(s|m|min|h)?$/.exec(value) ?? [];
  if (number === undefined)
    throw usage('sync', `--max-wait must be a duration such as 90s, 15m or 6h, not ${show(value)}`);
  return Number(number) * (DURATION_UNITS.get(unit) ?? 1000);
}
