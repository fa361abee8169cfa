import type { Digest } from '../../oci/digest.ts';
import { manifestKind } from '../../oci/mediatype.ts';
import { MAX_AWAITED, sorted } from './awaited.ts';
import { withoutDigests } from './control.ts';
import type { Entries } from './draft.ts';
import { type StoredEntry, union, written } from './entry.ts';
import type { Removed } from './format.ts';

/**
 * The entries without those of damaged or rejected digests. An image awaits a removed referrer, so that the next run brings it again, also
 * after the last check of the image. Pure.
 */
export function entriesWithout(entries: Entries, gone: readonly StoredEntry[], digests: ReadonlySet<Digest>): Entries {
  const { tags, kept, others, removed, control } = entries;
  const stays = ({ digest }: StoredEntry): boolean => !digests.has(digest);
  const untagged = [...(kept.get('')?.values() ?? [])].filter(stays);
  const awaits = awaiting([...tags.values(), ...untagged].filter(stays), gone);
  const left = <K>(of: ReadonlyMap<K, StoredEntry>): Map<K, StoredEntry> =>
    new Map([...of].flatMap(([key, entry]) => (stays(entry) ? [[key, awaits.get(entry) ?? entry]] : [])));
  return {
    control: withoutDigests(control, digests),
    removed: withObservations(gone, removed),
    tags: left(tags),
    kept: new Map([...kept].map(([tag, of]) => [tag, left(of)])),
    others: others.filter(stays),
  };
}

/** The images of removed referrers, each as an entry that awaits them. */
function awaiting(images: readonly StoredEntry[], gone: readonly StoredEntry[]): ReadonlyMap<StoredEntry, StoredEntry> {
  const named = new Set(images.map(({ digest }) => digest));
  const found = new Map<StoredEntry, StoredEntry>();
  for (const { subject, digest } of gone) {
    if (subject === undefined) continue;
    // The subject may be a child of an index. The tag index does not name children, so each index awaits the referrer.
    const isImage = (entry: StoredEntry): boolean =>
      named.has(subject) ? entry.digest === subject : manifestKind(entry.mediaType) === 'index';
    for (const image of images.filter(isImage)) {
      const { awaited } = found.get(image) ?? image;
      if (awaited.length < MAX_AWAITED) found.set(image, written({ ...image, awaited: sorted([...awaited, digest]) }));
    }
  }
  return found;
}

/** The observations of entries that are removed now, and the earlier ones. */
export function withObservations(gone: readonly StoredEntry[], removed: Removed = new Map()): Removed {
  const all = new Map(removed);
  for (const { tag, hadTag = '', observations } of gone) {
    const name = tag ?? hadTag;
    if (name !== '' && observations.length > 0) all.set(name, union(all.get(name) ?? [], observations));
  }
  return all;
}
