import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { readEnvironment } from '../lib/config/environment.ts';
import { attestorFrom } from './attestor.ts';
import { once, openArchive } from './aws.ts';
import { eventsTo } from './event-bus.ts';
import { handleFinalizations } from './handlers/finalizations.ts';
import { postponeIn } from './postpone.ts';
import { recordIn } from './record.ts';
import { requeueIn } from './requeue.ts';
import { signalOf } from './signal.ts';
import { observed, onFailedRecord, onNotAttested } from './telemetry.ts';

const wired = once(() => {
  const env = readEnvironment(process.env, 'archive', 'finalizeQueue', 'eventBus', 'maxReceives', 'attestKey');
  const archive = openArchive(env.archive);
  return {
    archive,
    attestor: attestorFrom(env.attestKey),
    onNotAttested,
    record: recordIn(archive, eventsTo(env.eventBus)),
    maxReceives: env.maxReceives,
    postpone: postponeIn(env.finalizeQueue),
    requeue: requeueIn(env.finalizeQueue),
    onFailure: onFailedRecord,
  };
});

/** Writes the references of images that are complete in the archive. */
export const handler = (event: SQSEvent, context: Context): Promise<SQSBatchResponse> =>
  observed(context, () => handleFinalizations(event, wired(), signalOf(context)));
