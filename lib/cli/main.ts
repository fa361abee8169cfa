import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { asFailure, Failure } from '../core/failure.ts';
import { printable } from '../oci/show.ts';
import { check } from './commands/check.ts';
import { type Command, parseCommand } from './command.ts';
import { requireConfig } from '../app/config-file.ts';
import { convert } from './commands/convert.ts';
import { openArchive } from '../app/open-archive.ts';
import { keepHeapSmall } from './heap.ts';
import { HELP, OVERVIEW } from './help.ts';
import { EXIT, type Io, STOP_SIGNALS, Stopped, stoppedCode, type StopSignal } from './output/io.ts';
import { ls } from './commands/ls.ts';
import { status } from './commands/status.ts';
import { sync } from './commands/sync.ts';
import { verify } from './commands/verify.ts';

/** Runs a command line. Resolves to its exit code, whatever happens. */
export async function main(args: readonly string[], io: Io): Promise<number> {
  let command: Command;
  try {
    command = parseCommand(args, io.env);
  } catch (error) {
    const { message } = asFailure(error, 'mirror-sync', 'input');
    const [name = ''] = args;
    const topic = Object.hasOwn(HELP, name) ? `help ${name}` : '--help';
    io.stderr.write(`${printable(message)}\n(run 'mirror-sync ${topic}' for usage)\n`);
    return EXIT.usage;
  }
  try {
    return await run(command, io);
  } catch (error) {
    if (io.signal.aborted) return stoppedCode(io.signal);
    io.stderr.write(`${textOf(error, `mirror-sync ${command.name}`)}\n`);
    return error instanceof Failure && error.side === 'input' ? EXIT.usage : EXIT.failed;
  }
}

/** A Failure says all there is to say. Anything else is a bug of ours, whose stack a report needs. */
function textOf(error: unknown, operation: string): string {
  const text = error instanceof Failure ? error.message : error instanceof Error ? (error.stack ?? '') : String(error);
  const lines = text.split('\n').map(printable).join('\n');
  return lines.startsWith(operation) ? lines : `${operation}: ${lines}`;
}

async function run(command: Command, io: Io): Promise<number> {
  switch (command.name) {
    case 'help':
      io.stdout.write(command.topic === undefined ? OVERVIEW : HELP[command.topic]);
      return EXIT.ok;
    case 'version':
      io.stdout.write(`${version()}\n`);
      return EXIT.ok;
    case 'check':
      return await check(command, io);
    case 'sync': {
      await requireConfig(command);
      await using opened = await openArchive(command.to, 'write', io);
      return await sync(command, opened, io);
    }
    case 'ls': {
      await using opened = await openArchive(command.archive, 'read', io);
      return await ls(command, opened.archive, io);
    }
    case 'convert': {
      await using opened = await openArchive(command.archive, 'read', io);
      return await convert(command, opened.archive, io);
    }
    case 'status': {
      await using opened = await openArchive(command.archive, 'read', io);
      return await status(command, opened.archive, io);
    }
    case 'verify': {
      await using opened = await openArchive(command.archive, 'read', io);
      return await verify(command, opened.archive, io);
    }
  }
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}

/** Reads one line. Not in raw mode, so that Ctrl-C stays a signal; the end of the input is an empty answer. */
async function ask(question: string, signal: AbortSignal): Promise<string> {
  using lines = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  const ended = once(lines, 'close').then(() => '');
  return await Promise.race([lines.question(question, { signal }), ended]);
}

/** Runs the command line of this process. */
export async function start(): Promise<void> {
  keepHeapSmall();
  const controller = new AbortController();
  const stop = (signal: StopSignal): void => {
    // A second signal, of whatever kind, has its usual effect: the process ends at once.
    for (const each of STOP_SIGNALS) process.off(each, stop);
    controller.abort(new Stopped(signal));
  };
  for (const signal of STOP_SIGNALS) process.on(signal, stop);
  // A reader that went away (`| head`) is not an error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') process.stderr.write(`mirror-sync: write output: ${error.message}\n`);
    controller.abort(new DOMException('nothing reads the output', 'AbortError'));
  });
  const { stdin, stdout, stderr, env, platform } = process;
  process.exitCode = await main(process.argv.slice(2), {
    stdin,
    ...(stdin.isTTY && stderr.isTTY ? { ask: (question) => ask(question, controller.signal) } : {}),
    stdout,
    stderr,
    env,
    platform,
    signal: controller.signal,
  });
}

if (import.meta.main) await start();
