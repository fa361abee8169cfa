import type { SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { Archive } from '../../lib/archive/archive.ts';
import { type Config, registrySettings } from '../../lib/config/mirrors.ts';
import type { LayerMessage } from '../../lib/queue/messages.ts';
import type { Queues } from '../../lib/queue/queue.ts';
import type { Sources } from '../../lib/registry/source.ts';
import type { Deadline } from '../../lib/sync/deadline.ts';
import type { Observe } from '../../lib/sync/events.ts';
import { failLayer } from '../../lib/sync/layer/fail-layer.ts';
import { copyLayer } from '../../lib/sync/layer/layer.ts';
import type { BufferPool } from '../../lib/sync/transfer/buffer-pool.ts';
import { handleBatch, type QueuePorts } from '../batch.ts';

export interface LayerPorts extends QueuePorts {
  readonly archive: Archive;
  readonly queues: Queues;
  readonly config: () => Promise<Config>;
  readonly sources: () => Promise<Sources>;
  readonly buffers: BufferPool;
  readonly lanes: number;
  readonly observe: Observe;
}

export function handleLayers(
  event: SQSEvent,
  ports: LayerPorts,
  { signal, deadline }: { readonly signal: AbortSignal; readonly deadline: Deadline },
): Promise<SQSBatchResponse> {
  const { archive, queues, config, sources, buffers, lanes, observe, ...queue } = ports;
  return handleBatch<LayerMessage>(event, {
    ...queue,
    type: 'layer',
    together: 1,
    async handle([delivery], requeues) {
      if (delivery === undefined) return;
      const { message, receiveCount } = delivery;
      const [read, current] = await Promise.all([config(), sources()]);
      const { connections } = registrySettings(read, lanes);
      await copyLayer(
        { archive, queues, sources: current, buffers, observe, now: Date.now, lanes: connections },
        message,
        { receiveCount, last: receiveCount >= queue.maxReceives, requeues, deadline, signal },
      );
    },
    giveUp: ({ message }, failure) => failLayer(ports, message, failure, signal),
    ready: sources,
  });
}
