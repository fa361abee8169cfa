import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { asFailure, Failure } from '../lib/base/failure.ts';
import { readEnvironment } from '../lib/config/environment.ts';
import { failLayer } from '../lib/mirror/layer.ts';
import { failedImages, namesIn, recorded } from '../lib/mirror/failures.ts';
import type { Message, ResolveMessage } from '../lib/queue/messages.ts';
import { finalizeMessage } from '../lib/queue/outgoing.ts';
import { parseMessage } from '../lib/queue/parse.ts';
import type { Queues } from '../lib/queue/queue.ts';
import { once, openArchive, openQueues } from './aws.ts';
import { recordIn } from './record.ts';
import { signalOf } from './signal.ts';
import { handling, log, observe, observed, onFailedRecord } from './telemetry.ts';

const wired = once(() => {
  const env = readEnvironment(process.env, 'archive', 'finalizeQueue', 'eventBus');
  const archive = openArchive(env.archive);
  return { queues: openQueues({ finalize: env.finalizeQueue }), record: recordIn(archive, env.eventBus) };
});

/**
 * Turns messages that could not be handled into recorded failures. What fails with a reason is recorded where it fails; what
 * comes here crashed, or ran out of time, on every delivery.
 */
export const handler = (event: SQSEvent, context: Context): Promise<SQSBatchResponse> =>
  observed(context, async () => {
    const signal = signalOf(context);
    const batchItemFailures: { itemIdentifier: string }[] = [];
    for (const record of event.Records) {
      // Behind a failure nothing of the batch is handled, so that the order of a group is kept.
      if (batchItemFailures.length === 0)
        try {
          await handling([record], () => bury(record, signal));
          continue;
        } catch (error) {
          onFailedRecord(record, asFailure(error, 'record dead letter', 'queue'));
        }
      batchItemFailures.push({ itemIdentifier: record.messageId });
    }
    return { batchItemFailures };
  });

async function bury(record: SQSRecord, signal: AbortSignal): Promise<void> {
  const { queues, record: tell } = wired();
  const message = parsed(record);
  if (message === undefined) return;
  const failure = new Failure({
    operation: `handle ${message.type} message of ${message.source}`,
    side: 'queue',
    code: 'internal',
    detail: `it crashed or ran out of time on every delivery; the log of the function has more (message ${record.messageId})`,
  });
  switch (message.type) {
    case 'layer':
      await failLayer({ queues, observe }, message, failure, signal);
      return;
    case 'resolve':
      await failImages(queues, message, failure, signal);
      return;
    case 'finalize':
      for (const event of failedImages(message, failure)) await tell(event);
  }
}

async function failImages(
  queues: Queues,
  message: ResolveMessage,
  failure: Failure,
  signal: AbortSignal,
): Promise<void> {
  const outgoing = namesIn(message).map((image) => finalizeMessage(message, image, 'resolver', recorded(failure)));
  await queues.send('finalize', outgoing, { signal });
}

/** A message that nobody can read names no image: all that can be done is to say so. */
function parsed(record: SQSRecord): Message | undefined {
  try {
    return parseMessage(record.body);
  } catch (error) {
    log('error', 'dead letter that cannot be read', {
      messageId: record.messageId,
      reason: String(error),
      body: record.body.slice(0, 4096),
    });
    return undefined;
  }
}
