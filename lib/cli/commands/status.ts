import { invalid } from '../../core/failure.ts';
import type { Archive } from '../../archive/archive.ts';
import { changeLines } from '../../changes/text.ts';
import { listRuns, readRun, type Report } from '../../sync/reports.ts';
import { readRunStart, type RunStart } from '../../sync/runs.ts';
import { openArchive } from '../../app/open-archive.ts';
import { archiveOf, defineCommand, usage } from '../command.ts';
import { plural } from '../../core/format.ts';
import { EXIT, type Io, writeJson, writeLine } from '../output/io.ts';
import { shownName } from '../../app/outcomes.ts';

interface StatusRequest {
  /** The run; the latest by default. */
  readonly run: string | undefined;
  readonly json: boolean;
}

export const status = defineCommand({
  name: 'status',
  summary: 'show the results of a run on AWS',
  usage: ['ARCHIVE [RUN] [--json]'],
  description: ['RUN is the latest run by default.'],
  options: { json: { help: 'one JSON object per line; the last is the summary (docs/json.md)' } },
  parse(args) {
    const [archive, run, ...more] = archiveOf('status', args);
    if (more.length > 0) throw usage('status', `name one run at a time (got also ${more.join(', ')})`);
    const request = { run, json: args.has('json') };
    return async (io) => {
      await using opened = await openArchive(archive, 'read', io);
      return await printRun(request, opened.archive, io);
    };
  },
});

/** Prints the result of each image of a run. Resolves to 1 if an image failed. */
export async function printRun(request: StatusRequest, archive: Archive, { stdout, signal }: Io): Promise<number> {
  const { json } = request;
  const [last, ...earlier] = request.run === undefined ? await listRuns(archive, { signal }) : [request.run];
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
    throw invalid(operation, `unknown run ${last}; without a name, status shows the latest`);
  const of = (wanted: Report['status']): Report[] => reports.filter((report) => report.status === wanted);
  const [mirrored, failed, pending] = [of('mirrored'), of('failed'), of('pending')];
  if (json) {
    for (const { version: _, ...report } of reports) writeJson(stdout, { type: 'report', ...report });
    const counts = { mirrored: mirrored.length, failed: failed.length, pending: pending.length };
    const { at: started, by, messages, repositories, images } = start ?? {};
    writeJson(stdout, { type: 'summary', run: last, started, by, messages, repositories, images, ...counts });
  } else {
    writeLine(stdout, `run ${last}${start === undefined ? '' : `, started ${start.at} for ${scopeOf(start)}`}`);
    for (const report of mirrored) for (const line of linesOf(report)) writeLine(stdout, line);
    for (const report of pending) writeLine(stdout, `  pending   ${shownName(report)}  since ${report.at}`);
    for (const report of failed)
      writeLine(stdout, `  failed    ${shownName(report)}: ${report.reason ?? 'unknown reason'}`);
    const counts = `${mirrored.length} mirrored, ${failed.length} failed, ${pending.length} pending`;
    const others =
      earlier[0] === undefined ? '' : `; ${plural(earlier.length, 'earlier run')}, the last of them ${earlier[0]}`;
    writeLine(stdout, `${counts}${others}`);
    if (start !== undefined) writeLine(stdout, 'Every other image is unchanged, or still queued.');
  }
  return failed.length === 0 ? EXIT.ok : EXIT.failed;
}

function linesOf(report: Report): readonly string[] {
  const { changes, notes = [] } = report;
  const remarks = [...(changes === undefined ? [] : changeLines(changes)), ...notes];
  return [`  mirrored  ${shownName(report)}  ${digestsOf(report)}`, ...remarks.map((line) => `            ${line}`)];
}

/** The tags of a repository without named images are listed upstream. */
function scopeOf({ repositories, images }: RunStart): string {
  return `${plural(repositories, 'repository', 'repositories')}${images === 0 ? '' : `, ${plural(images, 'named image')}`}`;
}

function digestsOf({ digest = '', previous }: Report): string {
  return previous === undefined ? digest : `${digest} (moved from ${previous})`;
}
