import type { Failure } from '../lib/core/failure.ts';
import { namesIn, recorded } from '../lib/sync/failures.ts';
import type { ResolveMessage } from '../lib/queue/messages.ts';
import { finalizeMessage } from '../lib/queue/outgoing.ts';
import type { Queues } from '../lib/queue/queue.ts';

/** Sends the failure of a resolve message's images to the finalizer. */
export async function failImages(
  queues: Queues,
  message: ResolveMessage,
  failure: Failure,
  signal: AbortSignal,
): Promise<void> {
  const outgoing = namesIn(message).map((image) => finalizeMessage(message, image, 'resolver', recorded(failure)));
  await queues.send('finalize', outgoing, { signal });
}
