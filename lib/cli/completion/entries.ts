/** The table of commands for shell completions. */
import type { Command, Option } from '../command.ts';
import { PSEUDO_COMMANDS } from '../help.ts';

export interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly (readonly [string, Option])[];
  readonly words: readonly string[] | undefined;
}

export function entriesOf(commands: readonly Command[]): readonly Entry[] {
  const entries = commands.map(({ name, summary, options, words }) => ({
    name,
    summary,
    options: Object.entries<Option>({ ...options, help: HELP }),
    words,
  }));
  const names = entries.map(({ name }) => name);
  const others = PSEUDO_COMMANDS.map(({ name, summary }) => ({
    name,
    summary: clause(summary),
    options: [],
    words: name === 'help' ? names : [],
  }));
  return [...entries, ...others];
}

const HELP: Option = { short: 'h', help: 'show the options of the command' };

/** The first clause of a text, which fits into a list of completions. */
export function clause(text: string): string {
  return text.split(/[;(.:]\s|\s\(|,\s(?:such|or|like)\s/)[0]?.trim() ?? '';
}
