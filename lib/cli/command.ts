/** From arguments to a command, or a usage error; nothing is done here. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { type Failure, invalid } from '../base/failure.ts';
import { parseHost } from '../config/definition.ts';
import { parsePlatform, type Platform } from '../oci/platform.ts';
import { isTag, parseReference, type Reference, withDefaultTag } from '../oci/reference.ts';

export type Command =
  | SyncCommand
  | ListCommand
  | VerifyCommand
  | StatusCommand
  | ConvertCommand
  | { readonly name: 'help' }
  | { readonly name: 'version' };

export interface SyncCommand {
  readonly name: 'sync';
  /** Each with a tag or a digest; with `allTags` each without. None where a configuration names what is mirrored. */
  readonly references: readonly Reference[];
  /** `mirror.yaml`. */
  readonly config: string | undefined;
  readonly to: string;
  readonly allTags: boolean;
  readonly platforms: readonly Platform[];
  readonly foreignLayers: 'fetch' | 'skip';
  readonly strictMediaTypes: boolean;
  readonly insecure: readonly string[];
  readonly authfile: string | undefined;
  /** Connections a registry, and blobs on their way at once. */
  readonly concurrency: number;
  readonly json: boolean;
}

export interface ListCommand {
  readonly name: 'ls';
  readonly archive: string;
  readonly json: boolean;
}

export interface VerifyCommand {
  readonly name: 'verify';
  readonly archive: string;
  /** Takes out what is wrong, so that the next sync brings it anew; writes receipts anew for what was proven. */
  readonly repair: boolean;
  readonly json: boolean;
}

export interface StatusCommand {
  readonly name: 'status';
  readonly archive: string;
  /** The run; the one that was written to last where none is named. */
  readonly run: string | undefined;
  readonly json: boolean;
}

export interface ConvertCommand {
  readonly name: 'convert';
  /** What the archive has it as. */
  readonly reference: Reference;
  readonly archive: string;
  /** The tag of what comes out. */
  readonly as: string;
}

/** As many as browsers open to a few hosts; with 20 ms of round trip, a thousand unchanged tags take two seconds. */
const DEFAULT_CONCURRENCY = 12;
const MAX_CONCURRENCY = 64;

export const USAGE = `mirror-sync: mirrors container images from any OCI or Docker registry, and proves every byte

  mirror-sync sync REFERENCE… --to ARCHIVE [options]   mirror images
  mirror-sync sync --config FILE --to ARCHIVE          mirror what a mirror.yaml names
  mirror-sync ls ARCHIVE [--json]                      what an archive holds
  mirror-sync verify ARCHIVE [--repair] [--json]       hash everything in it again, and say what is wrong; with --repair
                                                       take that out, so that the next sync brings it anew,
                                                       and write receipts anew for what was proven
  mirror-sync convert REFERENCE ARCHIVE [--as TAG]     a Docker schema 1 image of an archive as an OCI image beside it,
                                                       with the tag TAG (its own with -oci behind it, unless told)
  mirror-sync status ARCHIVE [RUN] [--json]            what became of a run on AWS; of the last one, unless named

REFERENCE is an image as docker pull takes it: alpine, ghcr.io/org/app:1.2, localhost:5000/app@sha256:…
ARCHIVE is a folder, or s3://bucket/prefix.

Options of sync:
  --all-tags                     every tag of each repository named
  --platform OS/ARCH[/VARIANT]   only these platforms of a multi-platform image; may be repeated
  --foreign-layers fetch|skip    layers that may not be distributed, of Windows images: fetched, unless told, or left out
  --strict-media-types           refuse images with layers whose bytes are not compressed as declared (otherwise a warning)
  --insecure-registry HOST       unverified TLS or plain HTTP for this registry; may be repeated (loopback needs none)
  --authfile FILE                credentials, in the format of Docker's config.json (otherwise looked for where Docker,
                                 podman and skopeo keep theirs)
  --concurrency N                connections a registry (${DEFAULT_CONCURRENCY})
  --json                         one JSON object a line; the last is the summary

Exit code: 0 when every image is mirrored or unchanged, 1 when any failed, 2 for wrong usage, 130 when interrupted.
`;

/** @throws Failure (side `input`) that says which argument is wrong, and how */
export function parseCommand(args: readonly string[]): Command {
  const [name, ...rest] = args;
  if (rest.includes('--help') || rest.includes('-h')) return { name: 'help' };
  switch (name) {
    case undefined:
    case 'help':
    case '--help':
    case '-h':
      return { name: 'help' };
    case '--version':
    case 'version':
      return { name: 'version' };
    case 'sync':
      return parseSync(rest);
    case 'ls': {
      const { archive, values } = parseArchive(name, rest, { json: { type: 'boolean' } });
      return { name, archive, json: values['json'] === true };
    }
    case 'verify': {
      const options = { json: { type: 'boolean' }, repair: { type: 'boolean' } } as const;
      const { archive, values } = parseArchive(name, rest, options);
      return { name, archive, json: values['json'] === true, repair: values['repair'] === true };
    }
    case 'status': {
      const { values, positionals } = parse(name, rest, { json: { type: 'boolean' } });
      const [archive, run, ...more] = positionals;
      if (archive === undefined) throw usage(name, 'name the archive: a folder, or s3://bucket/prefix');
      if (more.length > 0) throw usage(name, `one run at a time, not also ${more.join(', ')}`);
      return { name, archive, run, json: values['json'] === true };
    }
    case 'convert':
      return parseConvert(rest);
    default:
      throw usage(name, 'there is no such command; there are sync, ls, verify, convert and status');
  }
}

function parseArchive(
  name: string,
  args: readonly string[],
  options: NonNullable<ParseArgsConfig['options']>,
): { readonly archive: string; readonly values: Values } {
  const { values, positionals } = parse(name, args, options);
  const [archive, ...more] = positionals;
  if (archive === undefined) throw usage(name, 'name the archive: a folder, or s3://bucket/prefix');
  if (more.length > 0) throw usage(name, `one archive at a time, not also ${more.join(', ')}`);
  return { archive, values };
}

function parseConvert(args: readonly string[]): Command {
  const { values, positionals } = parse('convert', args, { as: { type: 'string' } });
  const [text, archive, ...more] = positionals;
  if (text === undefined || archive === undefined || more.length > 0)
    throw usage('convert', 'name one image as ls does, and the archive that has it');
  const reference = withDefaultTag(parseReference(text));
  const as = typeof values['as'] === 'string' ? values['as'] : `${reference.tag ?? ''}-oci`;
  if (!isTag(as)) throw usage('convert', `say with --as TAG what it is to be called; ${JSON.stringify(as)} is no tag`);
  return { name: 'convert', reference, archive, as };
}

function parseSync(args: readonly string[]): Command {
  const { values, positionals } = parse('sync', args, {
    to: { type: 'string' },
    config: { type: 'string' },
    'all-tags': { type: 'boolean' },
    platform: { type: 'string', multiple: true },
    'foreign-layers': { type: 'string' },
    'strict-media-types': { type: 'boolean' },
    'insecure-registry': { type: 'string', multiple: true },
    authfile: { type: 'string' },
    concurrency: { type: 'string' },
    json: { type: 'boolean' },
  });
  const { to } = values;
  const config = typeof values['config'] === 'string' ? values['config'] : undefined;
  if (positionals.length === 0 && config === undefined)
    throw usage('sync', 'name at least one image, such as alpine:3.20, or a configuration with --config FILE');
  for (const option of ['all-tags', 'platform', 'foreign-layers', 'strict-media-types', 'insecure-registry'])
    if (config !== undefined && values[option] !== undefined)
      throw usage('sync', `--${option} goes with references; with --config, mirror.yaml says it`);
  if (positionals.length > 0 && config !== undefined)
    throw usage('sync', `either references or --config, not both: ${positionals.join(', ')}`);
  if (typeof to !== 'string' || to === '')
    throw usage('sync', 'say where to with --to FOLDER or --to s3://bucket/prefix');
  const allTags = values['all-tags'] === true;
  return {
    name: 'sync',
    references: positionals.map((text) => parseWanted(text, allTags)),
    config,
    to,
    allTags,
    platforms: strings(values['platform']).map(parsePlatform),
    foreignLayers: parseForeignLayers(values['foreign-layers']),
    strictMediaTypes: values['strict-media-types'] === true,
    insecure: strings(values['insecure-registry']).map(parseInsecure),
    authfile: typeof values['authfile'] === 'string' ? values['authfile'] : undefined,
    concurrency: parseConcurrency(values['concurrency']),
    json: values['json'] === true,
  };
}

function parseWanted(text: string, allTags: boolean): Reference {
  const reference = parseReference(text);
  if (!allTags) return withDefaultTag(reference);
  if (reference.tag !== undefined || reference.digest !== undefined)
    throw usage('sync', `${text} names one image; with --all-tags name only the repository`);
  return reference;
}

function parseForeignLayers(value: unknown): 'fetch' | 'skip' {
  if (value === undefined || value === 'fetch' || value === 'skip') return value ?? 'fetch';
  throw usage('sync', `--foreign-layers takes fetch or skip, not ${JSON.stringify(value)}`);
}

function parseInsecure(text: string): string {
  try {
    return parseHost(text);
  } catch {
    const example = 'a registry’s host as references have it, such as registry.example.com:5000';
    throw usage('sync', `--insecure-registry takes ${example}, not ${JSON.stringify(text)}`);
  }
}

function parseConcurrency(value: unknown): number {
  if (value === undefined) return DEFAULT_CONCURRENCY;
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1 || number > MAX_CONCURRENCY)
    throw usage(
      'sync',
      `--concurrency takes a whole number from 1 to ${MAX_CONCURRENCY}, not ${JSON.stringify(value)}`,
    );
  return number;
}

type Values = Record<string, string | boolean | (string | boolean)[] | undefined>;

function parse(
  command: string,
  args: readonly string[],
  options: NonNullable<ParseArgsConfig['options']>,
): { readonly values: Values; readonly positionals: string[] } {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw usage(command, error instanceof Error ? error.message : String(error));
  }
}

function strings(value: Values[string]): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
}

function usage(command: string, detail: string): Failure {
  return invalid(`mirror-sync ${command}`, detail);
}
