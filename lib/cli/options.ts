/** The options of a command: from arguments to values, with errors in our own words. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { closest } from '../core/suggest.ts';
import { type Failure, invalid } from '../core/failure.ts';
import { own } from '../core/own.ts';
import { show } from '../oci/show.ts';

/** `flag` takes no value, `value` takes one, `values` takes one each time that it is given. */
export type OptionKind = 'flag' | 'value' | 'values';

export interface ParsedOptions {
  readonly positionals: readonly string[];
  flag(name: string): boolean;
  value(name: string): string | undefined;
  values(name: string): readonly string[];
  /** Whether an option was given at all. */
  has(name: string): boolean;
}

/** Short forms, in all commands that have the option. */
const SHORT: Readonly<Record<string, string>> = { quiet: 'q' };

/** What users of docker, skopeo, crane and regsync type, and the option that does it here. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  all: 'all-tags',
  arch: 'platform',
  'auth-file': 'authfile',
  'creds-file': 'authfile',
  d: 'to',
  dest: 'to',
  destination: 'to',
  'dest-dir': 'to',
  file: 'config',
  f: 'config',
  c: 'config',
  insecure: 'insecure-registry',
  'insecure-policy': 'insecure-registry',
  jobs: 'concurrency',
  j: 'concurrency',
  o: 'to',
  os: 'platform',
  output: 'to',
  parallel: 'concurrency',
  silent: 'quiet',
  'src-tls-verify': 'insecure-registry',
  tag: 'tags',
  target: 'to',
  'tls-verify': 'insecure-registry',
  'all-platforms': 'platform',
  fix: 'repair',
};

/** @throws Failure (side `input`) that names the option, and the one that was probably meant */
export function parseOptions(
  command: string,
  args: readonly string[],
  kinds: Readonly<Record<string, OptionKind>>,
): ParsedOptions {
  const options: ParseArgsConfig['options'] = Object.fromEntries(
    Object.entries(kinds).map(([name, kind]) => {
      const short = own(SHORT, name);
      const type = kind === 'flag' ? 'boolean' : 'string';
      return [name, { type, multiple: kind === 'values', ...(short === undefined ? {} : { short }) }];
    }),
  );
  const { tokens, positionals } = parseArgs({
    args: [...args],
    options,
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const found = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const { name, rawName, value, inlineValue } = token;
    const kind = own(kinds, name);
    if (kind === undefined) throw usage(command, unknown(rawName, name, Object.keys(kinds)));
    if (kind === 'flag' && value !== undefined) throw usage(command, `${rawName} takes no value (got ${show(value)})`);
    const isMissing = value === undefined || value === '' || (!inlineValue && /^-./.test(value));
    if (kind !== 'flag' && isMissing) throw usage(command, `${rawName} needs a value${given(value)}`);
    found.set(name, [...(kind === 'values' ? (found.get(name) ?? []) : []), value ?? '']);
  }
  return {
    positionals,
    flag: (name) => found.has(name),
    value: (name) => found.get(name)?.at(-1),
    values: (name) => found.get(name) ?? [],
    has: (name) => found.has(name),
  };
}

function given(value: string | undefined): string {
  return value === undefined || value === '' ? '' : `, and ${value} is an option`;
}

function unknown(rawName: string, name: string, known: readonly string[]): string {
  const elsewhere = own(ELSEWHERE, name);
  const meant = elsewhere !== undefined && known.includes(elsewhere) ? elsewhere : closest(name, known);
  const hint =
    meant === undefined ? `available: ${known.map((each) => `--${each}`).join(', ')}` : `did you mean --${meant}?`;
  return `unknown option ${show(rawName).slice(1, -1)} (${hint})`;
}

export function usage(command: string, detail: string): Failure {
  return invalid(`mirror-sync ${command}`, detail);
}
