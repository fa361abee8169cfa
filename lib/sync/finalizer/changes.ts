/** Changes of the state of a repository: its policy, and the end of its first run. */
import type { Archive } from '../../archive/archive.ts';
import { withoutInitial, withPolicy } from '../../archive/tag-index/withheld.ts';
import type { FinalizeMessage } from '../../queue/messages.ts';
import type { Cancel } from '../../store/store.ts';

/** Records the changes in messages, in the order of the messages and before any image. */
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

/**
 * Records the first completed run of a repository: from then on, `initial: accept` exempts no digest from its minimum
 * age. A later call changes nothing.
 *
 * @param now milliseconds since the epoch
 */
export async function closeInitial(
  archive: Archive,
  repository: string,
  now: number,
  options: Cancel = {},
): Promise<void> {
  await archive.updatePolicy(repository, (index) => withoutInitial(index, now), options);
}
