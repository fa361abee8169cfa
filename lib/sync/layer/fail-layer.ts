import type { Failure } from '../../core/failure.ts';
import type { LayerMessage } from '../../queue/messages.ts';
import { finalizeMessage } from '../../queue/outgoing.ts';
import type { LayerContext } from '../context.ts';
import { blobEvent } from '../events.ts';
import { recorded } from '../failures.ts';

/** Notifies the finalizer that an image fails because of this layer. Dead letters end here, too. */
export async function failLayer(
  context: Pick<LayerContext, 'queues' | 'observe' | 'failedImages'>,
  message: LayerMessage,
  failure: Failure,
  signal?: AbortSignal,
): Promise<void> {
  context.observe({ ...blobEvent(message, 'failed', 0), reason: failure.message });
  const outgoing = finalizeMessage(message, message.image, message.blob.digest, recorded(failure));
  await context.queues.send('finalize', [outgoing], { signal });
  context.failedImages?.add(message, failure);
}
