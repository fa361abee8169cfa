/** The delivery of summaries to their receivers. */
import { asFailure, type Failure } from '../../core/failure.ts';
import type { ReadPorts } from './open-run.ts';
import { type RunSummary, writeSummary } from './summary.ts';

/** A receiver of summaries. */
export interface Receiver {
  /** `event`, `webhook` */
  readonly name: string;
  readonly deliver: (summary: RunSummary, signal: AbortSignal) => Promise<void>;
}

/** A run with a written summary. */
export interface EndedRun {
  readonly run: string;
  summary: RunSummary;
  etag: string;
}

export interface DeliverPorts<R extends EndedRun> extends Pick<ReadPorts, 'archive' | 'now' | 'signal'> {
  readonly receivers: readonly Receiver[];
  /** Called as soon as all receivers have the summary of a run. */
  readonly delivered: (run: R) => Promise<void>;
}

/** The time in which a receiver is asked in one check. The summaries that are left wait for the next check. */
const BUDGET_MS = 2 * 60_000;

/**
 * Delivers summaries to the receivers that do not have them yet, and records each delivery in the summary. All summaries are delivered
 * to one receiver before the next one. A receiver that fails with a temporary failure is asked no more, so that it delays neither the other receivers nor the check.
 *
 * @param refused runs whose summary was not accepted; they are the last ones, since their summary may be the reason
 * @returns the failure of each run that a receiver does not have. A run that another check delivers has none.
 */
export async function deliverAll<R extends EndedRun>(
  ended: readonly R[],
  ports: DeliverPorts<R>,
  refused: Set<string>,
): Promise<ReadonlyMap<R, Failure>> {
  const { receivers, now } = ports;
  const failures = new Map<R, Failure>();
  const elsewhere = new Set<R>();
  const isDone = ({ summary }: R): boolean => isDelivered(summary, receivers);
  for (const run of ended.filter(isDone)) await ports.delivered(run);
  const runs = ended.toSorted((a, b) => Number(refused.has(a.run)) - Number(refused.has(b.run)));
  for (const receiver of receivers) {
    const end = now() + BUDGET_MS;
    let down: Failure | undefined;
    for (const run of runs.filter((each) => !elsewhere.has(each) && !has(each.summary, receiver.name))) {
      if (down === undefined && now() >= end) break;
      const refusal = down ?? (await refusalOf(receiver, run, ports));
      const failure = refusal ?? (await unrecorded(receiver, run, ports));
      if (refusal === undefined && failure?.code === 'precondition-failed') elsewhere.add(run);
      else if (failure !== undefined) failures.set(run, failure);
      else if (isDone(run)) await ports.delivered(run);
      if (refusal === undefined || down !== undefined) continue;
      refused.add(run.run);
      // A refusal that a retry does not change may be about this summary only.
      if (refusal.remedy !== 'never') down = refusal;
    }
  }
  return failures;
}

/** Whether all receivers have a summary. */
export function isDelivered(summary: RunSummary, receivers: readonly Receiver[]): boolean {
  return receivers.every(({ name }) => has(summary, name));
}

function has({ delivered = [] }: RunSummary, receiver: string): boolean {
  return delivered.includes(receiver);
}

/** Delivers one summary. Returns the receiver's failure. */
async function refusalOf(
  { name, deliver }: Receiver,
  { run, summary }: EndedRun,
  { signal }: Pick<ReadPorts, 'signal'>,
): Promise<Failure | undefined> {
  try {
    await deliver(summary, signal);
    return undefined;
  } catch (error) {
    return asFailure(error, `deliver the summary of ${run} to ${name}`, 'archive');
  }
}

/**
 * Records a delivery in the summary. Returns the failure; the next check then delivers the summary again. The condition does not
 * hold if another check delivers the summary.
 */
async function unrecorded(
  { name }: Receiver,
  ended: EndedRun,
  { archive, signal }: Pick<ReadPorts, 'archive' | 'signal'>,
): Promise<Failure | undefined> {
  const { run, etag } = ended;
  const summary = { ...ended.summary, delivered: [...(ended.summary.delivered ?? []), name] };
  try {
    const written = await writeSummary(archive, summary, { condition: { etag }, signal });
    Object.assign(ended, { summary, etag: written.etag });
    return undefined;
  } catch (error) {
    return asFailure(error, `record the delivery of ${run} to ${name}`, 'archive');
  }
}
