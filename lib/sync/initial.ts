/** The end of the time in which `initial: accept` exempts digests from their minimum age. */
import type { Archive } from '../archive/archive.ts';
import { withoutInitial } from '../archive/tag-index/withheld.ts';
import type { Cancel } from '../store/store.ts';

/**
 * Records the first completed run of a repository; a later call changes nothing.
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
