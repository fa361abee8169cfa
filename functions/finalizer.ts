import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { readEnvironment } from '../lib/config/environment.ts';
import { cachedReader } from '../lib/sync/cached-reader.ts';
import { receiptReader } from '../lib/sync/closure.ts';
import { failedImages } from '../lib/sync/failures.ts';
import { finalize } from '../lib/sync/finalizer/finalize.ts';
import type { FinalizeMessage } from '../lib/queue/messages.ts';
import { once, openArchive } from './aws.ts';
import { type BatchOptions, handleBatch } from './batch.ts';
import { postponeIn } from './postpone.ts';
import { recordIn } from './record.ts';
import { requeueIn } from './requeue.ts';
import { signalOf } from './signal.ts';
import { observed, onFailedRecord } from './telemetry.ts';

const wired = once(() => {
  const env = readEnvironment(process.env, 'archive', 'finalizeQueue', 'eventBus', 'maxReceives');
  const archive = openArchive(env.archive);
  return {
    archive,
    record: recordIn(archive, env.eventBus),
    maxReceives: env.maxReceives,
    postpone: postponeIn(env.finalizeQueue),
    requeue: requeueIn(env.finalizeQueue),
    onFailure: onFailedRecord,
  };
});

/** The maximum of a FIFO queue. The messages of one repository are committed in one write. */
const BATCH = 10;

export const handler = (event: SQSEvent, context: Context): Promise<SQSBatchResponse> =>
  observed(context, () => handleFinalizations(event, wired(), signalOf(context)));

/** Everything that the handler uses; the simulation has its own. */
export type FinalizerPorts = Pick<ReturnType<typeof wired>, 'archive' | 'record' | 'maxReceives'> &
  Pick<BatchOptions<FinalizeMessage>, 'postpone' | 'requeue' | 'onFailure'>;

export function handleFinalizations(
  event: SQSEvent,
  { archive, record, maxReceives, postpone, requeue, onFailure }: FinalizerPorts,
  signal: AbortSignal,
): Promise<SQSBatchResponse> {
  const reader = cachedReader(receiptReader(archive, signal));
  return handleBatch<FinalizeMessage>(event, {
    type: 'finalize',
    together: BATCH,
    maxReceives,
    handle: (deliveries) =>
      finalize(
        { archive, record },
        deliveries.map(({ message }) => message),
        { signal, reader },
      ),
    giveUp: async ({ message }, failure) => {
      for (const image of failedImages(message, failure)) await record(image);
    },
    postpone,
    requeue,
    onFailure,
  });
}
