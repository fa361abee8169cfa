import { invalid } from '../core/failure.ts';
import type { Archive } from '../archive/archive.ts';
import { closest } from '../core/suggest.ts';

/**
 * All repositories of the archive, or the named ones, sorted.
 *
 * @param named the operation (a verb) and the address, for errors
 * @throws Failure `invalid` for a named repository that is missing
 */
export async function repositoriesOf(
  archive: Archive,
  signal: AbortSignal,
  named?: { readonly operation: string; readonly archive: string; readonly repositories: readonly string[] },
): Promise<readonly string[]> {
  const all = (await Array.fromAsync(archive.repositories({ signal }))).sort();
  if (named === undefined || named.repositories.length === 0) return all;
  const { operation, archive: address, repositories } = named;
  for (const repository of repositories)
    if (!all.includes(repository)) {
      const meant = closest(repository, all);
      const hint = meant === undefined ? `mirror-sync ls ${address} lists all of them` : `did you mean ${meant}?`;
      throw invalid(`${operation} ${repository}`, `it is not in ${address}; ${hint}`);
    }
  return [...new Set(repositories)].sort();
}
