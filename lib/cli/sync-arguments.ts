/** Checks the arguments of `mirror-sync sync`. */
import { DEFAULT_CONCURRENCY, DEFAULT_MAX_WAIT_MS, MAX_CONCURRENCY } from '../app/defaults.ts';
import type { NotifyTarget } from '../app/run-summary.ts';
import type { SyncRequest } from '../app/sync.ts';
import { Failure } from '../core/failure.ts';
import { withoutSecrets } from '../core/secrets.ts';
import { parseForeignHost, parseHost } from '../config/hosts.ts';
import { parseGlob } from '../oci/glob.ts';
import { parseReceiver } from '../notify/notify.ts';
import { parseKey } from '../notify/signature.ts';
import { parsePlatform } from '../oci/platform.ts';
import { parseReference, type Reference, withDefaultTag } from '../oci/reference.ts';
import { show } from '../oci/show.ts';
import { type Arguments, type Environment, usage } from './command.ts';
import { type Progress, PROGRESS } from './output/output.ts';

export interface SyncCommand extends Omit<SyncRequest, 'config' | 'trustedRoot'> {
  /** The references as they were typed. */
  readonly names: readonly string[];
  /** A mirror.yaml; `-` is standard input. */
  readonly config: string | undefined;
  /** The configuration was not named on the command line. */
  readonly isConfigImplied: boolean;
  readonly to: string;
  /** The file with the trusted root. */
  readonly trustedRoot: string | undefined;
  readonly notify: NotifyTarget | undefined;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly progress: Progress | undefined;
}

/** Options that are settings in a mirror.yaml. */
const CONFIG_SETTINGS = [
  'all-tags',
  'tags',
  'platform',
  'foreign-layers',
  'foreign-host',
  'strict-media-types',
  'insecure-registry',
  'trusted-root',
];

/** Not an option: other users of a machine see the arguments of a process. */
const NOTIFY_KEY = 'MIRROR_SYNC_NOTIFY_KEY';

/** The file that `sync` mirrors by default. */
const DEFAULT_CONFIG = 'mirror.yaml';

// eslint-disable-next-line max-lines-per-function -- the checks of one set of arguments
export function parseSync(args: Arguments, env: Environment): SyncCommand {
  const { positionals: names } = args;
  const named = args.value('config');
  const config = named ?? (names.length > 0 ? undefined : (set(env['MIRROR_SYNC_CONFIG']) ?? DEFAULT_CONFIG));
  const setting = CONFIG_SETTINGS.find((option) => config !== undefined && args.has(option));
  if (setting !== undefined)
    throw usage(
      'sync',
      named === undefined
        ? `--${setting} needs a reference, such as alpine:3.20; a mirror.yaml has a setting for it`
        : `--${setting} is for references without --config; a mirror.yaml has a setting for it`,
    );
  const to = args.value('to') ?? set(env['MIRROR_SYNC_ARCHIVE']);
  const isConfigImplied = config !== undefined && named === undefined;
  if (to === undefined && isConfigImplied)
    throw usage(
      'sync',
      'name at least one image, such as alpine:3.20, or --config FILE, and the archive with --to ARCHIVE',
    );
  if (to === undefined)
    throw usage('sync', 'name the archive with --to FOLDER, --to s3://bucket/prefix or MIRROR_SYNC_ARCHIVE');
  const tags = parseTags(args);
  return {
    references: names.map((text) => parseSelected(text, config !== undefined, tags)),
    names,
    config,
    isConfigImplied,
    to,
    notify: parseNotify(args.value('notify'), env),
    tags,
    platforms: args.values('platform').map(parsePlatform),
    foreignLayers: args.value('foreign-layers') === 'skip' ? 'skip' : 'fetch',
    strictMediaTypes: args.has('strict-media-types'),
    insecure: args.values('insecure-registry').map(parseInsecure),
    authfile: args.value('authfile'),
    concurrency: parseConcurrency(args.value('concurrency')),
    foreignHosts: args.values('foreign-host').map(parseForeignHost),
    maxWaitMs: parseMaxWait(args.value('max-wait')),
    trustedRoot: args.value('trusted-root'),
    attestKey: args.value('attest-key') ?? set(env['MIRROR_SYNC_ATTEST_KEY']),
    json: args.has('json'),
    quiet: args.has('quiet'),
    progress: PROGRESS.find((kind) => kind === args.value('progress')),
  };
}

function parseNotify(text: string | undefined, env: Environment): NotifyTarget | undefined {
  if (text === undefined) return undefined;
  const key = set(env[NOTIFY_KEY]);
  if (key === undefined)
    throw usage(
      'sync',
      `--notify signs the summary: set the key in ${NOTIFY_KEY}, such as the output of openssl rand -base64 32`,
    );
  return { url: parseReceiver(text, 'read --notify'), key: parseKey(key, NOTIFY_KEY) };
}

/** An empty variable counts as unset. */
function set(variable: string | undefined): string | undefined {
  return variable === '' ? undefined : variable;
}

/** The patterns of `--tags`; `--all-tags` means the pattern `*`. */
function parseTags(args: Arguments): readonly string[] | undefined {
  if (!args.has('tags')) return args.has('all-tags') ? ['*'] : undefined;
  if (args.has('all-tags')) throw usage('sync', '--all-tags and --tags exclude each other');
  const patterns = args.values('tags');
  patterns.forEach(parseGlob);
  return patterns;
}

function parseSelected(text: string, hasConfig: boolean, tags: readonly string[] | undefined): Reference {
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
    const name = withoutSecrets(text);
    throw usage('sync', `${name} is not an image; did you mean --config ${name}?`);
  }
}

function parseInsecure(text: string): string {
  try {
    return parseHost(text);
  } catch {
    const example = 'a registry host, such as registry.example.com:5000';
    throw usage('sync', `--insecure-registry must be ${example}, not ${show(text)}`);
  }
}

function parseConcurrency(value: string | undefined): number {
  if (value === undefined) return DEFAULT_CONCURRENCY;
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < 1 || number > MAX_CONCURRENCY)
    throw usage('sync', `--concurrency must be a whole number from 1 to ${MAX_CONCURRENCY}, not ${show(value)}`);
  return number;
}

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
