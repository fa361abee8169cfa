import type { Archive } from '../../archive/archive.ts';
import { withPolicy } from '../../archive/tag-index/withheld.ts';
import type { FinalizeMessage } from '../../queue/messages.ts';
import { closeInitial } from '../initial.ts';

/** Records the policies and the ends of first runs from messages, in the order of the messages and before any image. */
export async function recordChanges(
  archive: Archive,
  messages: readonly FinalizeMessage[],
  signal: AbortSignal,
): Promise<void> {
  for (const { repository, change } of messages)
    if (change === undefined) continue;
    else if ('completed' in change) await closeInitial(archive, repository, change.completed, { signal });
    else await archive.updatePolicy(repository, (index) => withPolicy(index, change.policy), { signal });
}
