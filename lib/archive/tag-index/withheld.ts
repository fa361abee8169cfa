/** Questions about the digests that a policy withholds, and changes of the policy. Pure. */
import { defined } from '../../core/defined.ts';
import { Failure } from '../../core/failure.ts';
import type { Digest } from '../../oci/digest.ts';
import { type Decision, decisionOn, MAX_DECISIONS, withDecision } from '../../policy/decisions.ts';
import { heldUntil } from '../../policy/hold.ts';
import { isSamePolicy, type Policy } from '../../policy/policy.ts';
import { type Control, heldEntries, NO_CONTROL, withoutDigests } from './control.ts';
import { isReferrer } from './draft.ts';
import { droppedCurrent, withDropped } from './dropped.ts';
import { type StoredEntry, type TagEntry, written } from './entry.ts';
import { compare } from './platforms.ts';
import type { TagIndex } from './tag-index.ts';
import { largest } from '../../core/extremes.ts';

/** A digest that is in the archive and not yet visible under its tag. */
export interface Held {
  readonly entry: TagEntry;
  /** The end of its period, in milliseconds since the epoch. */
  readonly until: number;
  /** Whether upstream named this digest last; a digest that upstream has replaced is not released. */
  readonly isLast: boolean;
}

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
  /** Of a rejected image: the person. */
  readonly by?: string;
}

/** The index with the policy of a configuration; the same index if it has that policy. */
export function withPolicy(index: TagIndex, policy: Policy): TagIndex {
  const { control } = index;
  if (isSamePolicy(control.policy, policy)) return index;
  const isNew = control.initial === undefined && index.isFresh;
  return index.withControl({ ...control, policy, initial: isNew ? 'open' : control.initial });
}

/** Ends the time before the first completed run of the repository. */
export function withoutInitial(index: TagIndex, at: number): TagIndex {
  return index.control.initial === 'open' ? index.withControl({ ...index.control, initial: at }) : index;
}

/** All held digests, in the order of their tags. */
export function heldIn(index: TagIndex): readonly Held[] {
  return heldEntries(index.control.held).map((entry) => heldOf(index, entry));
}

/** A held digest of a tag, or of no tag. */
export function heldAs(index: TagIndex, tag: string | undefined, digest: Digest): Held | undefined {
  const entry = index.control.held.get(tag ?? '')?.get(digest);
  return entry === undefined ? undefined : heldOf(index, entry);
}

/** The held digest that upstream named last for a tag. */
export function heldFor(index: TagIndex, tag: string): Held | undefined {
  const group = [...(index.control.held.get(tag)?.values() ?? [])];
  return group.map((entry) => heldOf(index, entry)).find(({ isLast }) => isLast);
}

/** The last hold of a digest under any tag. */
export function heldDigest(index: TagIndex, digest: Digest): Held | undefined {
  return heldIn(index).findLast(({ entry }) => entry.digest === digest);
}

function heldOf(index: TagIndex, entry: StoredEntry): Held {
  const { policy, initial, decisions, held } = index.control;
  const { tag, digest, observed } = entry;
  const released = decisionOn(decisions, tag ?? '', digest)?.at;
  const until = heldUntil(policy, initial, { ...entry, released });
  const others = tag === undefined ? [] : [index.byTag(tag), ...(held.get(tag)?.values() ?? [])];
  return { entry, until, isLast: others.every((other) => other === undefined || other.observed <= observed) };
}

/** The decision of a person about a digest under a tag (undefined: without a tag). */
export function decisionIn({ control }: TagIndex, tag: string | undefined, digest: Digest): Decision | undefined {
  return decisionOn(control.decisions, tag ?? '', digest);
}

/** The rejections that are in force: a later release has cancelled the others. */
export function rejectionsIn({ control: { decisions } }: TagIndex): readonly Decision[] {
  const byDigest = Map.groupBy(decisions, ({ digest }) => digest);
  return decisions.filter(({ action, tag = '', digest }) => {
    const last = decisionOn(byDigest.get(digest) ?? [], tag, digest);
    return action === 'reject' && last?.action === 'reject';
  });
}

/**
 * The index after the decision of a person. A release makes held entries visible at once; a rejection removes the
 * digest from all tags and all held entries. The decision that is written last is the last one, whatever the clocks of
 * two people say.
 *
 * @throws Failure `limit-exceeded`
 */
export function withDecisionIn(index: TagIndex, decision: Decision): TagIndex {
  const { tag, digest, action } = decision;
  const earlier = index.control.decisions.filter((each) => each.digest === digest);
  const at = Math.max(decision.at, largest(earlier.map((each) => each.at + 1)));
  const decisions = withDecision(index.control.decisions, { ...decision, at });
  if (decisions.length > MAX_DECISIONS)
    throw new Failure({
      operation: `${action} ${digest}`,
      side: 'input',
      code: 'limit-exceeded',
      detail: `the repository has ${MAX_DECISIONS} decisions already`,
    });
  const control: Control = { ...index.control, decisions };
  if (action === 'reject') {
    const isOther = (each: { readonly digest: Digest }): boolean => each.digest !== digest;
    const unverified = control.unverified.filter(isOther);
    const dropped = control.dropped.filter(isOther);
    return index.withControl({ ...control, unverified, dropped }).without(new Set([digest]), 'rejection');
  }
  const released = heldIn(index)
    .filter(({ entry, isLast }) => entry.digest === digest && (tag === undefined ? isLast : entry.tag === tag))
    .map(({ entry }) => observedAt(entry as StoredEntry, at));
  return index.releasing(released, control, at);
}

/**
 * The index without the entries of unreadable digests; when these digests return, the policy applies to them as before.
 */
export function withoutDamaged(index: TagIndex, digests: ReadonlySet<Digest>): TagIndex {
  const after = index.without(digests);
  if (after === index || index.control === NO_CONTROL) return after;
  const isGone = ({ digest }: TagEntry): boolean => digests.has(digest);
  const visible = index.entries().filter((entry) => isGone(entry) && !isReferrer(entry));
  const held = heldEntries(index.control.held).filter(isGone);
  const control = withoutDigests(index.control, digests);
  return after.withControl({ ...control, dropped: withDropped(control.dropped, visible, held) });
}

/** The digest that a tag has, or had before a repair. */
export function currentOf(index: TagIndex, tag: string): Digest | undefined {
  return index.byTag(tag)?.digest ?? droppedCurrent(index.control.dropped, tag);
}

/** The observation that a release adds to a held entry; the earlier observations stay in its record. */
function observedAt(entry: StoredEntry, at: number): StoredEntry {
  return written({ ...entry, observations: [at], observed: at });
}

/** The list of withheld images for people, sorted by tag, then by time. */
export function withheldList(index: TagIndex): readonly WithheldImage[] {
  const { unverified } = index.control;
  const images: WithheldImage[] = [
    ...heldIn(index).map(({ entry: { tag, digest, observations, observed }, until }) =>
      defined({ tag, digest, state: 'held' as const, since: observations[0] ?? observed, until }),
    ),
    ...unverified.map(({ tag, digest, first, reason }) =>
      defined({ tag, digest, state: 'unverified' as const, since: first, reason }),
    ),
    ...rejectionsIn(index).map(({ tag, digest, at, by, reason }) =>
      defined({ tag, digest, state: 'rejected' as const, since: at, by, reason }),
    ),
  ];
  return images.sort((a, b) => compare(a.tag ?? '', b.tag ?? '') || a.since - b.since || compare(a.digest, b.digest));
}
