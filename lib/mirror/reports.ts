/**
 * Run reports: one object an image, below `.mirror/runs/<run>/`. An image that is found unchanged writes none, so that a
 * sync of a thousand unchanged tags writes nothing at all.
 */
import { asFailure, Failure } from '../base/failure.ts';
import { Permits } from '../base/permits.ts';
import type { Archive } from '../archive/archive.ts';
import type { Cancel } from '../archive/store.ts';
import type { ImageEvent } from './events.ts';

export interface Report {
  readonly version: 1;
  /** As it was asked for: `docker.io/library/alpine:3.20`, with a digest, with both. */
  readonly reference: string;
  /** Repository in the archive. */
  readonly repository: string;
  readonly digest?: string;
  /** What the tag named in the archive before, where it has moved. */
  readonly previous?: string;
  readonly status: 'pending' | 'mirrored' | 'failed';
  readonly code?: string;
  readonly reason?: string;
  readonly notes?: readonly string[];
  /** The event of this status could not be sent yet; the next delivery sends it. */
  readonly unsent?: true;
  /** ISO 8601, UTC. */
  readonly at: string;
}

const MAX_REPORT_BYTES = 64 * 1024;

/** Reports that are read side by side. */
const READS = 16;

/**
 * Writes the word on an image. `pending` only where nothing is known yet: a resolver that is retried must not take back
 * what the finalizer has said.
 */
export async function writeReport(
  archive: Archive,
  event: ImageEvent,
  now: number,
  options: Cancel & { readonly unsent?: boolean } = {},
): Promise<void> {
  const { reference, repository, digest, previous, status, code, reason, notes } = event;
  if (status === 'unchanged') return;
  const report: Report = {
    version: 1,
    reference,
    repository,
    ...(digest === undefined ? {} : { digest }),
    ...(previous === undefined ? {} : { previous }),
    status,
    ...(code === undefined ? {} : { code }),
    ...(reason === undefined ? {} : { reason }),
    ...(notes === undefined ? {} : { notes }),
    ...(options.unsent === true ? { unsent: true } : {}),
    at: new Date(now).toISOString(),
  };
  const key = keyOf(archive, event);
  const condition = status === 'pending' ? { condition: { absent: true } as const } : {};
  try {
    const bytes = Buffer.from(`${JSON.stringify(report)}\n`);
    await archive.store.put(key, bytes, { ...condition, contentType: 'application/json', signal: options.signal });
  } catch (error) {
    const failure = asFailure(error, `write ${key}`, 'archive');
    if (status !== 'pending' || failure.code !== 'precondition-failed') throw failure;
  }
}

/** What is reported so far of the image that an event is about. */
export function readReportOf(archive: Archive, event: ImageEvent, options: Cancel = {}): Promise<Report | undefined> {
  return readReport(archive, keyOf(archive, event), options);
}

/** One object for each thing that was asked for: by its reference as that was given, and the repository that it goes to. */
function keyOf({ layout }: Archive, { run, repository, reference }: ImageEvent): string {
  return layout.runReport(run, `${repository} ${reference}`);
}

/** The runs that have reports, the one that was written to last first. */
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
  const permits = new Permits(READS);
  const reading: Promise<Report | undefined>[] = [];
  for await (const { key } of archive.store.list(archive.layout.runReport(run), options)) {
    if (key === archive.layout.runStart(run)) continue;
    const report = permits.with(() => readReport(archive, key, options), options.signal);
    // One that fails while others are still being listed is told at the end, and must not end the process before.
    report.catch(() => undefined);
    reading.push(report);
  }
  const reports = (await Promise.all(reading)).filter((report) => report !== undefined);
  const name = ({ reference, repository }: Report): string => `${reference} ${repository}`;
  return reports.sort((a, b) => (name(a) < name(b) ? -1 : 1));
}

async function readReport(archive: Archive, key: string, options: Cancel): Promise<Report | undefined> {
  const found = await archive.store.get(key, { maxBytes: MAX_REPORT_BYTES, ...options });
  if (found === undefined) return undefined;
  try {
    return JSON.parse(Buffer.from(found.bytes).toString('utf8')) as Report;
  } catch (cause) {
    throw new Failure({ operation: `read ${key}`, side: 'archive', code: 'corrupt', detail: 'it is not JSON', cause });
  }
}

/** A name for a run: its time, so that runs sort, and what tells it from others of that time. */
export function runName(now: number, distinct: string): string {
  const time = new Date(now).toISOString().replaceAll(/[:.]/g, '-');
  return `${time}-${distinct.replaceAll(/[^A-Za-z0-9-]/g, '').slice(0, 36)}`;
}
