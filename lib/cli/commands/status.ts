import { invalid } from '../../core/failure.ts';
import { withoutSecrets } from '../../core/secrets.ts';
import type { Archive } from '../../archive/archive.ts';
import { changeLines } from '../../changes/text.ts';
import { listRuns, readRun, type Report, REPORT_STATUSES } from '../../sync/reports.ts';
import { readSummary, type RunSummary, type SummaryImage } from '../../sync/run/summary.ts';
import { readRunStart, type RunStart } from '../../sync/runs.ts';
import { isRun } from '../../queue/parse.ts';
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
  summary: 'show the results of a run',
  usage: ['ARCHIVE [RUN] [--json]'],
  description: ['RUN is the latest run by default. A sync in which every image is unchanged leaves no results.'],
  options: { json: { help: 'one JSON object per line; the last is the summary (docs/json.md)' } },
  parse(args) {
    const [archive, run, ...more] = archiveOf('status', args);
    if (more.length > 0)
      throw usage('status', `name one run at a time (got also ${more.map(withoutSecrets).join(', ')})`);
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
      'there are none; each run on AWS writes them, and a sync on this machine does so if an image is not unchanged',
    );
  const unknown = (): Error =>
    invalid(operation, `unknown run ${withoutSecrets(last)}; without a name, status shows the latest`);
  if (!isRun(last)) throw unknown();
  const [start, reports, closed] = await Promise.all([
    readRunStart(archive, last, { signal }),
    readRun(archive, last, { signal }),
    readSummary(archive, last, { signal }),
  ]);
  if (closed?.summary.by === 'sync') return printClosed(closed.summary, json, stdout);
  if (reports.length === 0 && start === undefined && closed === undefined) throw unknown();
  const shown = { run: last, earlier, start, reports, closed: closed?.summary };
  if (json) writeRun(shown, stdout);
  else showRun(shown, stdout);
  return reports.some((report) => report.status === 'failed') ? EXIT.failed : EXIT.ok;
}

interface Shown {
  readonly run: string;
  readonly earlier: readonly string[];
  readonly start: RunStart | undefined;
  readonly reports: readonly Report[];
  readonly closed: RunSummary | undefined;
}

function countOf(reports: readonly Report[], wanted: Report['status']): number {
  return reports.filter((report) => report.status === wanted).length;
}

function writeRun({ run, start, reports, closed }: Shown, stdout: Output): void {
  for (const { version: _, ...report } of reports) writeJson(stdout, { type: 'report', ...report });
  const counts = Object.fromEntries(REPORT_STATUSES.map((each) => [each, countOf(reports, each)]));
  const { at: started, by, messages, repositories, images } = start ?? {};
  const about = { run, started, by, messages, repositories, images };
  writeJson(stdout, { type: 'summary', ...about, ...counts, ...(closed && closedFields(closed)) });
}

function showRun({ run, earlier, start, reports, closed }: Shown, stdout: Output): void {
  writeLine(stdout, `run ${run}${start === undefined ? '' : `, started ${start.at} for ${scopeOf(start)}`}`);
  for (const each of SHOWN) for (const report of reports) if (report.status === each) printReport(report, stdout);
  const counts = COUNTED.map((each) => ({ each, count: countOf(reports, each) }))
    .filter(({ each, count }) => count > 0 || ALWAYS_COUNTED.has(each))
    .map(({ each, count }) => `${count} ${each}`)
    .join(', ');
  const others =
    earlier[0] === undefined ? '' : `; ${plural(earlier.length, 'earlier run')}, the last of them ${earlier[0]}`;
  writeLine(stdout, `${counts}${others}`);
  if (closed !== undefined) writeLine(stdout, closedLine(closed));
  else if (start !== undefined) writeLine(stdout, 'Every other image is unchanged, or still queued.');
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

/** An image of a run, from its report or from the summary of the run. */
type Listed = SummaryImage & Pick<Report, 'at' | 'changes' | 'notes'>;

function printReport(report: Listed, stdout: Output): void {
  const { status: state, changes, notes = [] } = report;
  const remarks = [...(changes === undefined ? [] : changeLines(changes)), ...notes];
  const separator = state === 'failed' ? ': ' : '  ';
  writeLine(stdout, `  ${state.padEnd(9)} ${shownName(report)}${separator}${detailOf(report)}`);
  for (const line of remarks) writeLine(stdout, `            ${line}`);
}

function detailOf(report: Listed): string {
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
    default:
      return reason ?? 'unknown reason';
  }
}

/** The tags of a repository without named images are listed upstream. */
function scopeOf({ repositories, images }: RunStart): string {
  return `${plural(repositories, 'repository', 'repositories')}${images === 0 ? '' : `, ${plural(images, 'named image')}`}`;
}

function digestsOf({ digest = '', previous }: SummaryImage): string {
  return previous === undefined ? digest : `${digest} (moved from ${previous})`;
}

/** The fields of a summary in the last line of `status --json`. */
function closedFields({ outcome, finished, counts, referrers, moved, missing, omitted }: RunSummary): object {
  return { outcome, finished, counts, referrers, moved, missing, omitted };
}

/** `finished 2026-01-31T00:05:00.000Z: 3 mirrored, 97 unchanged, 0 failed; 1 tag moved` */
function closedLine({ outcome, finished, counts, referrers, moved, missing }: RunSummary): string {
  const numbers = Object.entries(counts).map(([status, count]) => `${count} ${status}`);
  const found =
    referrers === undefined ? '' : `; ${plural(referrers.mirrored, 'referrer')} mirrored, ${referrers.failed} failed`;
  const tags = moved === 0 ? '' : `; ${plural(moved, 'tag')} moved`;
  const lost =
    missing === undefined
      ? ''
      : `; ${plural(missing.messages, 'message')} and ${plural(missing.images, 'image')} have no result`;
  return `${outcome} ${finished}: ${numbers.join(', ')}${found}${tags}${lost}`;
}

/** Prints a run that has no reports: a sync on the command line. Resolves to the exit code. */
function printClosed(summary: RunSummary, isJson: boolean, stdout: Output): number {
  const { run, by, started, finished: at, images, repositories, omitted = 0 } = summary;
  const failed = summary.counts['failed'] ?? 0;
  if (isJson) {
    for (const image of images) writeJson(stdout, { type: 'report', ...image, at });
    const counts = Object.fromEntries(REPORT_STATUSES.map((each) => [each, summary.counts[each] ?? 0]));
    writeJson(stdout, { type: 'summary', run, started, by, repositories, ...counts, ...closedFields(summary) });
  } else {
    writeLine(stdout, `run ${run}, started ${started} for ${plural(repositories, 'repository', 'repositories')}`);
    for (const image of images) printReport({ ...image, at }, stdout);
    if (omitted > 0) writeLine(stdout, `  and ${plural(omitted, 'more image')}`);
    writeLine(stdout, closedLine(summary));
  }
  return failed === 0 ? EXIT.ok : EXIT.failed;
}
