import type { Host } from '../../app/host.ts';
import { printable } from '../../oci/show.ts';

/** The parts of the process that a command may use, so that a test can replace them. */
export interface Io extends Host {
  /** Standard input, if the command reads it. */
  readonly stdin?: AsyncIterable<Uint8Array | string>;
  /** Asks a person, and resolves to the answer; undefined without a terminal. */
  readonly ask?: ((question: string) => Promise<string>) | undefined;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Aborts the command; the reason may be a `Stopped`. */
  readonly signal: AbortSignal;
}

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

/** Writes a line. Texts from registries and archives are untrusted, so control and format characters are escaped. */
export function writeLine(out: Output, text: string): void {
  out.write(`${printable(text)}\n`);
}

/** Writes a value as a line of JSON, and escapes DEL, C1 and format characters, which JSON does not escape. */
export function writeJson(out: Output, value: object): void {
  writeLine(out, JSON.stringify(value));
}

/** Exit codes, as documented in the README. */
export const EXIT = {
  ok: 0,
  /** An image failed, or the archive has a problem. */
  failed: 1,
  usage: 2,
  /** A tag has moved upstream, and the policy keeps it; nothing has failed. */
  drifted: 3,
  /** Interrupted by Ctrl-C (128 + SIGINT). */
  interrupted: 130,
} as const;

/** 128 plus the number of the signal, as in shells. */
const SIGNAL_CODES = { SIGINT: EXIT.interrupted, SIGTERM: 143, SIGHUP: 129 } as const;
export type StopSignal = keyof typeof SIGNAL_CODES;
export const STOP_SIGNALS = Object.keys(SIGNAL_CODES) as readonly StopSignal[];

/** The abort reason after a signal. */
export class Stopped extends DOMException {
  readonly signal: StopSignal;
  readonly exitCode: number;

  constructor(signal: StopSignal) {
    super(`stopped by ${signal}`, 'AbortError');
    this.signal = signal;
    this.exitCode = SIGNAL_CODES[signal];
  }
}

/** The exit code of a command that was aborted. */
export function stoppedCode({ reason }: AbortSignal): number {
  return reason instanceof Stopped ? reason.exitCode : EXIT.interrupted;
}
