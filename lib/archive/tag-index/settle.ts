import type { Digest } from '../../oci/digest.ts';
import type { StoredEntry } from './entry.ts';
import { isWithin, provenPlatforms } from './platforms.ts';

/** Removes the referrers that have arrived from the entries that await them. Pure. */
export function settled(groups: readonly ReadonlyMap<string, StoredEntry>[]): readonly StoredEntry[] {
  const awaiting: StoredEntry[] = [];
  for (const group of groups) for (const entry of group.values()) if (entry.awaited.length > 0) awaiting.push(entry);
  if (awaiting.length === 0) return [];
  const arrived = arrivedIn(groups);
  return awaiting.flatMap((entry) => {
    const awaited = entry.awaited.filter((digest) => !arrived.has(digest));
    return awaited.length < entry.awaited.length ? [{ ...entry, awaited }] : [];
  });
}

/** The digests of complete referrers. */
function arrivedIn(groups: readonly ReadonlyMap<string, StoredEntry>[]): ReadonlySet<Digest> {
  const arrived = new Set<Digest>();
  for (const group of groups)
    for (const entry of group.values())
      if (entry.subject !== undefined && isWithin('all', provenPlatforms(entry))) arrived.add(entry.digest);
  return arrived;
}
