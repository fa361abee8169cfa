/** Invocations that log every kind of event. The test reads their output. */
import type { Context } from 'aws-lambda';
import { handleBatch } from '../../../functions/batch.ts';
import { MissingConfiguration } from '../../../functions/kept.ts';
import {
  leftOut,
  observe,
  observed,
  onFailedRecord,
  onRefused,
  onRetry,
  runStarted,
} from '../../../functions/telemetry.ts';
import { Failure, invalid } from '../../../lib/core/failure.ts';
import type { BlobEvent } from '../../../lib/sync/events.ts';
import { layerMessage } from '../../../lib/queue/outgoing.ts';
import { recordOf } from '../../kit/records.ts';
import { digestFor, IMAGE, LAYER, ORDER } from '../queue/samples.ts';

const context = { awsRequestId: 'request-1', functionName: 'sample' } as Context;
const blob = { digest: digestFor('blob'), mediaType: LAYER, size: 100 };
const { message } = layerMessage(ORDER, IMAGE, blob, { lanes: 4, look: 'receipt' });
const event: Omit<BlobEvent, 'phase' | 'fetched'> = {
  type: 'blob',
  run: ORDER.run,
  source: ORDER.source,
  tag: IMAGE.tag,
  digest: IMAGE.digest,
  blob: blob.digest,
  size: blob.size,
};
const later = new Failure({ operation: 'get', side: 'source', code: 'rate-limited', detail: 'later', status: 429 });

/** A copy of a message that was first sent seven hours ago. */
const copy = {
  ...recordOf(message, { group: 'docker.io#2' }),
  messageAttributes: { firstSent: { dataType: 'Number', stringValue: String(Date.now() - 7 * 3_600_000) } },
};

// Two concurrent lanes: one layer is restarted after 60 bytes, and the other one fails.
await observed(context, () =>
  handleBatch(
    { Records: [recordOf(message, { group: 'docker.io#1' }), copy] },
    {
      type: 'layer',
      maxReceives: 5,
      async handle({ group }) {
        await new Promise(setImmediate);
        observe({ ...event, phase: 'started', fetched: 0 });
        observe({ ...event, phase: 'progress', fetched: 60 });
        onRetry({ failure: later, attempt: 1, afterMs: 1_000 });
        if (group === 'docker.io#2') throw later;
        observe({ ...event, phase: 'progress', fetched: 50 });
        observe({ ...event, phase: 'progress', fetched: 100 });
        await new Promise(setImmediate);
        observe({ ...event, phase: 'stored', fetched: 100 });
        observe({ ...event, phase: 'failed', fetched: 0, reason: 'no' });
      },
      postpone: () => Promise.resolve(),
      requeue: () => Promise.resolve(),
      onFailure: onFailedRecord,
    },
  ),
);

// The next invocation starts with no data of the last one.
const image = { run: ORDER.run, source: ORDER.source, repository: ORDER.repository, reference: `${ORDER.source}:3` };
await observed({ ...context, awsRequestId: 'request-2' }, () => {
  observe({ type: 'resolved', ...image, missing: 1, missingBytes: 100, blobs: [], fetchedBytes: 7 });
  observe({ type: 'image', status: 'unchanged', ...image });
  observe({ type: 'image', status: 'unchanged', ...image, run: 'run-2' });
  observe({ type: 'image', status: 'mirrored', ...image });
  observe({ type: 'image', status: 'failed', ...image, code: 'denied', reason: 'no \u009b\u202e\u007f' });
  return Promise.resolve();
});

// A start by schedule, with an invalid configuration and an unreachable secret.
await observed({ ...context, awsRequestId: 'request-3' }, () => {
  onRefused(invalid('read configuration', 'mirror.yaml:3:5: mirrors[0].tgas is not known'), true);
  onRefused(new Failure({ operation: 'read secret', side: 'archive', code: 'unavailable', detail: 'later' }), false);
  // A scheduled run without a configuration is not an error.
  onRefused(new MissingConfiguration({ operation: 'read', side: 'input', code: 'invalid', detail: 'none' }), false);
  leftOut({ type: 'image', status: 'pending', ...image, run: 'run-3' });
  runStarted('run-3', 'request-3', { messages: 2 });
  return Promise.resolve();
});

// There is nothing to count, so no warning is logged.
await observed({ ...context, awsRequestId: 'request-4' }, () => Promise.resolve());
