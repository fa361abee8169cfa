/** The list of a repository's withheld images, for people. Pure. */
import { defined } from '../../core/defined.ts';
import type { Digest } from '../../oci/digest.ts';
import { wordsOf } from '../../policy/decisions.ts';
import { compare } from './platforms.ts';
import type { TagIndex } from './tag-index.ts';
import { heldIn } from './withheld.ts';

/** An image that policy or a person withholds. Times are in milliseconds since the epoch. */
export interface WithheldImage {
  /** Undefined for a digest that was requested without a tag, and for a rejection of all tags. */
  readonly tag?: string;
  readonly digest: Digest;
  readonly state: 'held' | 'unverified' | 'rejected';
  /** The first observation, or the time of the rejection. */
  readonly since: number;
  /** Of a held image: the end of its period. */
  readonly until?: number;
  /** Of the others: the result of the verification, or the person's reason. */
  readonly reason?: string;
}

/** Sorted by tag, then by time. */
export function withheldList(index: TagIndex): readonly WithheldImage[] {
  const { unverified, decisions } = index.control;
  const images: WithheldImage[] = [
    ...heldIn(index).map(({ entry: { tag, digest, observations, observed }, until }) =>
      defined({ tag, digest, state: 'held' as const, since: observations[0] ?? observed, until }),
    ),
    ...unverified.map(({ tag, digest, first, reason }) =>
      defined({ tag, digest, state: 'unverified' as const, since: first, reason }),
    ),
    ...decisions
      .filter(({ action }) => action === 'reject')
      .map((decision) => {
        const { tag, digest, at } = decision;
        return defined({ tag, digest, state: 'rejected' as const, since: at, reason: wordsOf(decision) });
      }),
  ];
  return images.sort((a, b) => compare(a.tag ?? '', b.tag ?? '') || a.since - b.since || compare(a.digest, b.digest));
}
