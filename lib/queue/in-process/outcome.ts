import { largest } from '../../core/extremes.ts';
import { asFailure, type Failure } from '../../core/failure.ts';
import type { Batch, Entry, Group } from './fifo.ts';
import type { BatchResult, Consumer, Delivery, QueueName } from '../queue.ts';

/** SQS's longest visibility timeout: twelve hours. A message with a longer wait comes back earlier, and waits again. */
const MAX_VISIBILITY_MS = 12 * 60 * 60 * 1000;

/** The result of a batch: the failed entries, the known reasons, and the wait of its group. */
export interface Outcome {
  readonly failed: ReadonlySet<string>;
  readonly failure?: Failure;
  readonly waitMs: number;
  readonly restMs?: number;
}

/** Calls the handler with a batch. Never rejects. */
export async function deliver(
  queue: QueueName,
  { handler }: Consumer,
  { group, entries }: Batch,
  { retryMs, signal }: { readonly retryMs: number; readonly signal: AbortSignal },
): Promise<Outcome> {
  try {
    const result = await handler(
      entries.map((entry) => deliveryOf(group, entry)),
      signal,
    );
    return outcomeOf(result, entries, retryMs);
  } catch (thrown) {
    const failure = asFailure(thrown, `handle ${queue} messages`, 'queue');
    const waitMs = clamped(failure.retryAfterMs ?? retryMs);
    return { failed: new Set(entries.map(({ id }) => id)), failure, waitMs };
  }
}

function outcomeOf(
  { failed, retryAfterMs, restMs = 0 }: BatchResult,
  entries: readonly Entry[],
  retryMs: number,
): Outcome {
  for (const id of failed) {
    // As in Lambda: a result that names an unknown message cannot be trusted about the others either.
    if (!entries.some((entry) => entry.id === id)) throw new Error(`${id} was not in the batch`);
  }
  const waits = failed.map((id) => clamped(retryAfterMs?.get(id) ?? retryMs));
  return {
    failed: new Set(failed),
    waitMs: Math.max(0, largest(waits)),
    restMs: failed.length === 0 ? clamped(restMs) : 0,
  };
}

export function deliveryOf(group: Group, { id, message, receives }: Entry): Delivery {
  return { id, group: group.name, message, receiveCount: receives };
}

function clamped(ms: number): number {
  return Math.min(Math.max(0, ms), MAX_VISIBILITY_MS);
}
