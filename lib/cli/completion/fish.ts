import type { Command, Option } from '../command.ts';
import { isFlag } from '../options.ts';
import { clause, entriesOf, type Entry } from './entries.ts';

export function fishCompletion(commands: readonly Command[]): string {
  const lines = entriesOf(commands).flatMap((entry) => [
    `complete -c mirror-sync -n __fish_use_subcommand -f -a ${entry.name} -d ${quoted(entry.summary)}`,
    ...linesOf(entry),
  ]);
  return `# fish completion of mirror-sync\n${lines.join('\n')}\n`;
}

function linesOf({ name, options, words = [] }: Entry): string[] {
  const head = `complete -c mirror-sync -n '__fish_seen_subcommand_from ${name}'`;
  const positionals =
    words.length === 0
      ? []
      : [`${head.slice(0, -1)}; and not __fish_seen_subcommand_from ${words.join(' ')}' -f -a '${words.join(' ')}'`];
  return [...positionals, ...options.map(([option, definition]) => `${head} ${specOf(option, definition)}`)];
}

function specOf(name: string, option: Option): string {
  const { choices, isPath = false, short, help } = option;
  const value = isFlag(option) ? '' : ` -x${choices === undefined ? '' : ` -a '${choices.join(' ')}'`}`;
  return `-l ${name}${short === undefined ? '' : ` -s ${short}`}${isPath ? ' -r -F' : value} -d ${quoted(clause(help))}`;
}

function quoted(text: string): string {
  return `'${text.replace(/['\\]/g, String.raw`\$&`)}'`;
}
