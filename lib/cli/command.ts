/** A command of the command line; parsing, help, suggestions, completions and docs/cli.md use this description. */
import { type Failure, invalid } from '../core/failure.ts';
import type { Io } from './output/io.ts';

/** An option without `value` and `choices` is a flag. */
export interface Option {
  /** The name of the value: `FILE`. */
  readonly value?: string;
  /** All values that the option accepts. */
  readonly choices?: readonly string[];
  readonly isRepeatable?: boolean;
  readonly short?: string;
  /** The value is a path, so that a shell completes it. */
  readonly isPath?: boolean;
  /** Sentences for the help; their first clause describes the option in a completion. */
  readonly help: string;
  /** Options of docker, skopeo, crane and regsync that mean this one: a suggestion for an unknown option. */
  readonly elsewhere?: readonly string[];
}

/** The arguments of a command, after its options are known. */
export interface Arguments<Name extends string = string> {
  readonly positionals: readonly string[];
  /** Whether an option is present. */
  has(name: Name): boolean;
  /** The last value of an option. */
  value(name: Name): string | undefined;
  /** All values of a repeatable option. */
  values(name: Name): readonly string[];
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Executes a parsed command. Resolves to the exit code. */
export type Run = (io: Io) => Promise<number>;

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** The forms of the command, without `mirror-sync NAME`. */
  readonly usage: readonly string[];
  /** Paragraphs for the help. */
  readonly description: readonly string[];
  readonly options: Readonly<Record<string, Option>>;
  /** The words that the command accepts as its first positional. For the others, a shell completes paths. */
  readonly words?: readonly string[];
  /**
   * Checks the arguments, and touches nothing.
   *
   * @param env defaults for missing arguments
   * @throws Failure (side `input`) that names the wrong argument and its remedy
   */
  parse(args: Arguments, env: Environment): Run;
}

/** Checks that `parse` reads no option that the command lacks. */
export function defineCommand<const Name extends string>(
  command: Omit<Command, 'options' | 'parse'> & {
    readonly options: Readonly<Record<Name, Option>>;
    parse(args: Arguments<Name>, env: Environment): Run;
  },
): Command {
  return command;
}

export function usage(command: string, detail: string): Failure {
  return invalid(`mirror-sync ${command}`, detail);
}

/** The archive is the first positional of most commands. */
export function archiveOf(command: string, { positionals: [archive, ...rest] }: Arguments): [string, ...string[]] {
  if (archive === undefined) throw usage(command, 'name the archive: a folder, or s3://bucket/prefix');
  return [archive, ...rest];
}
