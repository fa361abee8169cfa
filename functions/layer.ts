import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { readEnvironment } from '../lib/config/environment.ts';
import { deadlineFrom } from '../lib/sync/deadline.ts';
import { BufferPool } from '../lib/sync/transfer/buffer-pool.ts';
import { configFrom, once, openArchive, openQueues } from './aws.ts';
import { handleLayers } from './handlers/layers.ts';
import { queuePorts } from './redelivery.ts';
import { signalOf } from './signal.ts';
import { sourcesFrom } from './sources.ts';
import { observe, observed, onRetry } from './telemetry.ts';

/** The memory of all transfers: 12 parts of 8 MiB. */
const BUFFER_BYTES = 96 * 1024 * 1024;

const wired = once(() => {
  const env = readEnvironment(
    process.env,
    'archive',
    'config',
    'layerQueue',
    'finalizeQueue',
    'credentialsSecret',
    'lanes',
    'maxReceives',
  );
  const { layerQueue, finalizeQueue, lanes, maxReceives } = env;
  const config = configFrom(env.config);
  return {
    config,
    lanes,
    archive: openArchive(env.archive),
    queues: openQueues({ layer: layerQueue, finalize: finalizeQueue }),
    sources: sourcesFrom(config, env.credentialsSecret, { lanes, onRetry }),
    buffers: new BufferPool(BUFFER_BYTES),
    ...queuePorts(layerQueue, maxReceives),
    observe,
  };
});

/** Copies one blob per message from the registry to the archive. */
export const handler = (event: SQSEvent, context: Context): Promise<SQSBatchResponse> =>
  observed(context, () =>
    handleLayers(event, wired(), {
      signal: signalOf(context),
      deadline: deadlineFrom(() => context.getRemainingTimeInMillis()),
    }),
  );
