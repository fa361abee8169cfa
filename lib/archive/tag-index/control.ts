/**
 * The policy of a repository and the digests that it withholds, in a property of the tag index. Tools and older releases ignore the
 * property, so they see no withheld image.
 */
import { defined } from '../../core/defined.ts';
import { type Decision, MAX_DECISION_TEXT, MAX_DECISIONS } from '../../policy/decisions.ts';
import type { Initial } from '../../policy/hold.ts';
import { isSamePolicy, NO_POLICY, parsePolicy, type Policy, serialisePolicy } from '../../policy/policy.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Place } from '../../oci/document.ts';
import { type Dropped, readDropped, writeDropped } from './dropped.ts';
import { formatTimes, readEntry, type StoredEntry } from './entry.ts';
import { compare } from './platforms.ts';
import { readTimeIn, type Times } from './times.ts';

export const PROPERTY = 'dev.mirror-sync';

/** A digest without the required signature. */
export interface Unverified {
  readonly tag?: string;
  readonly digest: Digest;
  /** The first observation and the last check, in milliseconds since the epoch. */
  readonly first: number;
  readonly checked: number;
  readonly reason: string;
  /** The name of the signers that have refused it (`policy/verification.ts`); the next run checks a digest without it. */
  readonly signers?: string;
}

export interface Control {
  readonly policy: Policy;
  readonly initial: Initial;
  /** Held entries by tag (`''` for none) and digest. */
  readonly held: ReadonlyMap<string, ReadonlyMap<Digest, StoredEntry>>;
  readonly unverified: readonly Unverified[];
  readonly decisions: readonly Decision[];
  /** Digests that a repair has removed. */
  readonly dropped: readonly Dropped[];
}

export const NO_CONTROL: Control = {
  policy: NO_POLICY,
  initial: undefined,
  held: new Map(),
  unverified: [],
  decisions: [],
  dropped: [],
};

/** The maximum lengths of the lists. */
const LIMITS = { held: 1_000_000, unverified: 10_000 } as const;
/** Digests that one tag has withheld; without the oldest, a digest that returns starts a new period. */
const HELD_PER_TAG = 16;

/** The records of a repair outlive the policy: a policy that returns applies to these digests as before. */
export function isEmpty({ policy, held, unverified, decisions, dropped }: Control): boolean {
  const records = held.size + unverified.length + decisions.length + dropped.length;
  return isSamePolicy(policy, NO_POLICY) && records === 0;
}

/** @throws Failure that names the place */
export function readControl(document: Place, times: Times, isNewer: boolean): Control {
  const place = document.entry(PROPERTY);
  if (!place.given) return NO_CONTROL;
  const policy = place.at('policy');
  const initial = place.at('initial');
  const held = new Map<string, Map<Digest, StoredEntry>>();
  for (const each of place.at('held').optionalList(LIMITS.held) ?? []) {
    const entry = readEntry(each, times);
    if (entry.observations.length === 0) throw each.fail('has no time of an observation');
    const group = held.get(entry.tag ?? '') ?? new Map<Digest, StoredEntry>();
    held.set(entry.tag ?? '', group.set(entry.digest, entry));
  }
  return {
    policy: policy.given ? parsePolicy(policy, isNewer) : NO_POLICY,
    initial: !initial.given ? undefined : initial.is('open') ? 'open' : times.read(initial, initial.text()),
    held,
    unverified: (place.at('unverified').optionalList(LIMITS.unverified) ?? []).map((each) =>
      readUnverified(each, times),
    ),
    decisions: (place.at('decisions').optionalList(MAX_DECISIONS) ?? []).map((each) => readDecision(each, times)),
    dropped: readDropped(place.at('dropped'), times),
  };
}

function readUnverified(place: Place, times: Times): Unverified {
  return defined({
    tag: place.at('tag').optionalText(),
    digest: place.at('digest').digest(),
    first: readTimeIn(place, 'first', times),
    checked: readTimeIn(place, 'checked', times),
    reason: place.at('reason').text(),
    signers: place.at('signers').optionalText(),
  });
}

function readDecision(place: Place, times: Times): Decision {
  const action = (['release', 'reject'] as const).find((each) => place.at('action').is(each));
  if (action === undefined) throw place.at('action').fail('must be release or reject');
  return defined({
    action,
    tag: place.at('tag').optionalText(),
    digest: place.at('digest').digest(),
    by: place.at('by').text(),
    at: readTimeIn(place, 'at', times),
    reason: place.at('reason').text(),
  });
}

/** The property of the document; undefined if it would be empty. Equal states have equal texts. */
export function writeControl(control: Control): Readonly<Record<string, unknown>> | undefined {
  if (isEmpty(control)) return undefined;
  const { policy, initial, held, unverified, decisions, dropped } = control;
  const byName = (a: Unverified | Decision, b: Unverified | Decision): number =>
    compare(a.tag ?? '', b.tag ?? '') || compare(a.digest, b.digest);
  return defined({
    policy: serialisePolicy(policy),
    initial: typeof initial === 'number' ? formatTimes([initial]) : initial,
    held: heldEntries(held).map(({ document }) => document),
    unverified: unverified.toSorted(byName).map(({ first, checked, ...rest }) => ({
      ...rest,
      first: formatTimes([first]),
      checked: formatTimes([checked]),
    })),
    decisions: decisions.toSorted(byName).map(({ at, ...rest }) => ({ ...rest, at: formatTimes([at]) })),
    dropped: writeDropped(dropped),
  });
}

/** All held entries, sorted by tag and digest. */
export function heldEntries(held: Control['held']): readonly StoredEntry[] {
  return [...held]
    .sort(([a], [b]) => compare(a, b))
    .flatMap(([, group]) => [...group.values()].sort((a, b) => compare(a.digest, b.digest)));
}

export function withHeld(held: Control['held'], entry: StoredEntry): Control['held'] {
  const name = entry.tag ?? '';
  const group = new Map(held.get(name)).set(entry.digest, entry);
  if (name !== '' && group.size > HELD_PER_TAG) {
    const [oldest] = [...group.values()].sort((a, b) => a.observed - b.observed || compare(a.digest, b.digest));
    if (oldest !== undefined) group.delete(oldest.digest);
  }
  return new Map(held).set(name, group);
}

export function withoutHeld(held: Control['held'], tag: string, digest: Digest): Control['held'] {
  if (held.get(tag)?.has(digest) !== true) return held;
  const group = new Map(held.get(tag));
  group.delete(digest);
  const all = new Map(held);
  if (group.size === 0) all.delete(tag);
  else all.set(tag, group);
  return all;
}

/** The list with an observation of a digest without the required signature. */
export function withUnverified(
  unverified: readonly Unverified[],
  observation: Pick<Unverified, 'digest' | 'reason'> & {
    readonly tag: string | undefined;
    readonly observed: number;
    readonly signers: string | undefined;
  },
): readonly Unverified[] {
  const { tag, digest, observed } = observation;
  const known = unverifiedOf(unverified, tag ?? '', digest);
  const first = Math.min(known?.first ?? observed, observed);
  const checked = Math.max(known?.checked ?? observed, observed);
  const last = known !== undefined && observed < known.checked ? known : observation;
  const [text, signers] = [last.reason.slice(0, MAX_DECISION_TEXT), last.signers];
  if (known?.first === first && known.checked === checked && known.reason === text && known.signers === signers)
    return unverified;
  const others = unverified.filter((each) => each !== known).sort((a, b) => b.checked - a.checked);
  return [...others.slice(0, LIMITS.unverified - 1), defined({ tag, digest, first, checked, reason: text, signers })];
}

export function unverifiedOf(unverified: readonly Unverified[], tag: string, digest: Digest): Unverified | undefined {
  return unverified.find((each) => each.digest === digest && (each.tag ?? '') === tag);
}

/** The state without the held entries of digests that cannot be read. */
export function withoutDigests(control: Control, digests: ReadonlySet<Digest>): Control {
  let { held } = control;
  for (const { tag = '', digest } of heldEntries(held)) if (digests.has(digest)) held = withoutHeld(held, tag, digest);
  return held === control.held ? control : { ...control, held };
}
