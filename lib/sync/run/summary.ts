/** The summary of a finished run: one object beside its reports, one event, and one notification. */
import type { Archive } from '../../archive/archive.ts';
import { defined } from '../../core/defined.ts';
import { Place } from '../../oci/document.ts';
import type { Cancel, Condition } from '../../store/store.ts';
import type { Report } from '../reports.ts';

/** An image of a run that is not unchanged. */
export interface SummaryImage {
  readonly reference: string;
  readonly repository: string;
  readonly status: string;
  readonly digest?: string;
  /** The digest that a moved tag had before. */
  readonly previous?: string;
  /** The digest that a drifted tag keeps. */
  readonly current?: string;
  /** The time before which a held image is not visible: ISO 8601, UTC. */
  readonly until?: string;
  readonly code?: string;
  readonly reason?: string;
}

export interface RunSummary {
  readonly version: 1;
  readonly run: string;
  /** The trigger of the run: a sync of the command line, a schedule, a request, a push, or a client that missed an image. */
  readonly by: RunTrigger;
  /** `incomplete`: the run had not finished after a day. */
  readonly outcome: 'finished' | 'incomplete';
  /** ISO 8601, UTC. The start of a run by a push is the first record of it. */
  readonly started: string;
  readonly finished: string;
  /** Numbers of images by status: `mirrored`, `unchanged`, `failed` and others. */
  readonly counts: Readonly<Record<string, number>>;
  /** Referrers of images, such as signatures, which are not counted as images. Missing where there are none. */
  readonly referrers?: { readonly mirrored: number; readonly failed: number };
  /** Tags that moved to another digest. */
  readonly moved: number;
  readonly repositories: number;
  /** The images that are not unchanged, failed ones first; at most 50. */
  readonly images: readonly SummaryImage[];
  /** The number of images that this list leaves out. */
  readonly omitted?: number;
  /** For an incomplete run: the messages without a record, and the images without a result. */
  readonly missing?: { readonly messages: number; readonly images: number };
  /** Whether results have changed since an earlier summary of the run: a message was delivered again after its end. */
  readonly updated?: true;
  /** The receivers of the summary so far: `event`, `webhook`. */
  readonly delivered?: readonly string[];
}

export type RunTrigger = 'sync' | 'schedule' | 'request' | 'push' | 'fill';

/** Images that a summary lists. With their reasons they have at most 64 KiB, a quarter of an event. */
const MAX_IMAGES = 50;
const MAX_REASON = 300;
const MAX_REFERENCE = 400;
const MAX_SUMMARY_BYTES = 256 * 1024;
const MAX_COUNTS = 100;

/** The order of the list: results that need attention come first. */
const ORDER = ['failed', 'rejected', 'unverified', 'drifted', 'held', 'pending'];

type Facts = Pick<RunSummary, 'run' | 'by' | 'outcome' | 'started' | 'finished' | 'missing'>;

/**
 * Summarises a run. Pure.
 *
 * @param counts images that have no report, by status
 * @param repositories the repositories of the archive that the run is about
 */
export function summaryOf(
  facts: Facts,
  all: readonly (SummaryImage | Report)[],
  counts: Readonly<Record<string, number>>,
  repositories: number,
): RunSummary {
  const isReferrer = (report: SummaryImage | Report): boolean => 'referrer' in report;
  const reports = all.filter((report) => !isReferrer(report));
  const referrers = all.filter(isReferrer);
  const numbers = new Map(['mirrored', 'unchanged', 'failed'].map((status) => [status, 0]));
  const add = (status: string, count: number): void => void numbers.set(status, (numbers.get(status) ?? 0) + count);
  for (const [status, count] of Object.entries(counts)) add(status, count);
  for (const { status } of reports) add(status, 1);
  const rank = ({ status }: { readonly status: string }): number => {
    const at = ORDER.indexOf(status);
    return at < 0 ? ORDER.length : at;
  };
  const listed = reports
    .filter(({ status }) => status !== 'unchanged')
    .toSorted((a, b) => rank(a) - rank(b) || Number(b.previous !== undefined) - Number(a.previous !== undefined));
  const images = listed.slice(0, MAX_IMAGES).map(imageOf);
  const referrersWith = (wanted: string): number => referrers.filter(({ status }) => status === wanted).length;
  return defined({
    version: 1 as const,
    ...facts,
    counts: Object.fromEntries(numbers),
    referrers:
      referrers.length === 0 ? undefined : { mirrored: referrersWith('mirrored'), failed: referrersWith('failed') },
    moved: reports.filter(({ previous }) => previous !== undefined).length,
    repositories,
    images,
    omitted: listed.length === images.length ? undefined : listed.length - images.length,
  });
}

function imageOf(report: SummaryImage | Report): SummaryImage {
  const { reference, repository, status, digest, previous, current, until, code, reason } = report;
  const short = (text: string, limit: number): string => (text.length > limit ? `${text.slice(0, limit - 1)}…` : text);
  return defined({
    reference: short(reference, MAX_REFERENCE),
    repository: short(repository, MAX_REFERENCE),
    status,
    digest,
    previous,
    current,
    until,
    code,
    reason: reason === undefined ? undefined : short(reason, MAX_REASON),
  });
}

/** Whether a run is worth a notification: a push or a client's request that changes nothing is not. */
export function isNotable({ by, counts, outcome }: RunSummary): boolean {
  if (by !== 'push' && by !== 'fill') return true;
  return outcome === 'incomplete' || Object.entries(counts).some(([name, count]) => count > 0 && name !== 'unchanged');
}

/** The notification about a run. Its id is the run, and for a later summary also the time, so receivers can drop repetitions. */
export function notificationOf(summary: RunSummary): { readonly id: string; readonly body: string } {
  const { version: _, delivered: __, ...data } = summary;
  const id = summary.updated === true ? `${summary.run}-${Date.parse(summary.finished)}` : summary.run;
  return { id, body: JSON.stringify({ type: 'run.finished', timestamp: summary.finished, data }) };
}

/**
 * Writes a summary.
 *
 * @throws Failure `precondition-failed` if the condition does not hold
 */
export async function writeSummary(
  archive: Archive,
  summary: RunSummary,
  options: Cancel & { readonly condition?: Condition } = {},
): Promise<{ readonly etag: string }> {
  const key = archive.layout.runSummary(summary.run);
  const bytes = Buffer.from(`${JSON.stringify(summary)}\n`);
  return archive.store.put(key, bytes, { contentType: 'application/json', ...options });
}

/** The summary of a run; undefined while it is not finished, and for a run of an earlier release. */
export async function readSummary(
  archive: Archive,
  run: string,
  options: Cancel = {},
): Promise<{ readonly summary: RunSummary; readonly etag: string } | undefined> {
  const key = archive.layout.runSummary(run);
  const found = await archive.store.get(key, { maxBytes: MAX_SUMMARY_BYTES, ...options });
  return found === undefined
    ? undefined
    : { summary: parse(Place.ofBytes(`read ${key}`, found.bytes), run), etag: found.etag };
}

function parse(place: Place, run: string): RunSummary {
  return defined({
    version: 1 as const,
    run,
    by: place.at('by').text() as RunTrigger,
    outcome: place.at('outcome').text() === 'finished' ? ('finished' as const) : ('incomplete' as const),
    started: place.at('started').text(),
    finished: place.at('finished').text(),
    counts: readCounts(place.at('counts')),
    referrers: place.at('referrers').optional((referrers) => ({
      mirrored: referrers.at('mirrored').size(),
      failed: referrers.at('failed').size(),
    })),
    moved: place.at('moved').size(),
    repositories: place.at('repositories').size(),
    images: place.at('images').list(MAX_IMAGES).map(parseImage),
    omitted: place.at('omitted').optional((omitted) => omitted.size()),
    missing: place.at('missing').optional((missing) => ({
      messages: missing.at('messages').size(),
      images: missing.at('images').size(),
    })),
    ...(place.at('updated').optionalFlag() ? { updated: true as const } : {}),
    delivered: place.at('delivered').optional((names) => names.list(MAX_COUNTS).map((name) => name.text())),
  });
}

/** Numbers of images by status. */
export function readCounts(place: Place): RunSummary['counts'] {
  const statuses = Object.keys(place.object()).slice(0, MAX_COUNTS);
  return Object.fromEntries(statuses.map((status) => [status, place.entry(status).size()]));
}

function parseImage(place: Place): SummaryImage {
  return defined({
    reference: place.at('reference').text(),
    repository: place.at('repository').text(),
    status: place.at('status').text(),
    digest: place.at('digest').optionalText(),
    previous: place.at('previous').optionalText(),
    current: place.at('current').optionalText(),
    until: place.at('until').optionalText(),
    code: place.at('code').optionalText(),
    reason: place.at('reason').optionalText(),
  });
}
