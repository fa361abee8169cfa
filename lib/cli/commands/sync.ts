import type { SyncCommand } from '../command.ts';
import { readConfig, refuseFiles } from '../../app/config-file.ts';
import type { OpenArchive } from '../../app/open-archive.ts';
import { EXIT, type Io, stoppedCode } from '../output/io.ts';
import { printerFor } from '../output/output.ts';
import { runSync } from '../../app/sync.ts';

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
