import { isLiteral, matchesGlob, parseGlob } from '../oci/glob.ts';
import { compareVersions, isVersion } from './version.ts';

/** Which tags of a repository are mirrored. Plain data: it can travel in a message. */
export type TagSelection = ListedTags | FilteredTags;

/** Exactly these tags: a tag that upstream lacks is a failure. */
export interface ListedTags {
  readonly kind: 'listed';
  readonly tags: readonly string[];
}

/** The tags of upstream that match a pattern of `include` and none of `exclude`. */
export interface FilteredTags {
  readonly kind: 'filtered';
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  /**
   * The number of versions among them to mirror: the newest by `compareVersions`. Other tags are left out, unless
   * `include` names them in full: these are taken, and not counted.
   */
  readonly newest?: number;
}

export const ALL_TAGS: FilteredTags = { kind: 'filtered', include: ['*'], exclude: [] };

/**
 * Selects the wanted tags, each once, in the order of the list. A list may come in pages: select from the tags selected
 * so far and the next page. The result is the same as for the whole list, and only `newest` tags and a page are in
 * memory.
 */
export function selectTags(tags: readonly string[], selection: TagSelection): string[] {
  const there = [...new Set(tags)];
  if (selection.kind === 'listed') {
    const listed = new Set(selection.tags);
    return there.filter((tag) => listed.has(tag));
  }
  const matching = there.filter(matcherOf(selection));
  if (selection.newest === undefined) return matching;
  const named = namedIn(selection);
  const newest = matching
    .filter((tag) => !named.has(tag) && isVersion(tag))
    .sort((a, b) => compareVersions(b, a))
    .slice(0, selection.newest);
  const chosen = new Set([...named, ...newest]);
  return matching.filter((tag) => chosen.has(tag));
}

/**
 * Whether one tag is wanted. If only the newest tags are wanted, the result for a version depends on the other tags.
 */
export function wantsTag(tag: string, selection: TagSelection): 'yes' | 'no' | 'depends' {
  if (selection.kind === 'listed') return selection.tags.includes(tag) ? 'yes' : 'no';
  if (!matcherOf(selection)(tag)) return 'no';
  if (selection.newest === undefined || namedIn(selection).has(tag)) return 'yes';
  return isVersion(tag) ? 'depends' : 'no';
}

function matcherOf({ include, exclude }: FilteredTags): (tag: string) => boolean {
  const included = include.map(parseGlob);
  const excluded = exclude.map(parseGlob);
  return (tag) => included.some((glob) => matchesGlob(glob, tag)) && !excluded.some((glob) => matchesGlob(glob, tag));
}

function namedIn({ include }: FilteredTags): ReadonlySet<string> {
  return new Set(include.filter(isLiteral));
}
