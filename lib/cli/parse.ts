/** Parses the arguments of the process. */
import { VERSION } from '../app/version.ts';
import { invalid } from '../core/failure.ts';
import { closest } from '../core/suggest.ts';
import { show } from '../oci/show.ts';
import type { Command, Environment, Run } from './command.ts';
import { commandHelp, overview, PSEUDO_COMMANDS } from './help.ts';
import { parseOptions } from './options.ts';
import { EXIT } from './output/io.ts';
import { COMMANDS } from './table.ts';

export interface ParsedCommand {
  readonly name: string;
  readonly run: Run;
}

/**
 * @param env defaults for missing arguments
 * @throws Failure (side `input`) that names the wrong argument and its remedy
 */
export function parseCommand(args: readonly string[], env: Environment = {}): ParsedCommand {
  const [name = 'help', ...rest] = args;
  switch (name) {
    case 'help':
    case '--help':
    case '-h': {
      const [about] = rest;
      const topic = find(about);
      if (topic === undefined && about !== undefined && !PSEUDO_COMMANDS.some((each) => each.name === about))
        throw invalid('mirror-sync', unknownCommand(about));
      return printing('help', () => (topic === undefined ? overview(COMMANDS) : commandHelp(topic)));
    }
    case 'version':
    case '--version':
    case '-V':
    case '-v':
      return printing('version', () => `${VERSION}\n`);
  }
  const command = find(name);
  if (command === undefined) throw invalid('mirror-sync', unknownCommand(name));
  if (asksForHelp(rest)) return printing('help', () => commandHelp(command));
  return { name, run: command.parse(parseOptions(command, rest), env) };
}

/** The arguments that print the help on wrong arguments. */
export function helpFor([name]: readonly string[]): string {
  return find(name) === undefined ? '--help' : `${name ?? ''} --help`;
}

function find(name: string | undefined): Command | undefined {
  return COMMANDS.find((command) => command.name === name);
}

function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  const options = end < 0 ? args : args.slice(0, end);
  return options.includes('--help') || options.includes('-h');
}

function unknownCommand(name: string): string {
  const names = COMMANDS.map((command) => command.name);
  const meant = closest(name, names);
  return `unknown command ${show(name)} (${meant === undefined ? `available: ${names.join(', ')}` : `did you mean ${meant}?`})`;
}

function printing(name: string, text: () => string): ParsedCommand {
  return {
    name,
    run: ({ stdout }) => {
      stdout.write(text());
      return Promise.resolve(EXIT.ok);
    },
  };
}
