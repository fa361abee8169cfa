import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { registrySettings } from '../lib/config/mirrors.ts';
import { readEnvironment } from '../lib/config/environment.ts';
import { deadlineFrom } from '../lib/sync/deadline.ts';
import { failLayer } from '../lib/sync/layer/fail-layer.ts';
import { copyLayer } from '../lib/sync/layer/layer.ts';
import { BufferPool } from '../lib/sync/transfer/buffer-pool.ts';
import type { LayerMessage } from '../lib/queue/messages.ts';
import { configFrom, once, openArchive, openQueues } from './aws.ts';
import { handleBatch } from './batch.ts';
import { postponeIn } from './postpone.ts';
import { requeueIn } from './requeue.ts';
import { signalOf } from './signal.ts';
import { sourcesFrom } from './sources.ts';
import { observe, observed, onFailedRecord, onRetry } from './telemetry.ts';

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
    maxReceives,
    archive: openArchive(env.archive),
    queues: openQueues({ layer: layerQueue, finalize: finalizeQueue }),
    sources: sourcesFrom(config, env.credentialsSecret, { lanes, onRetry }),
    buffers: new BufferPool(BUFFER_BYTES),
    postpone: postponeIn(layerQueue),
    requeue: requeueIn(layerQueue),
  };
});

/** Copies one blob per message from the registry to the archive. */
export const handler = (event: SQSEvent, context: Context): Promise<SQSBatchResponse> =>
  observed(context, () => {
    const { archive, queues, config, sources, buffers, lanes, maxReceives, postpone, requeue } = wired();
    const signal = signalOf(context);
    return handleBatch<LayerMessage>(event, {
      type: 'layer',
      together: 1,
      maxReceives,
      async handle([delivery], requeues) {
        if (delivery === undefined) return;
        const { message, receiveCount } = delivery;
        const [read, current] = await Promise.all([config(), sources()]);
        const settings = registrySettings(read, lanes);
        await copyLayer(
          { archive, queues, sources: current, buffers, observe, now: Date.now, lanes: settings.connections },
          message,
          {
            receiveCount,
            last: receiveCount >= maxReceives,
            requeues,
            deadline: deadlineFrom(() => context.getRemainingTimeInMillis()),
            signal,
          },
        );
      },
      giveUp: ({ message }, failure) => failLayer({ queues, observe }, message, failure, signal),
      ready: sources,
      postpone,
      requeue,
      onFailure: onFailedRecord,
    });
  });
