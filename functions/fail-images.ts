import type { Archive } from '../lib/archive/archive.ts';
import type { Failure } from '../lib/core/failure.ts';
import { namesIn, recorded } from '../lib/sync/failures.ts';
import { MessageTally } from '../lib/sync/run/message-record.ts';
import type { ResolveMessage } from '../lib/queue/messages.ts';
import { finalizeMessage } from '../lib/queue/outgoing.ts';
import type { Queues } from '../lib/queue/queue.ts';

/** Sends the failure of a resolve message's images to the finalizer, and records the message as handled. */
export async function failMessage(
  { archive, queues }: { readonly archive: Archive; readonly queues: Queues },
  message: ResolveMessage,
  failure: Failure,
  signal: AbortSignal,
): Promise<void> {
  const tally = new MessageTally(archive);
  const outgoing = namesIn(message).map((image) => finalizeMessage(message, image, 'resolver', recorded(failure)));
  await tally.queues(queues).send('finalize', outgoing, { signal });
  await tally.write(message, { signal });
}
