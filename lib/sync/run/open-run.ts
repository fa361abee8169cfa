/** A run that is not closed: its records, its reports, and the summary that follows from them. */
import type { Archive } from '../../archive/archive.ts';
import { Failure } from '../../core/failure.ts';
import { settleAll, settleEach } from '../../core/settle-all.ts';
import { listReports, readReport, type Report } from '../reports.ts';
import { type OpenStart, readOpenStart } from '../runs.ts';
import { type MessageRecord, readMessageRecord } from './message-record.ts';
import { type RunSummary, type RunTrigger, summaryOf } from './summary.ts';
import { largest, smallest } from '../../core/extremes.ts';

/** Reads that run concurrently. */
export const READS = 16;

/** Objects by key and time, so that a process that checks open runs repeatedly reads each unchanged object once. */
export interface Memory {
  readonly records: Map<string, MessageRecord>;
  readonly reports: Map<string, Report>;
  /** The runs whose summary a receiver has not accepted. */
  readonly refused: Set<string>;
}

export function emptyMemory(): Memory {
  return { records: new Map(), reports: new Map(), refused: new Set() };
}

export interface ReadPorts {
  readonly archive: Archive;
  readonly now: () => number;
  /** The trigger of a run without a recorded start. */
  readonly triggerOf: (run: string) => RunTrigger;
  readonly log: (level: 'error', message: string, entry: Readonly<Record<string, unknown>>) => void;
  readonly signal: AbortSignal;
}

export interface OpenRun {
  readonly run: string;
  readonly hasStart: boolean;
  /** Keys and times of the records, by the id of their message. */
  readonly records: ReadonlyMap<string, { readonly key: string; readonly modified: number }>;
  readonly first: number;
  readonly last: number;
}

export async function listOpen({ archive, signal }: ReadPorts): Promise<readonly OpenRun[]> {
  const { layout, store } = archive;
  const all: { run: string; message: string | undefined; key: string; modified: number }[] = [];
  for await (const { key, modified } of store.list(layout.openRuns, { signal })) {
    const found = layout.openRunOf(key);
    if (found !== undefined) all.push({ ...found, key, modified: modified.getTime() });
  }
  return [...Map.groupBy(all, ({ run }) => run)].map(([run, of]) => ({
    run,
    hasStart: of.some(({ message }) => message === undefined),
    records: new Map(of.flatMap(({ message, ...rest }) => (message === undefined ? [] : [[message, rest]]))),
    first: smallest(of.map(({ modified }) => modified)),
    last: largest(of.map(({ modified }) => modified)),
  }));
}

/**
 * Reads an object of a run. One that is damaged, or of a later release, must not keep the run open for ever, so it is only logged.
 */
export async function readable<T>(
  run: string,
  { log }: Pick<ReadPorts, 'log'>,
  read: () => Promise<T>,
): Promise<T | 'damaged'> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof Failure) || !isDamage(error)) throw error;
    log('error', 'object of a run not readable', { run, code: error.code, reason: error.message });
    return 'damaged';
  }
}

/** Whether the store has returned the object, and its text cannot be used. */
function isDamage({ side, code }: Failure): boolean {
  return side === 'input' || code === 'corrupt' || code === 'too-large';
}

/** The objects of an open run. A damaged one counts as missing. */
export interface Known {
  readonly open: OpenRun;
  readonly start: OpenStart | undefined;
  readonly records: ReadonlyMap<string, MessageRecord>;
  readonly isOverdue: boolean;
}

/** A run that has not finished after this time is closed as incomplete. */
const MAX_RUN_MS = 24 * 60 * 60_000;

/** A run without a recorded start (a push) is finished when it has had no new record for this time. */
const QUIET_MS = 5 * 60_000;

/** Undefined while a run may still get a record that nothing announces. */
export async function readOpenRun(open: OpenRun, ports: ReadPorts, memory: Memory): Promise<Known | undefined> {
  const { archive, now, signal } = ports;
  const { run, hasStart, first, last } = open;
  const read = hasStart ? await readable(run, ports, () => readOpenStart(archive, run, { signal })) : undefined;
  // Another check has closed the run since the listing.
  if (hasStart && read === undefined) return undefined;
  const start = read === 'damaged' ? undefined : read;
  if (!hasStart && now() - last < QUIET_MS) return undefined;
  const isOverdue = now() - (start === undefined ? first : Date.parse(start.at)) > MAX_RUN_MS;
  return { open, start, records: await recordsOf(open, ports, memory), isOverdue };
}

async function recordsOf(
  { run, records }: OpenRun,
  ports: ReadPorts,
  memory: Memory,
): Promise<ReadonlyMap<string, MessageRecord>> {
  const { archive, signal } = ports;
  const found = await settleEach(records, READS, async ([id, { key, modified }]) => {
    const version = `${key} ${modified}`;
    const known = memory.records.get(version);
    const record = known ?? (await readable(run, ports, () => readMessageRecord(archive, key, { signal })));
    if (record === undefined || record === 'damaged') return [];
    memory.records.set(version, record);
    return [[id, record] as const];
  });
  return new Map(found.flat());
}

/** The summary of a run; undefined while its work is not done. */
export async function summarise(known: Known, ports: ReadPorts, memory: Memory): Promise<RunSummary | undefined> {
  const { open, start, records, isOverdue } = known;
  const { run } = open;
  const messages = missingMessages(known);
  if (messages > 0 && !isOverdue) return undefined;
  const { reports, unfinished } = await reportsOf(run, records, { ports, memory, isOverdue });
  if (unfinished > 0 && !isOverdue) return undefined;
  const isIncomplete = messages > 0 || unfinished > 0;
  const repositories = new Set([...records.values()].map(({ repository }) => repository));
  return summaryOf(
    {
      run,
      by: start?.by ?? ports.triggerOf(run),
      outcome: isIncomplete ? 'incomplete' : 'finished',
      started: start?.at ?? new Date(open.first).toISOString(),
      finished: new Date(ports.now()).toISOString(),
      ...(isIncomplete ? { missing: { messages, images: unfinished } } : {}),
    },
    reports,
    countsOf(records),
    Math.max(repositories.size, start?.repositories ?? 0),
  );
}

/**
 * The state of a run after its summary, in which a message was delivered again: `open` while an image that the message has ordered
 * has no new result, or whether a result has changed.
 */
export async function repetitionOf(
  { open: { run }, records, isOverdue }: Known,
  since: number,
  { archive, signal }: ReadPorts,
): Promise<'open' | 'changed' | 'unchanged'> {
  const listed = await listReports(archive, run, { signal });
  const changed = new Set(listed.filter(({ modified }) => modified.getTime() > since).map(({ id }) => id));
  const ordered = [...records.values()].flatMap((record) => record.ordered);
  if (!isOverdue && ordered.some((id) => !changed.has(id))) return 'open';
  return changed.size > 0 ? 'changed' : 'unchanged';
}

/** The number of messages that were sent and have no record yet. A damaged start may name one message at least. Pure. */
function missingMessages({ open, start, records }: Known): number {
  const sent = [...records.values()].flatMap((record) => record.sent);
  const all = new Set([...(start?.ids ?? []), ...open.records.keys(), ...sent]);
  const isDamaged = open.hasStart && start === undefined;
  return [...all].filter((id) => !records.has(id)).length + Number(isDamaged);
}

/** Images without a report, by status. Pure. */
function countsOf(records: ReadonlyMap<string, MessageRecord>): Readonly<Record<string, number>> {
  const sums = new Map<string, number>();
  for (const { counts } of records.values())
    for (const [status, count] of Object.entries(counts)) sums.set(status, (sums.get(status) ?? 0) + count);
  return Object.fromEntries(sums);
}

/**
 * The reports of a run, and the number of images without a result. Stops at the first image that is not finished, unless the run
 * is overdue: a run with thousands of images is checked many times.
 */
async function reportsOf(
  run: string,
  records: ReadonlyMap<string, MessageRecord>,
  options: { readonly ports: ReadPorts; readonly memory: Memory; readonly isOverdue: boolean },
): Promise<{ readonly reports: readonly Report[]; readonly unfinished: number }> {
  const { ports, memory, isOverdue } = options;
  const { archive, signal } = ports;
  const listed = await listReports(archive, run, { signal });
  const ids = new Set(listed.map(({ id }) => id));
  const ordered = new Set([...records.values()].flatMap((record) => record.ordered));
  let unfinished = [...ordered].filter((id) => !ids.has(id)).length;
  const reports: Report[] = [];
  for (let at = 0; at < listed.length && (unfinished === 0 || isOverdue); at += READS) {
    const some = await settleAll(
      listed.slice(at, at + READS).map(async ({ key, modified }) => {
        const version = `${key} ${modified.getTime()}`;
        const known = memory.reports.get(version);
        const report = known ?? (await readable(run, ports, () => readReport(archive, key, { signal })));
        if (report === undefined || report === 'damaged') return undefined;
        if (report.status !== 'pending') memory.reports.set(version, report);
        return report;
      }),
    );
    const found = some.filter((report) => report !== undefined);
    for (const report of found) reports.push(report);
    unfinished += some.length - found.filter(({ status }) => status !== 'pending').length;
  }
  return { reports, unfinished };
}
