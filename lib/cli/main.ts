import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import { asFailure, Failure } from '../core/failure.ts';
import { wordsFor } from '../core/system-error.ts';
import { withoutUrlSecrets } from '../core/secrets.ts';
import { printable } from '../oci/show.ts';
import { keepHeapSmall } from './heap.ts';
import { EXIT, type Io, STOP_SIGNALS, Stopped, stoppedCode, type StopSignal, writeLine } from './output/io.ts';
import { helpFor, parseCommand, type ParsedCommand } from './parse.ts';

/** Runs a command line. Always resolves to an exit code. */
export async function main(args: readonly string[], io: Io): Promise<number> {
  let command: ParsedCommand;
  try {
    command = parseCommand(args, io.env);
  } catch (error) {
    const { message } = asFailure(error, 'mirror-sync', 'input');
    const end = message.endsWith('?') ? '' : '.';
    writeLine(io.stderr, `${message}${end} Run 'mirror-sync ${helpFor(args)}' for usage.`);
    return EXIT.usage;
  }
  try {
    return await command.run(io);
  } catch (error) {
    if (io.signal.aborted) return stoppedCode(io.signal);
    io.stderr.write(`${textOf(error, `mirror-sync ${command.name}`)}\n`);
    return error instanceof Failure && error.side === 'input' ? EXIT.usage : EXIT.failed;
  }
}

/** A Failure needs only its message. Anything else is a bug, whose report needs the stack. */
function textOf(error: unknown, operation: string): string {
  const text = error instanceof Failure ? error.message : error instanceof Error ? (error.stack ?? '') : String(error);
  const lines = withoutUrlSecrets(text).split('\n').map(printable).join('\n');
  return lines.startsWith(operation) ? lines : `${operation}: ${lines}`;
}

/** Reads one line without raw mode, so that Ctrl-C remains a signal. The end of the input is an empty answer. */
async function ask(question: string, signal: AbortSignal): Promise<string> {
  using lines = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  const ended = once(lines, 'close').then(() => '');
  return await Promise.race([lines.question(question, { signal }), ended]);
}

/** Stops the command if its output cannot be written. Messages that cannot be written do not end the work. */
function onLostOutput(stop: () => void): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    stop();
    // A closed pipe (`| head`) is not an error. Each write reports the others again.
    if (error.code === 'EPIPE' || process.exitCode === EXIT.failed) return;
    process.exitCode = EXIT.failed;
    process.stderr.write(`mirror-sync: write output: ${wordsFor(error)}\n`);
  });
  process.stderr.on('error', () => undefined);
}

/** Far above the time in which a process without work ends. */
const STUCK_MS = 1_000;

/**
 * Ends the process although a system call may block one of its threads, such as the opening of a pipe without a writer. Node.js
 * waits for such a call even in `process.exit`, and only the default action of a signal ends it. A shell reports the same exit code.
 */
function endByForce({ reason }: AbortSignal): void {
  process.stdin.destroy();
  if (reason instanceof Stopped) setTimeout(() => process.kill(process.pid, reason.signal), STUCK_MS).unref();
}

/** Runs the command line of this process. */
export async function start(): Promise<void> {
  keepHeapSmall();
  const controller = new AbortController();
  const stop = (signal: StopSignal): void => {
    // A second signal of any kind ends the process immediately.
    for (const each of STOP_SIGNALS) process.off(each, stop);
    controller.abort(new Stopped(signal));
  };
  for (const signal of STOP_SIGNALS) process.on(signal, stop);
  onLostOutput(() => controller.abort(new DOMException('the output is closed', 'AbortError')));
  const { stdin, stdout, stderr, env, platform } = process;
  const code = await main(process.argv.slice(2), {
    stdin,
    ...(stdin.isTTY && stderr.isTTY ? { ask: (question) => ask(question, controller.signal) } : {}),
    stdout,
    stderr,
    env,
    platform,
    signal: controller.signal,
  });
  // Output that is lost has set it already.
  process.exitCode ??= code;
  if (controller.signal.aborted) endByForce(controller.signal);
}

if (import.meta.main) await start();
