import type { TagIndex } from '../archive/tag-index/tag-index.ts';

/**
 * The last earlier state of each index. It is kept because an index may have ten thousand entries, and clients request
 * its pages one after another.
 */
const known = new WeakMap<TagIndex, { readonly instant: number; readonly then: TagIndex }>();

/** The index as it was at an instant, in milliseconds since the epoch; the index itself for the present. */
export function indexAt(index: TagIndex, instant: number | undefined): TagIndex {
  if (instant === undefined) return index;
  const last = known.get(index);
  if (last?.instant === instant) return last.then;
  const then = index.asOf(instant);
  known.set(index, { instant, then });
  return then;
}
