/** The texts of `mirror-sync --help` and `mirror-sync COMMAND --help`, from the table of commands. */
import type { Command, Option } from './command.ts';
import { wrap } from './output/screen.ts';

const COLUMNS = 80;

const ABOUT = 'mirror-sync: mirrors container images into a folder or S3, and proves every byte';

/** The commands without options. */
export const PSEUDO_COMMANDS: readonly Pick<Command, 'name' | 'summary'>[] = [
  { name: 'help', summary: 'show the options of a command: mirror-sync help COMMAND' },
  { name: 'version', summary: 'print the version, like --version' },
];

export const EXAMPLES: readonly string[] = [
  'mirror-sync sync alpine:3.20 ghcr.io/org/app --to ./archive',
  'mirror-sync sync alpine --all-tags --platform linux/amd64 --to s3://bucket/a',
  'mirror-sync sync --config mirror.yaml --to ./archive',
  'mirror-sync ls ./archive',
  'mirror-sync verify ./archive',
];

/** Paragraphs about all commands. */
export const NOTES: readonly string[] = [
  'REFERENCE is an image as docker pull takes it: alpine, ghcr.io/org/app:1.2, localhost:5000/app@sha256:…',
  'ARCHIVE is a folder, or s3://bucket/prefix.',
  'Exit code: 0 when every image is mirrored, unchanged, or withheld by its policy (held, unverified, rejected), 1 when any failed, 3 when a tag has drifted and nothing failed, 2 for wrong usage, 130 after Ctrl-C, 143 after ' +
    'SIGTERM, 129 after SIGHUP. serve ends with 0 after these signals.',
];

export function overview(commands: readonly Command[]): string {
  return textOf([
    [ABOUT],
    ['Usage: mirror-sync COMMAND [options]'],
    ['Commands:', ...[...commands, ...PSEUDO_COMMANDS].flatMap(({ name, summary }) => entry(name, summary, 17))],
    ['Examples:', ...EXAMPLES.map((example) => `  ${example}`)],
    ...NOTES.map((note) => wrap(note, COLUMNS)),
    ["Run 'mirror-sync COMMAND --help' for the options of a command."],
  ]);
}

export function commandHelp({ name, summary, usage, description, options }: Command): string {
  const entries = Object.entries(options).flatMap(([option, definition]) =>
    entry(synopsis(option, definition), definition.help, 33),
  );
  return textOf([
    [`mirror-sync ${name}: ${summary}`],
    usage.map((form) => `  mirror-sync ${name} ${form}`),
    ...description.map((paragraph) => wrap(paragraph, COLUMNS)),
    ...(entries.length === 0 ? [] : [entries]),
  ]);
}

/** `--foreign-layers fetch|skip` */
export function synopsis(name: string, { short, value, choices }: Option): string {
  const values = choices === undefined ? value : choices.join('|');
  return `--${name}${short === undefined ? '' : `, -${short}`}${values === undefined ? '' : ` ${values}`}`;
}

/** A term and its explanation, in two columns. */
function entry(term: string, explanation: string, indent: number): string[] {
  const [first = '', ...more] = wrap(explanation, COLUMNS - indent);
  const head = `  ${term}`.padEnd(indent);
  const fits = head.length === indent;
  return [
    ...(fits ? [`${head}${first}`] : [head, `${''.padEnd(indent)}${first}`]),
    ...more.map((line) => `${''.padEnd(indent)}${line}`),
  ];
}

function textOf(paragraphs: readonly (readonly string[])[]): string {
  return paragraphs.map((lines) => `${lines.join('\n')}\n`).join('\n');
}
