import type { Archive } from '../archive/archive.ts';
import type { Digest } from '../oci/digest.ts';
import type { Problem } from './verify.ts';

/**
 * Takes out of an archive what `verify` has found wrong, so that the next sync brings it anew: first the references that
 * lead to it, so that whatever is left can be pulled (invariant 1), then the proofs, then the bytes.
 *
 * Resolves to the references that were dropped.
 */
export async function repairArchive(
  archive: Archive,
  problems: readonly Problem[],
  options: { readonly signal: AbortSignal },
): Promise<ReadonlySet<string>> {
  const { store, layout } = archive;
  for (const [repository, found] of Map.groupBy(problems, (problem) => problem.repository))
    await archive.dropReferences(repository, new Set(found.map(({ root }) => root)), options);
  const wrong = new Set<Digest>(problems.map(({ digest }) => digest));
  for (const digest of wrong) {
    await store.delete(layout.receipt(digest), options);
    await store.delete(layout.blob(digest), options);
  }
  return new Set(problems.map(({ reference }) => reference));
}
