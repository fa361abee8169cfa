/**
 * The digests that a repair has removed from a repository with a policy. The next sync restores them: a visible digest
 * is not held again, a held digest continues its period, and a tag that the policy keeps does not move. Pure.
 */
import { defined } from '../../core/defined.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Place } from '../../oci/document.ts';
import { formatTimes, type TagEntry } from './entry.ts';
import { compare } from './platforms.ts';
import { readTimeIn, type Times } from './times.ts';

export interface Dropped {
  /** The tag, or the former one; undefined for a digest that was requested without a tag. */
  readonly tag?: string;
  readonly digest: Digest;
  /** `current`: the tag named it. `former`: it was visible, and the tag had moved. */
  readonly was: 'current' | 'former' | 'held';
  /** The first observation, or for a visible digest the first visible one, in milliseconds since the epoch. */
  readonly first: number;
}

/** The records that a repository keeps; the earliest observations are left out. */
const MAX_DROPPED = 10_000;

/** @throws Failure that names the place */
export function readDropped(place: Place, times: Times): readonly Dropped[] {
  return (place.optionalList(MAX_DROPPED) ?? []).map((each) => {
    const was = (['current', 'former', 'held'] as const).find((state) => each.at('was').is(state));
    if (was === undefined) throw each.at('was').fail('must be current, former or held');
    const first = readTimeIn(each, 'first', times);
    return defined({ tag: each.at('tag').optionalText(), digest: each.at('digest').digest(), was, first });
  });
}

export function writeDropped(dropped: readonly Dropped[]): readonly Readonly<Record<string, unknown>>[] | undefined {
  if (dropped.length === 0) return undefined;
  return dropped
    .toSorted((a, b) => compare(a.tag ?? '', b.tag ?? '') || compare(a.digest, b.digest))
    .map(({ first, ...rest }) => ({ ...rest, first: formatTimes([first]) }));
}

/** Adds the records of the entries that a repair removes now. */
export function withDropped(
  dropped: readonly Dropped[],
  visible: readonly TagEntry[],
  held: readonly TagEntry[],
): readonly Dropped[] {
  const recordOf = (entry: TagEntry, was: Dropped['was']): Dropped =>
    defined({
      tag: entry.tag ?? entry.hadTag,
      digest: entry.digest,
      was,
      first: entry.observations[0] ?? entry.observed,
    });
  const now = [
    ...visible.map((entry) => recordOf(entry, entry.tag === undefined ? 'former' : 'current')),
    ...held.map((entry) => recordOf(entry, 'held')),
  ];
  const moved = new Set(now.flatMap(({ tag, was }) => (was === 'current' ? [tag] : [])));
  const earlier = dropped
    .filter(({ tag, digest }) => droppedAs(now, tag ?? '', digest) === undefined)
    .map((each) => (each.was === 'current' && moved.has(each.tag) ? { ...each, was: 'former' as const } : each));
  return [...earlier, ...now].sort((a, b) => b.first - a.first).slice(0, MAX_DROPPED);
}

/**
 * Removes the records of a digest that was restored; returns the same list if nothing changes. If the digest is
 * visible, its tag keeps no other digest.
 */
export function withoutDropped(
  dropped: readonly Dropped[],
  tag: string | undefined,
  digest: Digest,
  isShown: boolean,
): readonly Dropped[] {
  if (!dropped.some((each) => each.tag === tag)) return dropped;
  return dropped
    .filter((each) => each.tag !== tag || each.digest !== digest)
    .map((each) => (isShown && each.tag === tag && each.was === 'current' ? { ...each, was: 'former' } : each));
}

export function droppedAs(dropped: readonly Dropped[], tag: string, digest: Digest): Dropped | undefined {
  return dropped.find((each) => each.digest === digest && (each.tag ?? '') === tag);
}

/** The digest that a tag without an entry had before a repair. */
export function droppedCurrent(dropped: readonly Dropped[], tag: string | undefined): Digest | undefined {
  if (tag === undefined) return undefined;
  return dropped.find((each) => each.was === 'current' && each.tag === tag)?.digest;
}

/** The first time at which a dropped digest was visible; infinity for one that was not. */
export function shownBefore(dropped: Dropped | undefined): number {
  return dropped === undefined || dropped.was === 'held' ? Infinity : dropped.first;
}
