import type { Host } from '../../app/host.ts';
import { printable } from '../../oci/show.ts';

/** What a command may use of the process, so that a test can replace it. */
export interface Io extends Host {
  /** Standard input, where the command reads it. */
  readonly stdin?: AsyncIterable<Uint8Array | string>;
  /** Asks a person, and resolves to the answer; undefined if there is no terminal. */
  readonly ask?: ((question: string) => Promise<string>) | undefined;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Aborted when the command is to stop; the reason may be a `Stopped`. */
  readonly signal: AbortSignal;
}

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

/** Writes a line. Registries and archives choose parts of nearly every text, so control and format characters are escaped. */
export function writeLine(out: Output, text: string): void {
  out.write(`${printable(text)}\n`);
}

/** Writes a value as a line of JSON. JSON leaves DEL, C1 and format characters as they are, so they are escaped here. */
export function writeJson(out: Output, value: object): void {
  writeLine(out, JSON.stringify(value));
}

/** Exit codes, as documented in the README. */
export const EXIT = {
  ok: 0,
  /** Some image failed, or something in the archive is wrong. */
  failed: 1,
  usage: 2,
  /** Stopped by Ctrl-C (128 + SIGINT), as shells have it. */
  interrupted: 130,
} as const;

/** 128 and the signal's number, as shells report it. */
const SIGNAL_CODES = { SIGINT: EXIT.interrupted, SIGTERM: 143, SIGHUP: 129 } as const;
export type StopSignal = keyof typeof SIGNAL_CODES;
export const STOP_SIGNALS = Object.keys(SIGNAL_CODES) as readonly StopSignal[];

/** Why a command was aborted: a signal that asks for it to stop. */
export class Stopped extends DOMException {
  readonly exitCode: number;

  constructor(signal: StopSignal) {
    super(`stopped by ${signal}`, 'AbortError');
    this.exitCode = SIGNAL_CODES[signal];
  }
}

/** The exit code of a command that was aborted. */
export function stoppedCode({ reason }: AbortSignal): number {
  return reason instanceof Stopped ? reason.exitCode : EXIT.interrupted;
}
