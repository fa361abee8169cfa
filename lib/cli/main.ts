#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { asFailure, Failure } from '../base/failure.ts';
import { type Command, parseCommand, USAGE } from './command.ts';
import { convert } from './convert.ts';
import { openArchive } from './destination.ts';
import { keepHeapSmall } from './heap.ts';
import { EXIT, type Io } from './io.ts';
import { ls } from './ls.ts';
import { status } from './status.ts';
import { sync } from './sync.ts';
import { verify } from './verify.ts';

/** Runs a command line. Resolves to its exit code, whatever happens. */
export async function main(args: readonly string[], io: Io): Promise<number> {
  let command: Command;
  try {
    command = parseCommand(args);
  } catch (error) {
    io.stderr.write(`${asFailure(error, 'mirror-sync', 'input').message}\n(mirror-sync --help tells how it is used)\n`);
    return EXIT.usage;
  }
  try {
    return await run(command, io);
  } catch (error) {
    if (io.signal.aborted) return EXIT.interrupted;
    // A Failure says all there is to say; anything else is a bug of ours, and its stack is what we will be asked for.
    const text = error instanceof Failure ? error.message : error instanceof Error ? error.stack : String(error);
    io.stderr.write(`mirror-sync ${command.name}: ${text ?? ''}\n`);
    return error instanceof Failure && error.side === 'input' ? EXIT.usage : EXIT.failed;
  }
}

async function run(command: Command, io: Io): Promise<number> {
  switch (command.name) {
    case 'help':
      io.stdout.write(USAGE);
      return EXIT.ok;
    case 'version':
      io.stdout.write(`${version()}\n`);
      return EXIT.ok;
    case 'sync': {
      await using opened = await openArchive(command.to, 'write');
      return await sync(command, opened.archive, io);
    }
    case 'ls': {
      await using opened = await openArchive(command.archive, 'read');
      return await ls(command, opened.archive, io);
    }
    case 'convert': {
      await using opened = await openArchive(command.archive, 'read');
      return await convert(command, opened.archive, io);
    }
    case 'status': {
      await using opened = await openArchive(command.archive, 'read');
      return await status(command, opened.archive, io);
    }
    case 'verify': {
      await using opened = await openArchive(command.archive, 'read');
      return await verify(command, opened.archive, io);
    }
  }
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}

if (import.meta.main) {
  keepHeapSmall();
  const controller = new AbortController();
  const stop = (): void => {
    controller.abort(new DOMException('stopped by the user', 'AbortError'));
  };
  // Once: a second Ctrl-C has its usual meaning.
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  // A reader that went away (`| head`) is no error of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') process.stderr.write(`mirror-sync: the output cannot be written: ${error.message}\n`);
    controller.abort(new DOMException('nobody reads the output', 'AbortError'));
  });
  const { stdout, stderr, env } = process;
  process.exitCode = await main(process.argv.slice(2), { stdout, stderr, env, signal: controller.signal });
}
