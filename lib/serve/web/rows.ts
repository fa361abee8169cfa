/** The rows of a repository's list of tags, from its tag index. Pure. */
import type { TagEntry, TagIndex } from '../../archive/tag-index/tag-index.ts';
import type { Query } from './query.ts';

/** A tag, or a digest that is kept without one. */
export interface Row {
  readonly entry: TagEntry;
  /** The first observation of the digest, in milliseconds since the epoch; 0 where the entry has no time. */
  readonly first: number;
  /** Former digests of the tag, the newest first. */
  readonly previous: readonly TagEntry[];
}

export const ORDERS = ['name', 'observed', 'first'] as const;
export type Order = (typeof ORDERS)[number];

/** `3.9` before `3.10`. */
const NATURAL = new Intl.Collator('en', { numeric: true });

/** An index does not change, and may have ten thousand entries. */
const known = new WeakMap<TagIndex, readonly Row[]>();
const sorted = new WeakMap<readonly Row[], readonly Row[]>();

/** In any order. */
export function rowsOf(index: TagIndex): readonly Row[] {
  const before = known.get(index);
  if (before !== undefined) return before;
  const previous = new Map<string, TagEntry[]>();
  const rows: Row[] = [];
  const entries = index.entries();
  const tags = new Set(entries.map(({ tag }) => tag));
  for (const entry of entries) {
    const { tag, hadTag, observations } = entry;
    const former = hadTag !== undefined && tags.has(hadTag);
    if (former) listFor(previous, hadTag).push(entry);
    else rows.push({ entry, first: observations[0] ?? 0, previous: tag === undefined ? [] : listFor(previous, tag) });
  }
  known.set(index, rows);
  return rows;
}

/** The list that later entries extend. */
function listFor(lists: Map<string, TagEntry[]>, tag: string): TagEntry[] {
  const list = lists.get(tag) ?? [];
  lists.set(tag, list);
  return list;
}

function byName({ entry: a }: Row, { entry: b }: Row): number {
  if (a.tag === undefined || b.tag === undefined) return Number(a.tag === undefined) - Number(b.tag === undefined);
  return NATURAL.compare(a.tag, b.tag);
}

/** Tags in the natural order of their names, then digests without a tag. */
function sortedByName(rows: readonly Row[]): readonly Row[] {
  let all = sorted.get(rows);
  if (all === undefined) {
    all = rows.toSorted(byName);
    sorted.set(rows, all);
  }
  return all;
}

/** The rows that a query selects, in its order. A search finds parts of tags and digests, and sorts only those. */
export function chosen(rows: readonly Row[], { search, sort, isDescending }: Query<Order>): readonly Row[] {
  const text = search.toLowerCase();
  const found =
    text === ''
      ? sortedByName(rows)
      : (sorted.get(rows) ?? rows).filter(
          ({ entry }) => entry.tag?.toLowerCase().includes(text) === true || entry.digest.includes(text),
        );
  const named = text === '' || sorted.has(rows) ? found : found.toSorted(byName);
  const ordered =
    sort === 'name'
      ? named
      : named.toSorted((a, b) => (sort === 'first' ? a.first - b.first : a.entry.observed - b.entry.observed));
  return isDescending ? ordered.toReversed() : ordered;
}
