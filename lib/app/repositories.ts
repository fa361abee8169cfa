import { invalid } from '../core/failure.ts';
import type { Archive } from '../archive/archive.ts';
import { closest } from '../core/suggest.ts';

/** All repositories of the archive, or the named ones, sorted. A missing repository is an error. */
export async function repositoriesOf(
  archive: Archive,
  command: { readonly name: string; readonly archive: string; readonly repositories: readonly string[] },
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { name, archive: address, repositories } = command;
  const all: string[] = [];
  for await (const repository of archive.repositories({ signal })) all.push(repository);
  for (const repository of repositories)
    if (!all.includes(repository)) {
      const meant = closest(repository, all.toSorted());
      const hint = meant === undefined ? `mirror-sync ls ${address} lists all of them` : `did you mean ${meant}?`;
      throw invalid(`${name === 'ls' ? 'list' : name} ${repository}`, `it is not in ${address}; ${hint}`);
    }
  return (repositories.length === 0 ? all : [...new Set(repositories)]).sort();
}
