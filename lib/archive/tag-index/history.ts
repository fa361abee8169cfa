/**
 * The history of a tag, from the observations in its entries. Pure.
 *
 * An index records observations and not periods, because a late observation may cut a period in two. So the
 * same observations give the same periods, in whatever order they are recorded.
 */
import type { Digest } from '../../oci/digest.ts';
import { type StoredEntry, written } from './entry.ts';
import { compare } from './platforms.ts';

/** The entries of one tag: the current one, and former ones. */
export interface TagGroup {
  readonly current: StoredEntry | undefined;
  readonly left: readonly StoredEntry[];
  /** Observations of digests that a repair or a rejection removed. */
  readonly removed: readonly number[];
}

/** A time during which a tag named a digest. */
export interface Period {
  /** Undefined for a digest that a repair or a rejection removed. */
  readonly digest: Digest | undefined;
  /** Whether a rejection removed the digest. */
  readonly isRejected?: true;
  /** The first observation, in milliseconds since the epoch; undefined where the entry has no time. */
  readonly from: number | undefined;
  /** The first observation of another digest; undefined while the tag names this one. */
  readonly to: number | undefined;
}

/** The digest that the tag named at one instant; without an entry if that digest has been removed. */
interface Sighting {
  readonly at: number;
  readonly entry: StoredEntry | undefined;
}

function entriesOf({ current, left }: Omit<TagGroup, 'removed'>): readonly StoredEntry[] {
  return current === undefined ? left : [current, ...left];
}

/** One sighting for each instant, in ascending order. */
function timeline({ current, left, removed }: TagGroup): readonly Sighting[] {
  const all: Sighting[] = [];
  const former = [...left].sort((a, b) => compare(a.digest, b.digest));
  // Of two sightings at one instant the first counts, so the current entry comes first, and then entries with a digest.
  for (const entry of entriesOf({ current, left: former }))
    for (const at of entry.observations) all.push({ at, entry });
  for (const { replaced } of former) if (replaced !== undefined) all.push({ at: replaced, entry: undefined });
  for (const at of removed) if (current === undefined || at < current.observed) all.push({ at, entry: undefined });
  all.sort((a, b) => a.at - b.at);
  return all.filter(({ at }, index) => index === 0 || all[index - 1]?.at !== at);
}

/**
 * The periods of a tag in the order of time.
 *
 * @param isRejected whether a rejection removed the digest of an observation
 */
export function periodsOf(group: TagGroup, isRejected: (at: number) => boolean): readonly Period[] {
  const periods: Period[] = entriesOf(group)
    .filter(({ observations }) => observations.length === 0)
    .map(({ digest, replaced }) => ({ digest, from: undefined, to: replaced }));
  let open: Omit<Period, 'to'> | undefined;
  for (const { at, entry } of timeline(group)) {
    const cause = entry === undefined && isRejected(at) ? ({ isRejected: true } as const) : {};
    if (open !== undefined && open.digest === entry?.digest && open.isRejected === cause.isRejected) continue;
    if (open !== undefined) periods.push({ ...open, to: at });
    open = { digest: entry?.digest, ...cause, from: at };
  }
  if (open !== undefined) periods.push({ ...open, to: undefined });
  return periods;
}

/**
 * The first of some ascending instants after `entry.observed`, at which another digest was observed; undefined if the entry is
 * still valid. A tag may have thousands of entries with as many instants each, so this is a binary search.
 */
export function replacedAt({ observed }: StoredEntry, instants: readonly number[]): number | undefined {
  let [low, high] = [0, instants.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((instants[middle] ?? Infinity) > observed) high = middle;
    else low = middle + 1;
  }
  return instants[low];
}

/** All instants at which the tag was observed, in ascending order. */
export function instantsOf({ current, left, removed }: TagGroup): readonly number[] {
  const all = [current?.observations ?? [], ...left.map(({ observations }) => observations), removed].flat();
  return all.sort((a, b) => a - b);
}

/** The entries of a tag at an instant, without those that were never observed. */
export function groupAsOf(tag: string, group: TagGroup, instant: number): Omit<TagGroup, 'removed'> {
  const { current, left } = group;
  // Most tags have one digest, of which every observation is earlier.
  if (left.length === 0 && current !== undefined && current.observed !== 0 && current.observed <= instant)
    return { current, left };
  const sightings = timeline(group).filter(({ at }) => at <= instant);
  const winner = sightings.at(-1)?.entry;
  const instants = sightings.map(({ at }) => at);
  const [tagged, former]: [StoredEntry[], StoredEntry[]] = [[], []];
  for (const entry of entriesOf(group)) {
    const then = entryAsOf(entry, instant);
    if (then === undefined) continue;
    if (entry === winner) tagged.push(written({ ...then, tag, hadTag: undefined, replaced: undefined }));
    else {
      const replaced = replacedAt(then, instants);
      former.push(written({ ...then, tag: undefined, hadTag: tag, replaced }));
    }
  }
  return { current: tagged[0], left: former };
}

/** The entry with its observations up to an instant; undefined without any. */
export function entryAsOf(entry: StoredEntry, instant: number): StoredEntry | undefined {
  const observations = entry.observations.filter((at) => at <= instant);
  const observed = observations.at(-1);
  return observed === undefined ? undefined : { ...entry, observed, observations };
}
