import { invalid } from '../../core/failure.ts';
import type { Archive } from '../../archive/archive.ts';
import { changeLines } from '../../changes/text.ts';
import { listRuns, readRun, type Report, REPORT_STATUSES } from '../../sync/reports.ts';
import { readRunStart, type RunStart } from '../../sync/runs.ts';
import { openArchive } from '../../app/open-archive.ts';
import { archiveOf, defineCommand, usage } from '../command.ts';
import { plural } from '../../core/format.ts';
import { EXIT, type Io, type Output, writeJson, writeLine } from '../output/io.ts';
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
  const failed = of('failed');
  if (json) {
    for (const { version: _, ...report } of reports) writeJson(stdout, { type: 'report', ...report });
    const counts = Object.fromEntries(REPORT_STATUSES.map((each) => [each, of(each).length]));
    const { at: started, by, messages, repositories, images } = start ?? {};
    writeJson(stdout, { type: 'summary', run: last, started, by, messages, repositories, images, ...counts });
  } else {
    writeLine(stdout, `run ${last}${start === undefined ? '' : `, started ${start.at} for ${scopeOf(start)}`}`);
    for (const each of SHOWN) of(each).forEach((report) => printReport(report, stdout));
    const numbers = COUNTED.map((each) => ({ each, count: of(each).length }));
    const counts = numbers
      .filter(({ each, count }) => count > 0 || ALWAYS_COUNTED.has(each))
      .map(({ each, count }) => `${count} ${each}`)
      .join(', ');
    const others =
      earlier[0] === undefined ? '' : `; ${plural(earlier.length, 'earlier run')}, the last of them ${earlier[0]}`;
    writeLine(stdout, `${counts}${others}`);
    if (start !== undefined) writeLine(stdout, 'Every other image is unchanged, or still queued.');
  }
  return failed.length === 0 ? EXIT.ok : EXIT.failed;
}

/** The order of the results; failures are last. */
const SHOWN: readonly Report['status'][] = [
  'mirrored',
  'held',
  'unverified',
  'drifted',
  'rejected',
  'pending',
  'failed',
];
const COUNTED: typeof SHOWN = [...SHOWN.filter((each) => each !== 'pending'), 'pending'];
const ALWAYS_COUNTED: ReadonlySet<Report['status']> = new Set(['mirrored', 'pending', 'failed']);

function printReport(report: Report, stdout: Output): void {
  const { status: state, changes, notes = [] } = report;
  const remarks = [...(changes === undefined ? [] : changeLines(changes)), ...notes];
  const separator = state === 'failed' ? ': ' : '  ';
  writeLine(stdout, `  ${state.padEnd(9)} ${shownName(report)}${separator}${detailOf(report)}`);
  for (const line of remarks) writeLine(stdout, `            ${line}`);
}

function detailOf(report: Report): string {
  const { status: state, digest = '', current = '', until = '', reason, at } = report;
  switch (state) {
    case 'mirrored':
      return digestsOf(report);
    case 'held':
      return `${digest} (until ${until})`;
    case 'drifted':
      return `${digest} (the tag stays at ${current})`;
    case 'pending':
      return `since ${at}`;
    case 'unverified':
    case 'rejected':
      return `${digest} (${reason ?? 'unknown reason'})`;
    case 'failed':
      return reason ?? 'unknown reason';
  }
}

/** The tags of a repository without named images are listed upstream. */
function scopeOf({ repositories, images }: RunStart): string {
  return `${plural(repositories, 'repository', 'repositories')}${images === 0 ? '' : `, ${plural(images, 'named image')}`}`;
}

function digestsOf({ digest = '', previous }: Report): string {
  return previous === undefined ? digest : `${digest} (moved from ${previous})`;
}
