import { invalid } from '../base/failure.ts';
import type { Archive } from '../archive/archive.ts';
import { listRuns, readRun, type Report } from '../mirror/reports.ts';
import { readRunStart, type RunStart } from '../mirror/runs.ts';
import { printable } from '../oci/show.ts';
import type { StatusCommand } from './command.ts';
import { plural } from './format.ts';
import { EXIT, type Io } from './io.ts';
import { shownName } from './outcomes.ts';

/** Prints the results of a run: what is mirrored, what is pending, what has failed and why. Resolves to 1 where anything failed. */
export async function status(command: StatusCommand, archive: Archive, { stdout, signal }: Io): Promise<number> {
  const { json } = command;
  const [last, ...earlier] = command.run === undefined ? await listRuns(archive, { signal }) : [command.run];
  const operation = `read run reports of ${archive.store.name}`;
  if (last === undefined)
    throw invalid(
      operation,
      'there are none; only runs on AWS write them, and a sync on this machine prints its results',
    );
  const [start, reports] = await Promise.all([
    readRunStart(archive, last, { signal }),
    readRun(archive, last, { signal }),
  ]);
  if (reports.length === 0 && start === undefined)
    throw invalid(operation, `there is no run ${last}; without a name, status shows the latest`);
  const of = (wanted: Report['status']): Report[] => reports.filter((report) => report.status === wanted);
  const [mirrored, failed, pending] = [of('mirrored'), of('failed'), of('pending')];
  if (json) {
    for (const { version: _, ...report } of reports) stdout.write(`${JSON.stringify(report)}\n`);
    const counts = { mirrored: mirrored.length, failed: failed.length, pending: pending.length };
    const { at: started, by, messages, repositories, images } = start ?? {};
    stdout.write(
      `${JSON.stringify({ type: 'summary', run: last, started, by, messages, repositories, images, ...counts })}\n`,
    );
  } else {
    stdout.write(`run ${last}${start === undefined ? '' : `, started ${start.at} for ${scopeOf(start)}`}\n`);
    for (const report of mirrored) {
      stdout.write(`  mirrored  ${shownName(report)}  ${digestsOf(report)}\n`);
      for (const note of report.notes ?? []) stdout.write(`            ${printable(note)}\n`);
    }
    for (const report of pending) stdout.write(`  pending   ${shownName(report)}  since ${report.at}\n`);
    for (const report of failed)
      stdout.write(`  failed    ${shownName(report)}: ${printable(report.reason ?? 'no reason given')}\n`);
    stdout.write(`${mirrored.length} mirrored, ${failed.length} failed, ${pending.length} pending`);
    stdout.write(
      earlier.length === 0
        ? '\n'
        : `; ${plural(earlier.length, 'earlier run')}, the last of them ${earlier[0] ?? ''}\n`,
    );
    if (start !== undefined) stdout.write('Every other image is unchanged, or still queued.\n');
  }
  return failed.length === 0 ? EXIT.ok : EXIT.failed;
}

/** The tags of a repository without named images are listed upstream. */
function scopeOf({ repositories, images }: RunStart): string {
  return `${plural(repositories, 'repository', 'repositories')}${images === 0 ? '' : `, ${plural(images, 'named image')}`}`;
}

function digestsOf({ digest = '', previous }: Report): string {
  return previous === undefined ? digest : `${digest} (moved from ${previous})`;
}
