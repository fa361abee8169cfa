/** Changes of a tag index, and their results. */
import type { Cancel } from '../store/store.ts';
import { type Move, moveOf } from './tag-index/move.ts';
import type { Applied, TagChange, TagIndex } from './tag-index/tag-index.ts';

/** The result of an observation. */
export interface TagUpdate extends Applied, Partial<Move> {}

/** Options of a change of a tag index. */
export type UpdateOptions = Cancel & {
  /** Called with the version that was written. */
  readonly written?: (version: string) => void;
  /** Whether the edit reads an index with times in the future as well, and replaces these times. */
  readonly isRepair?: true;
};

/** A tag index with the version that was read or written. */
export interface ReadIndex {
  readonly index: TagIndex;
  readonly etag: string;
}

/** An index after an edit; the same index where nothing changes. */
export interface Edited<T> {
  readonly index: TagIndex;
  readonly result: T;
  /** Whether the result holds only for the version that was read. The edit has then marked a new repository itself. */
  readonly isChecked?: boolean;
}

/** Finds the changes for a version of a tag index; undefined for a repository without an index. */
export type FindChanges = (version: string | undefined, index?: TagIndex) => Promise<readonly TagChange[]>;

/** Applies observations to a version of an index. */
export function applied(before: TagIndex, changes: readonly TagChange[]): Edited<readonly TagUpdate[]> {
  const { index, applied: outcomes } = before.apply(changes);
  const result = outcomes.map((each, at) => ({ ...each, ...moveOf(before, changes[at], each.outcome) }));
  return { index, result };
}
