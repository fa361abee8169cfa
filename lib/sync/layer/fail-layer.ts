import type { Failure } from '../../core/failure.ts';
import type { LayerMessage } from '../../queue/messages.ts';
import { finalizeMessage } from '../../queue/outgoing.ts';
import type { LayerContext } from '../context.ts';
import { recorded } from '../failures.ts';

/** Notifies the finalizer that an image fails because of this layer. Dead letters end here, too. */
export async function failLayer(
  context: Pick<LayerContext, 'queues' | 'observe'>,
  message: LayerMessage,
  failure: Failure,
  signal?: AbortSignal,
): Promise<void> {
  const { image, blob } = message;
  context.observe({
    type: 'blob',
    phase: 'failed',
    run: message.run,
    source: message.source,
    tag: image.tag,
    digest: image.digest,
    blob: blob.digest,
    size: blob.size,
    fetched: 0,
    reason: failure.message,
  });
  const outgoing = finalizeMessage(message, image, blob.digest, recorded(failure));
  await context.queues.send('finalize', [outgoing], { signal });
}
