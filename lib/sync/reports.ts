/**
 * Run reports: one object per image, below `.mirror/runs/<run>/`. An unchanged image writes none, so a sync of a
 * thousand unchanged tags writes nothing.
 */
import { defined } from '../core/defined.ts';
import { asFailure, Failure } from '../core/failure.ts';
import { settleEach } from '../core/settle-all.ts';
import type { Archive } from '../archive/archive.ts';
import type { Changes } from '../changes/changes.ts';
import { readChanges } from '../changes/parse.ts';
import type { Cancel, Condition } from '../store/store.ts';
import type { Digest } from '../oci/digest.ts';
import { Place } from '../oci/document.ts';
import type { ImageEvent } from './events.ts';

/** An unchanged image has no report. */
export const REPORT_STATUSES = ['pending', 'mirrored', 'held', 'unverified', 'drifted', 'rejected', 'failed'] as const;

export interface Report {
  readonly version: 1;
  /** As requested: `docker.io/library/alpine:3.20`, with a digest, or with both. */
  readonly reference: string;
  /** Repository in the archive. */
  readonly repository: string;
  /** For a referrer: its subject, and the image that it was found for, as requested. */
  readonly referrer?: { readonly subject: string; readonly root: string };
  readonly digest?: string;
  /** The previous digest of the tag in the archive, if the tag has moved. */
  readonly previous?: string;
  /** The difference between the previous image and this one. */
  readonly changes?: Changes;
  /** The digest that a drifted tag keeps in the archive. */
  readonly current?: string;
  /** The end of the period of a held image: ISO 8601, UTC. */
  readonly until?: string;
  readonly status: (typeof REPORT_STATUSES)[number];
  readonly code?: string;
  readonly reason?: string;
  readonly notes?: readonly string[];
  /** The event of this status could not be sent yet; the next delivery sends it. */
  readonly unsent?: true;
  /** ISO 8601, UTC. */
  readonly at: string;
}

const MAX_REPORT_BYTES = 64 * 1024;

/** Notes of one image that a report has. */
const MAX_NOTES = 1_000;

/** Reports that are read concurrently. */
const READS = 16;

/**
 * Writes the state of an image. `pending` never replaces an earlier report, because a retried resolver must not replace
 * the finalizer's result.
 *
 * @throws Failure `precondition-failed` if `condition` does not hold
 */
export async function writeReport(
  archive: Archive,
  event: ImageEvent,
  now: number,
  options: Cancel & { readonly unsent?: boolean; readonly condition?: Condition } = {},
): Promise<void> {
  const { reference, repository, referrer, digest, previous, changes, current, until, code, reason, notes } = event;
  // An image that the resolver found unchanged has no report. An image with a newer observation of its tag has a
  // report, because it is kept by its digest.
  if (event.status === 'unchanged' && code === undefined) return;
  const status = event.status === 'unchanged' ? 'mirrored' : event.status;
  const report: Report = {
    version: 1,
    reference,
    repository,
    ...defined({ referrer, digest, previous, changes, current }),
    status,
    ...defined({ until, code, reason, notes }),
    ...(options.unsent === true ? { unsent: true } : {}),
    at: new Date(now).toISOString(),
  };
  const key = keyOf(archive, event);
  const condition = status === 'pending' ? ({ absent: true } as const) : options.condition;
  try {
    const bytes = Buffer.from(`${JSON.stringify(report)}\n`);
    const conditional = condition === undefined ? {} : { condition };
    await archive.store.put(key, bytes, { ...conditional, contentType: 'application/json', signal: options.signal });
  } catch (error) {
    const failure = asFailure(error, `write ${key}`, 'archive');
    if (status !== 'pending' || failure.code !== 'precondition-failed') throw failure;
  }
}

/**
 * The report so far of an event's image, and the condition for replacing exactly that report. A file that is not a
 * report counts as missing.
 */
export async function findReport(
  archive: Archive,
  event: ImageEvent,
  options: Cancel = {},
): Promise<{ readonly report: Report | undefined; readonly condition: Condition }> {
  const key = keyOf(archive, event);
  const found = await archive.store.get(key, { maxBytes: MAX_REPORT_BYTES, ...options });
  if (found === undefined) return { report: undefined, condition: { absent: true } };
  const condition = { etag: found.etag };
  try {
    return { report: parseReport(found.bytes, key), condition };
  } catch (error) {
    if (error instanceof Failure && error.code === 'corrupt') return { report: undefined, condition };
    throw error;
  }
}

/** The last part of the key of an image's report, shortened; a record of a message names its images by it. */
export function reportId(archive: Archive, image: Pick<ImageEvent, 'run' | 'repository' | 'reference'>): string {
  return reportIdOf(keyOf(archive, image));
}

function reportIdOf(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1).slice(0, REPORT_ID);
}

const REPORT_ID = 20;

/** One object per request. Its key consists of the reference as requested, and the target repository. */
function keyOf(
  { layout }: Archive,
  { run, repository, reference }: Pick<ImageEvent, 'run' | 'repository' | 'reference'>,
): string {
  return layout.runReport(run, `${repository} ${reference}`);
}

/** The runs that have reports, most recently written first. */
export async function listRuns(archive: Archive, options: Cancel = {}): Promise<string[]> {
  const runs = new Map<string, number>();
  for await (const { key, modified } of archive.store.list(archive.layout.runs, options)) {
    const run = archive.layout.runOf(key);
    if (run !== undefined) runs.set(run, Math.max(runs.get(run) ?? 0, modified.getTime()));
  }
  return [...runs].sort(([, a], [, b]) => b - a).map(([run]) => run);
}

/** All reports of a run, by reference and repository. */
export async function readRun(archive: Archive, run: string, options: Cancel = {}): Promise<Report[]> {
  const listed = await listReports(archive, run, options);
  const read = await settleEach(listed, READS, ({ key }) => readReport(archive, key, options));
  const reports = read.filter((report) => report !== undefined);
  const name = ({ reference, repository }: Report): string => `${reference} ${repository}`;
  return reports.sort((a, b) => (name(a) < name(b) ? -1 : 1));
}

/** The keys of a run's reports, with the time of the last write. */
export async function listReports(
  archive: Archive,
  run: string,
  options: Cancel = {},
): Promise<readonly { readonly id: string; readonly key: string; readonly modified: Date }[]> {
  const { layout, store } = archive;
  const all: { id: string; key: string; modified: Date }[] = [];
  for await (const { key, modified } of store.list(layout.runReport(run), options))
    if (key !== layout.runStart(run) && key !== layout.runSummary(run))
      all.push({ id: reportIdOf(key), key, modified });
  return all;
}

export async function readReport(archive: Archive, key: string, options: Cancel): Promise<Report | undefined> {
  const found = await archive.store.get(key, { maxBytes: MAX_REPORT_BYTES, ...options });
  return found === undefined ? undefined : parseReport(found.bytes, key);
}

/**
 * @throws Failure `corrupt` that names the field: every writer of the archive can write reports
 */
function parseReport(bytes: Uint8Array, key: string): Report {
  const operation = `read run report ${key}`;
  try {
    const place = Place.ofBytes(operation, bytes);
    const version = place.at('version');
    if (version.integer() !== 1) throw version.fail('must be 1');
    const digest = (name: string): Digest | undefined => place.at(name).optional((value) => value.digest());
    return defined({
      version: 1 as const,
      reference: place.at('reference').text(),
      repository: place.at('repository').text(),
      referrer: place.at('referrer').optional(referrerIn),
      digest: digest('digest'),
      previous: digest('previous'),
      changes: place.at('changes').optional(readChanges),
      current: digest('current'),
      status: statusOf(place.at('status')),
      until: place.at('until').optional(timeOf),
      code: place.at('code').optionalText(),
      reason: place.at('reason').optionalText(),
      notes: place.at('notes').optional((notes) => notes.list(MAX_NOTES).map((note) => note.text())),
      ...(place.at('unsent').optionalFlag() ? { unsent: true as const } : {}),
      at: timeOf(place.at('at')),
    });
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw new Failure({ operation, side: 'archive', code: 'corrupt', detail: error.detail, cause: error });
  }
}

function statusOf(place: Place): Report['status'] {
  const text = place.text();
  const status = REPORT_STATUSES.find((each) => each === text);
  if (status === undefined) throw place.fail(`must be one of ${REPORT_STATUSES.join(', ')}`);
  return status;
}

function referrerIn(place: Place): NonNullable<Report['referrer']> {
  return { subject: place.at('subject').digest(), root: place.at('root').text() };
}

export function timeOf(place: Place): string {
  const text = place.text();
  if (Number.isNaN(Date.parse(text))) throw place.fail('must be a time in ISO 8601');
  return text;
}

/** A name for a run: its time, so that runs sort, and a part that distinguishes runs of the same time. */
export function runName(now: number, distinct: string): string {
  const time = new Date(now).toISOString().replaceAll(/[:.]/g, '-');
  return `${time}-${distinct.replaceAll(/[^A-Za-z0-9-]/g, '').slice(0, 36)}`;
}
