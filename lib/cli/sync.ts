import type { SyncCommand } from './command.ts';
import { readConfig, refuseFiles } from './config-file.ts';
import type { OpenArchive } from './destination.ts';
import { EXIT, type Io, stoppedCode } from './io.ts';
import { printerFor } from './output.ts';
import { runSync } from './run-sync.ts';

/** Mirrors what the command names into the archive, and shows it. Resolves to the exit code. */
export async function sync(command: SyncCommand, opened: OpenArchive, io: Io): Promise<number> {
  const { env, signal } = io;
  await refuseFiles(command.names);
  const config = command.config === undefined ? undefined : await readConfig(command.config, io);
  const printer = printerFor(command, io);
  const sayStopping = (): void => {
    printer.notice('stopping; what has arrived is kept (again to end at once)');
  };
  if (command.isConfigImplied && !command.quiet) printer.notice(`mirroring what ${command.config} names`);
  signal.addEventListener('abort', sayStopping, { once: true });
  try {
    const summary = await runSync({ ...command, config }, opened, {
      env,
      signal,
      event: (event) => {
        printer.event(event);
      },
      notice: (text) => {
        printer.notice(text);
      },
    });
    printer.summary(summary);
    if (signal.aborted) return stoppedCode(signal);
    return summary.failed === 0 ? EXIT.ok : EXIT.failed;
  } finally {
    signal.removeEventListener('abort', sayStopping);
    printer.close();
  }
}
