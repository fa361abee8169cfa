import type { SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { registrySettings } from '../../lib/config/mirrors.ts';
import type { LayerMessage } from '../../lib/queue/messages.ts';
import type { Deadline } from '../../lib/sync/deadline.ts';
import { failLayer } from '../../lib/sync/layer/fail-layer.ts';
import { copyLayer } from '../../lib/sync/layer/layer.ts';
import type { BufferPool } from '../../lib/sync/transfer/buffer-pool.ts';
import { handleBatch } from '../batch.ts';
import type { SourcePorts } from './resolutions.ts';

export interface LayerPorts extends SourcePorts {
  readonly buffers: BufferPool;
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
    async handle({ message, receiveCount }, requeues) {
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
