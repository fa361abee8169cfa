/**
 * Decides whether an observation makes its digest visible under its tag. Pure: the same observations give the same state, in
 * whatever order they are recorded.
 */
import type { Digest } from '../../oci/digest.ts';
import { decisionOn, wordsOf } from '../../policy/decisions.ts';
import { heldUntil } from '../../policy/hold.ts';
import { type Control, unverifiedOf, withHeld, withoutHeld, withUnverified } from './control.ts';
import { droppedAs, droppedCurrent, shownBefore, withoutDropped } from './dropped.ts';
import { merged, type StoredEntry, union, written } from './entry.ts';
import { smallest } from '../../core/extremes.ts';

/** An observation that stays invisible. */
export interface Withheld {
  readonly outcome: 'held' | 'unverified' | 'drifted' | 'rejected';
  /** Of a held digest: the end of its period, in milliseconds since the epoch. */
  readonly until?: number;
  /** Of a drifted tag: the digest that it keeps. */
  readonly current?: Digest;
  readonly reason?: string;
}

export interface Observation {
  /** The entry with one observation. */
  readonly seen: StoredEntry;
  readonly verified: boolean;
  /** The result of a failed verification. */
  readonly refused: string | undefined;
}

/** The visible state of a tag. */
interface Visible {
  /** The visible entry of the observed digest under this tag, current or former. */
  readonly entry: StoredEntry | undefined;
  /** The digest that the tag has now. */
  readonly current: Digest | undefined;
}

/** The number of observations that a held entry keeps: the first, and the last ones. */
const MAX_TIMES = 32;

const NO_SIGNATURE = 'the message from its layers does not contain a verified signature';

interface Judged {
  readonly control: Control;
  /** The entry to write, or the reason why nothing is visible. */
  readonly result: Withheld | StoredEntry;
}

/** @param now milliseconds since the epoch: an observation of a fast clock ends no period early */
export function judge(control: Control, observation: Observation, visible: Visible, now: number): Judged {
  const { policy, decisions } = control;
  const { seen, verified } = observation;
  const decision = decisionOn(decisions, seen.tag ?? '', seen.digest);
  if (decision?.action === 'reject') return { control, result: { outcome: 'rejected', reason: wordsOf(decision) } };
  const isReleased = decision !== undefined;
  if (policy.verify === 'require' && !verified && !isReleased && visible.entry === undefined)
    return unverified(control, observation);
  const current = visible.current ?? droppedCurrent(control.dropped, seen.tag);
  if (policy.moved !== 'follow' && current !== undefined && current !== seen.digest && !isReleased)
    return { control, result: { outcome: 'drifted', current } };
  return aged(control, seen, visible, { now, released: decision?.at });
}

function unverified(control: Control, { seen, refused }: Observation): Judged {
  const { tag, digest, observed } = seen;
  const reason = refused ?? NO_SIGNATURE;
  const list = withUnverified(control.unverified, { tag, digest, observed, reason, signers: undefined });
  const state = list === control.unverified ? control : { ...control, unverified: list };
  return { control: state, result: { outcome: 'unverified', reason } };
}

/** Adds an observation to the others of the digest, and makes the digest visible after the end of its period. */
function aged(
  control: Control,
  seen: StoredEntry,
  { entry: visible }: Visible,
  { now, released }: { readonly now: number; readonly released: number | undefined },
): Judged {
  const { policy, initial, held } = control;
  const { tag = '', digest } = seen;
  const record = held.get(tag)?.get(digest);
  const doubt = unverifiedOf(control.unverified, tag, digest);
  const lost = droppedAs(control.dropped, tag, digest);
  const known = union(seen.observations, visible?.observations ?? []);
  const all = union(known, [
    ...(record?.observations ?? []),
    ...(visible?.hidden ?? []),
    ...(doubt === undefined ? [] : [doubt.first]),
    ...(lost?.was === 'held' ? [lost.first] : []),
  ]);
  const signed = earliest(seen.signed, record?.signed, visible?.signed);
  const until = heldUntil(policy, initial, { observations: all, signed, released });
  const shownSince = visible === undefined ? shownBefore(lost) : (visible.observations[0] ?? 0);
  const from = Math.min(until <= now ? until : Infinity, shownSince);
  const shown = candidates({ all, known, record }, policy.verify, until).filter((at) => at >= from);
  const last = shown.at(-1);
  const scoped = { ...(record === undefined ? seen : merged(record, seen)), signed };
  const next = found(control, seen, last !== undefined);
  if (last === undefined) return hold(next, { ...scoped, observations: all }, until);
  const hidden = all.filter((at) => !shown.includes(at));
  const entry = written({ ...scoped, observations: shown, observed: last, hidden });
  const others = withoutHeld(held, tag, digest);
  return { control: others === held ? next : { ...next, held: others }, result: entry };
}

/** The observations that may be visible; the others stay hidden even if the policy has changed. */
function candidates(
  { all, known, record }: Times,
  verify: Control['policy']['verify'],
  until: number,
): readonly number[] {
  // Without an age, the digest was held under an earlier policy, or hidden because its signature was missing.
  if (until === 0) return known;
  return verify === 'require' ? union(known, record?.observations ?? []) : all;
}

interface Times {
  readonly all: readonly number[];
  /** The observation itself, and the visible ones. */
  readonly known: readonly number[];
  readonly record: StoredEntry | undefined;
}

/**
 * The state without the failed verification of a digest, and without the records of a repair about the digest or the
 * former digest of its tag.
 */
function found(control: Control, { tag, digest }: StoredEntry, isShown: boolean): Control {
  const doubt = unverifiedOf(control.unverified, tag ?? '', digest);
  const unverified = doubt === undefined ? control.unverified : control.unverified.filter((each) => each !== doubt);
  const dropped = withoutDropped(control.dropped, tag, digest, isShown);
  return unverified === control.unverified && dropped === control.dropped
    ? control
    : { ...control, unverified, dropped };
}

function hold(control: Control, entry: StoredEntry, until: number): Judged {
  const { observations: all, tag = '', digest, observed } = entry;
  const observations = all.length > MAX_TIMES ? [...all.slice(0, 1), ...all.slice(1 - MAX_TIMES)] : all;
  const record = control.held.get(tag)?.get(digest);
  const held = written({ ...entry, observations, observed: observations.at(-1) ?? observed });
  const isKnown = JSON.stringify(held.document) === JSON.stringify(record?.document);
  const state = isKnown ? control : { ...control, held: withHeld(control.held, held) };
  return { control: state, result: { outcome: 'held', until } };
}

function earliest(...times: readonly (number | undefined)[]): number | undefined {
  const given = times.filter((time) => time !== undefined);
  return given.length === 0 ? undefined : smallest(given);
}
