/**
 * Closes the runs whose work is done: writes the summary, and delivers it. A run is finished when each of its messages to the
 * resolver has a record, and each ordered image has a result. All state is in the archive, so any process may repeat it.
 */
import { asFailure, Failure } from '../../core/failure.ts';
import { settleEach } from '../../core/settle-all.ts';
import type { Condition } from '../../store/store.ts';
import { deliverAll, type EndedRun, isDelivered, type Receiver } from './deliver.ts';
import {
  type Known,
  listOpen,
  type Memory,
  type OpenRun,
  readable,
  readOpenRun,
  type ReadPorts,
  READS,
  repetitionOf,
  summarise,
} from './open-run.ts';
import { readSummary, type RunSummary, writeSummary } from './summary.ts';

export interface CloseRunsPorts extends ReadPorts {
  readonly receivers: readonly Receiver[];
  /** Called for each repository whose first run by the schedule has finished. */
  readonly firstRunFinished?: (repository: string, run: string) => Promise<void>;
  /** Called for each closed run, and again if its results have changed. */
  readonly closed: (summary: RunSummary) => void;
}

/** A run with a summary that is not closed yet. */
interface Ended extends EndedRun, Known {
  /** A message was delivered again after the end of the run, and has changed no result. */
  readonly isRepeated?: boolean;
}

/**
 * Checks all open runs. Costs one listing while no run is open.
 *
 * @throws the first failure, after all runs were checked; the next check continues
 */
export async function closeRuns(ports: CloseRunsPorts, memory: Memory): Promise<readonly RunSummary[]> {
  const closed: RunSummary[] = [];
  const failures: unknown[] = [];
  const fail = (run: string, error: unknown): void => {
    const { message: reason } = asFailure(error, `close run ${run}`, 'archive');
    ports.log('error', 'run not closed', { run, reason });
    failures.push(error);
  };
  const close = async (run: Ended): Promise<void> => {
    await finish(run, ports).then(
      () => {
        if (run.isRepeated !== true) closed.push(run.summary);
      },
      (error: unknown) => fail(run.run, error),
    );
    memory.refused.delete(run.run);
  };
  const open = await listOpen(ports);
  if (open.length === 0) forgetAll(memory);
  const ended: Ended[] = [];
  for (const run of open)
    try {
      const end = await endOf(run, ports, memory);
      if (end !== undefined) ended.push(end);
    } catch (error) {
      fail(run.run, error);
    }
  for (const [run, failure] of await deliverAll(ended, { ...ports, delivered: close }, memory.refused))
    if (run.isOverdue) {
      ports.log('error', 'summary not delivered', { run: run.run, reason: failure.message });
      await close(run);
    } else fail(run.run, failure);
  if (failures.length > 0) throw failures[0];
  return closed;
}

function forgetAll({ records, reports, refused }: Memory): void {
  for (const each of [records, reports, refused]) each.clear();
}

/** The run with its summary; undefined while its work is not done, and if another check closes it. */
async function endOf(open: OpenRun, ports: CloseRunsPorts, memory: Memory): Promise<Ended | undefined> {
  const { archive, signal } = ports;
  const { run } = open;
  const known = await readOpenRun(open, ports, memory);
  if (known === undefined) return undefined;
  const written = await readable(run, ports, () => readSummary(archive, run, { signal }));
  if (written !== undefined && written !== 'damaged') return afterEnd(known, written, ports, memory);
  const summary = await summarise(known, ports, memory);
  if (summary === undefined) return undefined;
  const there =
    written === undefined ? undefined : await archive.store.head(archive.layout.runSummary(run), { signal });
  return withSummary(known, summary, there === undefined ? { absent: true } : { etag: there.etag }, ports);
}

/**
 * The run with its written summary, which an interrupted check has left. If a message was delivered again after the end and has
 * changed a result, the run gets another summary.
 */
async function afterEnd(
  known: Known,
  written: Pick<EndedRun, 'summary' | 'etag'>,
  ports: CloseRunsPorts,
  memory: Memory,
): Promise<Ended | undefined> {
  const { run, last } = known.open;
  const since = Date.parse(written.summary.finished);
  if (last <= since || !isDelivered(written.summary, ports.receivers)) return { run, ...known, ...written };
  const repetition = await repetitionOf(known, since, ports);
  if (repetition === 'unchanged') return { run, ...known, ...written, isRepeated: true };
  const summary = repetition === 'open' ? undefined : await summarise(known, ports, memory);
  if (summary === undefined) return undefined;
  return withSummary(known, { ...summary, updated: true }, { etag: written.etag }, ports);
}

/** Writes the summary of a run; undefined if another check has written one. */
async function withSummary(
  known: Known,
  summary: RunSummary,
  condition: Condition,
  { archive, signal }: CloseRunsPorts,
): Promise<Ended | undefined> {
  const { run } = summary;
  try {
    return { run, ...known, summary, etag: (await writeSummary(archive, summary, { condition, signal })).etag };
  } catch (error) {
    if (error instanceof Failure && error.code === 'precondition-failed') return undefined;
    throw error;
  }
}

/** Closes a run with a delivered summary. */
async function finish(ended: Ended, ports: CloseRunsPorts): Promise<void> {
  const { run, open, start, records, summary, isRepeated = false } = ended;
  // A push or a request covers only some of the tags.
  if (summary.outcome === 'finished' && start?.by === 'schedule') {
    const initial = [...records.values()].filter((record) => record.initial === true);
    for (const repository of new Set(initial.map((record) => record.repository)))
      await ports.firstRunFinished?.(repository, run);
  }
  await forget(open, ports);
  if (!isRepeated) ports.closed(summary);
}

/** Deletes the records and, last, the start: until then, another check continues. */
async function forget({ run, records, hasStart }: OpenRun, { archive, signal }: CloseRunsPorts): Promise<void> {
  const { store, layout } = archive;
  await settleEach(records.values(), READS, ({ key }) => store.delete(key, { signal }));
  if (hasStart) await store.delete(layout.openRun(run), { signal });
}
