/** Determines the kind of output from the options, the terminal and the environment. */
import type { Io, Output } from './io.ts';
import { jsonPrinter } from './json-printer.ts';
import { plainPrinter } from './plain-printer.ts';
import type { Printer } from './printer.ts';
import { terminalPrinter } from './terminal-printer.ts';

export const PROGRESS = ['bar', 'plain', 'none'] as const;
export type Progress = (typeof PROGRESS)[number];

export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  /** The requested kind; by default the terminal and the environment determine it. */
  readonly progress: Progress | undefined;
}

/**
 * - `bar`: scrolling lines above a redrawn block, with cursor escapes.
 * - `plain`: a line with the time per result, without escapes.
 * - `none`: notices and the summary.
 * - `json`: an object per event.
 *
 * `--quiet` leaves the summary of the last two, and the notices that are warnings.
 */
export type OutputKind = Progress | 'json';

/** `--progress bar` overrides CI and NO_COLOR, but not a pipe or a dumb terminal, which cannot draw. */
export function outputKind(
  { json, quiet, progress }: OutputOptions,
  { stdout, env }: { readonly stdout: Pick<Output, 'isTTY'>; readonly env: Io['env'] },
): OutputKind {
  if (json) return 'json';
  if (quiet || progress === 'none') return 'none';
  if (progress === 'plain' || stdout.isTTY !== true || env['TERM'] === 'dumb') return 'plain';
  if (progress === 'bar') return 'bar';
  // https://no-color.org accepts any value except an empty one; some users disable CI with CI=false.
  const isCi = !['', '0', 'false'].includes(env['CI'] ?? '');
  return isCi || (env['NO_COLOR'] ?? '') !== '' ? 'plain' : 'bar';
}

export function printerFor(options: OutputOptions, io: Pick<Io, 'stdout' | 'stderr' | 'env'>): Printer {
  const printer = printerOf(outputKind(options, io), io);
  return options.quiet ? withoutInformation(withoutEvents(printer)) : printer;
}

function printerOf(kind: OutputKind, io: Pick<Io, 'stdout' | 'stderr' | 'env'>): Printer {
  const { stdout, stderr } = io;
  switch (kind) {
    case 'json':
      return jsonPrinter(stdout, stderr);
    case 'none':
      return withoutEvents(plainPrinter(stdout, stderr));
    case 'plain':
      return plainPrinter(stdout, stderr);
    case 'bar':
      return terminalPrinter(stdout, { hasColour: (io.env['NO_COLOR'] ?? '') === '' });
  }
}

function withoutInformation(printer: Printer): Printer {
  return {
    ...printer,
    notice(text, kind) {
      if (kind === 'warning') printer.notice(text);
    },
  };
}

function withoutEvents(printer: Printer): Printer {
  return { ...printer, event: () => undefined };
}
