/** Parses the options of a command. */
import { parseArgs } from 'node:util';
import { closest } from '../core/suggest.ts';
import { own } from '../core/own.ts';
import { withoutSecrets } from '../core/secrets.ts';
import { show } from '../oci/show.ts';
import { type Arguments, type Command, type Option, usage } from './command.ts';

/** @throws Failure (side `input`) for an unknown option, with a suggestion, or for a missing value */
export function parseOptions({ name: command, options }: Command, args: readonly string[]): Arguments {
  const { tokens, positionals } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(options).map(([name, option]) => [
        name,
        { type: isFlag(option) ? 'boolean' : 'string', ...(option.short === undefined ? {} : { short: option.short }) },
      ]),
    ),
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const found = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const { name, rawName, value, inlineValue } = token;
    const option = own(options, name);
    if (option === undefined) throw usage(command, unknownOption(rawName, name, options));
    if (isFlag(option)) {
      if (value !== undefined) throw usage(command, `${rawName} takes no value (got ${show(value)})`);
    } else if (value === undefined || value === '') throw usage(command, `${rawName} needs a value`);
    else if (!inlineValue && /^-./.test(value))
      throw usage(command, `${rawName} needs a value, and ${withoutSecrets(value)} is an option`);
    else if (option.choices?.includes(value) === false)
      throw usage(command, `${rawName} must be ${alternatives(option.choices)}, not ${show(value)}`);
    found.set(name, [...(found.get(name) ?? []), value ?? '']);
  }
  return {
    positionals,
    has: (name) => found.has(name),
    value: (name) => found.get(name)?.at(-1),
    values: (name) => found.get(name) ?? [],
  };
}

export function isFlag({ value, choices }: Option): boolean {
  return value === undefined && choices === undefined;
}

/** `bar, plain or none` */
function alternatives(choices: readonly string[]): string {
  return [choices.slice(0, -1).join(', '), ...choices.slice(-1)].join(' or ');
}

function unknownOption(rawName: string, name: string, options: Command['options']): string {
  const [meant = closest(name, Object.keys(options))] =
    Object.entries(options).find(([, { elsewhere }]) => elsewhere?.includes(name)) ?? [];
  const available = Object.keys(options).map((each) => `--${each}`);
  const hint =
    meant !== undefined
      ? `did you mean --${meant}?`
      : available.length === 0
        ? 'the command has no options'
        : `available: ${available.join(', ')}`;
  return `unknown option ${show(rawName).slice(1, -1)} (${hint})`;
}
