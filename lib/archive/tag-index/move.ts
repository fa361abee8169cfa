import type { Digest } from '../../oci/digest.ts';
import type { TagChange, TagOutcome } from './draft.ts';
import type { TagIndex } from './tag-index.ts';

/** The digest that a tag named before it moved. */
export interface Move {
  readonly previous: Digest;
  /** The first observation of that period, in milliseconds since the epoch; missing where the entry has no time. */
  readonly since?: number;
}

/**
 * The move that a change made in an index, now or when it was first applied, because a process may end between the
 * write of the index and the report.
 */
export function moveOf(before: TagIndex, change: TagChange | undefined, outcome: TagOutcome): Move | undefined {
  if (change?.tag === undefined || outcome === 'older') return undefined;
  const periods = before.history(change.tag);
  const isApplied = outcome === 'unchanged' && periods.at(-1)?.from === change.observed;
  const previous =
    outcome === 'written' ? before.byTag(change.tag)?.digest : isApplied ? periods.at(-2)?.digest : undefined;
  if (previous === undefined || previous === change.descriptor.digest) return undefined;
  const since = periods.findLast(({ digest }) => digest === previous)?.from;
  return { previous, ...(since === undefined ? {} : { since }) };
}
