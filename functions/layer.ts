import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { registrySettings } from '../lib/config/mirrors.ts';
import { readEnvironment } from '../lib/config/environment.ts';
import { type Deadline, deadlineFrom } from '../lib/sync/deadline.ts';
import { failLayer } from '../lib/sync/layer/fail-layer.ts';
import { copyLayer } from '../lib/sync/layer/layer.ts';
import { BufferPool } from '../lib/sync/transfer/buffer-pool.ts';
import type { Observe } from '../lib/sync/events.ts';
import type { LayerMessage } from '../lib/queue/messages.ts';
import type { Queues } from '../lib/queue/queue.ts';
import type { Sources } from '../lib/registry/source.ts';
import { configFrom, once, openArchive, openQueues } from './aws.ts';
import { type BatchOptions, handleBatch } from './batch.ts';
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
    observe,
    onFailure: onFailedRecord,
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

/** Everything that the handler uses; the simulation has its own. */
export type LayerPorts = Pick<ReturnType<typeof wired>, 'lanes' | 'maxReceives' | 'archive' | 'config' | 'buffers'> & {
  readonly queues: Queues;
  readonly sources: () => Promise<Sources>;
  readonly observe: Observe;
} & Pick<BatchOptions<LayerMessage>, 'postpone' | 'requeue' | 'onFailure'>;

export function handleLayers(
  event: SQSEvent,
  ports: LayerPorts,
  { signal, deadline }: { readonly signal: AbortSignal; readonly deadline: Deadline },
): Promise<SQSBatchResponse> {
  const { archive, queues, config, sources, buffers, lanes, maxReceives, postpone, requeue, onFailure } = ports;
  return handleBatch<LayerMessage>(event, {
    type: 'layer',
    together: 1,
    maxReceives,
    async handle([delivery], requeues) {
      if (delivery === undefined) return;
      const { message, receiveCount } = delivery;
      const [read, current] = await Promise.all([config(), sources()]);
      const { connections } = registrySettings(read, lanes);
      await copyLayer(
        { archive, queues, sources: current, buffers, observe: ports.observe, now: Date.now, lanes: connections },
        message,
        { receiveCount, last: receiveCount >= maxReceives, requeues, deadline, signal },
      );
    },
    giveUp: ({ message }, failure) => failLayer(ports, message, failure, signal),
    ready: sources,
    postpone,
    requeue,
    onFailure,
  });
}
