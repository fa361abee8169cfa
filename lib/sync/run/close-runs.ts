/**
 * Closes the runs whose work is done: writes the summary, and delivers it. A run is finished when each of its messages to the
 * resolver has a record, and each ordered image has a result. All state is in the archive, so any process may repeat it.
 */
import type { Archive } from '../../archive/archive.ts';
import { asFailure, type Failure } from '../../core/failure.ts';
import { settleAll, settleEach } from '../../core/settle-all.ts';
import { listReports, readReport, type Report } from '../reports.ts';
import { type OpenStart, readOpenStart } from '../runs.ts';
import { type MessageRecord, readMessageRecord } from './message-record.ts';
import { readSummary, type RunSummary, type RunTrigger, summaryOf, writeSummary } from './summary.ts';

const MINUTE = 60_000;
/** A run that has not finished after this time is closed as incomplete. */
const MAX_RUN_MS = 24 * 60 * MINUTE;
/** A run without a recorded start (a push) is finished when it has had no new record for this time. */
const QUIET_MS = 5 * MINUTE;
/** Reads that run concurrently. */
const READS = 16;

/** A receiver of summaries. */
export interface Receiver {
  /** `event`, `webhook` */
  readonly name: string;
  readonly deliver: (summary: RunSummary, signal: AbortSignal) => Promise<void>;
}

export interface CloseRunsPorts {
  readonly archive: Archive;
  readonly receivers: readonly Receiver[];
  readonly now: () => number;
  /** The trigger of a run without a recorded start. */
  readonly triggerOf: (run: string) => RunTrigger;
  /** Called for each repository whose first run by the schedule has finished. */
  readonly firstRunFinished?: (repository: string, run: string) => Promise<void>;
  /** Called for each closed run. */
  readonly closed: (summary: RunSummary) => void;
  readonly log: (level: 'error', message: string, entry: Readonly<Record<string, unknown>>) => void;
  readonly signal: AbortSignal;
}

/** Objects by key and time, so that a process that checks open runs repeatedly reads each unchanged object once. */
export interface Memory {
  readonly records: Map<string, MessageRecord>;
  readonly reports: Map<string, Report>;
}

export function emptyMemory(): Memory {
  return { records: new Map(), reports: new Map() };
}

interface OpenRun {
  readonly run: string;
  readonly hasStart: boolean;
  /** Keys and times of the records, by the id of their message. */
  readonly records: ReadonlyMap<string, { readonly key: string; readonly modified: number }>;
  readonly first: number;
  readonly last: number;
}

/**
 * Checks all open runs. Costs one listing while no run is open.
 *
 * @throws the first failure, after all runs were checked; the next check continues
 */
export async function closeRuns(ports: CloseRunsPorts, memory: Memory): Promise<readonly RunSummary[]> {
  const closed: RunSummary[] = [];
  const failures: unknown[] = [];
  const open = await listOpen(ports);
  if (open.length === 0) {
    memory.records.clear();
    memory.reports.clear();
  }
  for (const run of open)
    try {
      const summary = await closeRun(run, ports, memory);
      if (summary !== undefined) closed.push(summary);
    } catch (error) {
      const { message: reason } = asFailure(error, `close run ${run.run}`, 'archive');
      ports.log('error', 'run not closed', { run: run.run, reason });
      failures.push(error);
    }
  if (failures.length > 0) throw failures[0];
  return closed;
}

async function listOpen({ archive, signal }: CloseRunsPorts): Promise<readonly OpenRun[]> {
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
    first: Math.min(...of.map(({ modified }) => modified)),
    last: Math.max(...of.map(({ modified }) => modified)),
  }));
}

async function closeRun(open: OpenRun, ports: CloseRunsPorts, memory: Memory): Promise<RunSummary | undefined> {
  const { archive, now, signal } = ports;
  const { run } = open;
  const start = open.hasStart ? await readOpenStart(archive, run, { signal }) : undefined;
  const begun = start === undefined ? open.first : Date.parse(start.at);
  const isOverdue = now() - begun > MAX_RUN_MS;
  // The first messages of a run without a start are unknown.
  if (start === undefined && now() - open.last < QUIET_MS) return undefined;
  const records = await recordsOf(open, ports, memory);
  // An interrupted check has written the summary, or a message was delivered again after the end of the run.
  let written = await readSummary(archive, run, { signal });
  if (written === undefined) {
    const made = await summarise({ open, start, records, isOverdue }, ports, memory);
    if (made === undefined) return undefined;
    // Two processes that close one run write one summary: the second one fails here, and reads it at its next check.
    const { etag } = await writeSummary(archive, made, { condition: { absent: true }, signal });
    written = { summary: made, etag };
  }
  const { summary, etag } = written;
  await deliver(summary, etag, ports, isOverdue);
  // A push or a request covers only some of the tags.
  if (summary.outcome === 'finished' && start?.by === 'schedule')
    for (const repository of initialIn(records)) await ports.firstRunFinished?.(repository, run);
  await forget(open, ports);
  ports.closed(summary);
  return summary;
}

function initialIn(records: ReadonlyMap<string, MessageRecord>): ReadonlySet<string> {
  return new Set([...records.values()].flatMap(({ repository, initial }) => (initial === true ? [repository] : [])));
}

interface Known {
  readonly open: OpenRun;
  readonly start: OpenStart | undefined;
  readonly records: ReadonlyMap<string, MessageRecord>;
  readonly isOverdue: boolean;
}

/** The summary of a run; undefined while its work is not done. */
async function summarise(known: Known, ports: CloseRunsPorts, memory: Memory): Promise<RunSummary | undefined> {
  const { open, start, records, isOverdue } = known;
  const { run } = open;
  const messages = missingMessages(start, records);
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

async function recordsOf(
  { records }: OpenRun,
  { archive, signal }: CloseRunsPorts,
  memory: Memory,
): Promise<ReadonlyMap<string, MessageRecord>> {
  const found = await settleEach(records, READS, async ([id, { key, modified }]) => {
    const version = `${key} ${modified}`;
    const record = memory.records.get(version) ?? (await readMessageRecord(archive, key, { signal }));
    if (record !== undefined) memory.records.set(version, record);
    return [id, record] as const;
  });
  return new Map(found.flatMap(([id, record]) => (record === undefined ? [] : [[id, record]])));
}

/** The number of messages that were sent and have no record yet. Pure. */
function missingMessages(start: OpenStart | undefined, records: ReadonlyMap<string, MessageRecord>): number {
  const sent = new Set([...(start?.ids ?? []), ...[...records.values()].flatMap((record) => record.sent)]);
  return [...sent].filter((id) => !records.has(id)).length;
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
  options: { readonly ports: CloseRunsPorts; readonly memory: Memory; readonly isOverdue: boolean },
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
        const report = memory.reports.get(version) ?? (await readReport(archive, key, { signal }));
        if (report !== undefined && report.status !== 'pending') memory.reports.set(version, report);
        return report;
      }),
    );
    for (const report of some) {
      if (report === undefined) continue;
      reports.push(report);
      if (report.status === 'pending') unfinished += 1;
    }
  }
  return { reports, unfinished };
}

/**
 * Delivers a summary to the receivers that do not have it yet, and records which have it.
 *
 * @throws the first failure; an overdue run is closed all the same
 */
async function deliver(summary: RunSummary, etag: string, ports: CloseRunsPorts, isOverdue: boolean): Promise<void> {
  const { archive, receivers, log, signal } = ports;
  const before = summary.delivered ?? [];
  const delivered = [...before];
  const failures: Failure[] = [];
  for (const { name, deliver: send } of receivers) {
    if (before.includes(name)) continue;
    try {
      await send(summary, signal);
      delivered.push(name);
    } catch (error) {
      failures.push(asFailure(error, `deliver the summary of ${summary.run} to ${name}`, 'archive'));
    }
  }
  if (delivered.length > before.length)
    await writeSummary(archive, { ...summary, delivered }, { condition: { etag }, signal });
  const [first] = failures;
  if (first === undefined) return;
  if (!isOverdue) throw first;
  for (const { message: reason } of failures) log('error', 'summary not delivered', { run: summary.run, reason });
}

/** Deletes the records and, last, the start: until then, another check continues. */
async function forget({ run, records, hasStart }: OpenRun, { archive, signal }: CloseRunsPorts): Promise<void> {
  const { store, layout } = archive;
  await settleEach(records.values(), READS, ({ key }) => store.delete(key, { signal }));
  if (hasStart) await store.delete(layout.openRun(run), { signal });
}
