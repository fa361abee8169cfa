import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { readEnvironment } from '../lib/config/environment.ts';
import { attestorFrom } from './attestor.ts';
import { once, openArchive } from './aws.ts';
import { eventsTo } from './event-bus.ts';
import { handleFinalizations } from './handlers/finalizations.ts';
import { recordIn } from './record.ts';
import { queuePorts } from './redelivery.ts';
import { signalOf } from './signal.ts';
import { observed, onNotAttested } from './telemetry.ts';

const wired = once(() => {
  const env = readEnvironment(process.env, 'archive', 'finalizeQueue', 'eventBus', 'maxReceives', 'attestKey');
  const archive = openArchive(env.archive);
  return {
    archive,
    attestor: attestorFrom(env.attestKey),
    onNotAttested,
    record: recordIn(archive, eventsTo(env.eventBus)),
    ...queuePorts(env.finalizeQueue, env.maxReceives),
  };
});

/** Writes the references of images that are complete in the archive. */
export const handler = (event: SQSEvent, context: Context): Promise<SQSBatchResponse> =>
  observed(context, () => handleFinalizations(event, wired(), signalOf(context)));
