import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { readEnvironment } from '../lib/config/environment.ts';
import { once, openArchive, openQueues } from './aws.ts';
import { eventsTo } from './event-bus.ts';
import { handleDeadLetters } from './handlers/dead-letters.ts';
import { recordIn } from './record.ts';
import { signalOf } from './signal.ts';
import { observe, observed } from './telemetry.ts';

const wired = once(() => {
  const env = readEnvironment(process.env, 'archive', 'finalizeQueue', 'eventBus');
  const archive = openArchive(env.archive);
  const record = recordIn(archive, eventsTo(env.eventBus));
  return { archive, queues: openQueues({ finalize: env.finalizeQueue }), record, observe };
});

/**
 * Records dead letters as failures. Their deliveries crashed, timed out or could not be read; the functions record all
 * other failures themselves.
 */
export const handler = (event: SQSEvent, context: Context): Promise<SQSBatchResponse> =>
  observed(context, () => handleDeadLetters(event, wired(), signalOf(context)));
