import type { Digest } from '../../oci/digest.ts';
import { subjectOfCosignTag } from '../../oci/referrer-tags.ts';
import { laterCheck, sorted } from './awaited.ts';
import { type Control, NO_CONTROL, withUnverified } from './control.ts';
import { merged, type StoredEntry, type TagEntry, written } from './entry.ts';
import type { Removed } from './format.ts';
import { provesTheSame, type Scope, unionOf } from './platforms.ts';
import { instantsOf, replacedAt } from './history.ts';
import { settled } from './settle.ts';
import { judge, type Observation, type Withheld } from './withhold.ts';

/**
 * An observation: upstream named this digest for `tag`, or had this digest, if `tag` is missing. Its closure is proven
 * for the scope.
 */
export interface TagChange extends Scope {
  readonly tag?: string;
  readonly descriptor: { readonly mediaType: string; readonly digest: Digest; readonly size: number };
  /** Milliseconds since the epoch. */
  readonly observed: number;
  /** The manifest that a referrer refers to, and its artifact type. */
  readonly subject?: Digest;
  readonly artifactType?: string;
  /** Of an attestation by this archive: the id of its key. */
  readonly attestedBy?: string;
  /** The time at which upstream was asked for referrers of the image, in milliseconds since the epoch. */
  readonly checked?: number;
  /** The referrers that were ordered then, and that the archive lacks. */
  readonly awaited?: readonly Digest[];
  /** A signer of the policy has signed it; `at` is the time that a log proves, in milliseconds since the epoch. */
  readonly verified?: { readonly by: string; readonly at?: number };
  /** The reason why the required signature is missing; nothing below the digest is proven then. */
  readonly unverified?: string;
  /** The name of the signers that have refused it. */
  readonly signers?: string;
}

/** A check of an image for new referrers, without an observation of the image. */
export interface ReferrerCheck {
  /** If it is missing, the entry is the one that is kept by its digest alone. */
  readonly tag?: string;
  readonly digest: Digest;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** The referrers that were ordered, and that the archive lacks. */
  readonly awaited?: readonly Digest[];
}

/**
 * The outcome of a change.
 *
 * - `written`: the index is new in that the tag names this digest, or more of its platforms are proven.
 * - `unchanged`: the index had this entry, possibly since an earlier time.
 * - `older`: a later observation of the tag names another digest. This digest is kept without the tag.
 * - the others: the policy withholds the digest (withhold.ts).
 */
export type TagOutcome = 'written' | 'unchanged' | 'older' | Withheld['outcome'];

/** The outcome of a change, with the facts of a withheld digest. */
export interface Applied extends Omit<Withheld, 'outcome'> {
  readonly outcome: TagOutcome;
  /** Whether this changes the recorded state of a withheld digest. */
  readonly isNew?: boolean;
}

/** Entries by tag, by their former tag (`''` for none) and digest, and unchanged entries of other tools. */
export interface Entries {
  readonly tags: ReadonlyMap<string, StoredEntry>;
  readonly kept: ReadonlyMap<string, ReadonlyMap<Digest, StoredEntry>>;
  readonly others: readonly StoredEntry[];
  readonly removed: Removed;
  readonly control: Control;
}

/**
 * A tag index that is being changed. The source stays unchanged; only touched parts are copied, so that a hundred
 * changes of ten thousand entries cost one pass over the entries.
 */
export class TagIndexDraft {
  readonly #tags: Map<string, StoredEntry>;
  readonly #kept: Map<string, ReadonlyMap<Digest, StoredEntry>>;
  readonly #copied = new Map<string, Map<Digest, StoredEntry>>();
  readonly #others: StoredEntry[];
  readonly #removed: Removed;
  readonly #now: number;
  #control: Control;
  #changed = false;

  /** @param now milliseconds since the epoch */
  constructor({ tags, kept, others, removed, control }: Entries, now: number) {
    this.#now = now;
    this.#control = control;
    this.#tags = new Map(tags);
    this.#kept = new Map(kept);
    this.#others = [...others];
    this.#removed = removed;
  }

  get changed(): boolean {
    return this.#changed;
  }

  get entries(): Entries {
    const control = this.#control;
    return { tags: this.#tags, kept: this.#kept, others: this.#others, removed: this.#removed, control };
  }

  /** Adds an entry of a document; false for a repeated tag. */
  add(entry: StoredEntry): boolean {
    const { tag, hadTag, observed } = entry;
    if (tag !== undefined) {
      if (this.#tags.has(tag)) return false;
      this.#tags.set(tag, entry);
    } else if (hadTag !== undefined || observed !== 0) this.#keep(hadTag ?? '', entry);
    else this.#others.push(entry);
    return true;
  }

  observe(change: TagChange): Applied {
    const { verified, unverified: refused, signers } = change;
    const seen = entryOf(change);
    if (refused !== undefined) return this.#refuse(seen, refused, signers);
    const shown = this.#judge({ seen, verified: verified !== undefined, refused });
    return 'outcome' in shown ? shown : { outcome: this.#show(shown) };
  }

  /**
   * Nothing below a digest without the required signature is proven. It never becomes visible, even if the policy has
   * changed.
   */
  #refuse({ tag, digest, observed }: StoredEntry, reason: string, signers: string | undefined): Applied {
    if (this.#control.policy.verify !== 'require') return { outcome: 'unverified', reason };
    const unverified = withUnverified(this.#control.unverified, { tag, digest, observed, reason, signers });
    const isNew = unverified !== this.#control.unverified;
    if (isNew) {
      this.#control = { ...this.#control, unverified };
      this.#changed = true;
    }
    return { outcome: 'unverified', reason, isNew };
  }

  /** Makes a held entry visible by the decision of a person; it must have an observation after the decision. */
  release(held: StoredEntry): void {
    const shown = this.#judge({ seen: held, verified: true, refused: undefined });
    if (!('outcome' in shown)) this.#show(shown);
  }

  #show(seen: StoredEntry): 'written' | 'unchanged' | 'older' {
    const { tag } = seen;
    if (tag === undefined) return this.#keep('', seen) ? 'written' : 'unchanged';
    const outcome = this.#observe(tag, seen);
    this.#date(tag);
    return outcome;
  }

  /** Records a check, unless its entry no longer exists. */
  check({ tag, digest, at, awaited = [] }: ReferrerCheck): void {
    const entry = tag === undefined ? this.#kept.get('')?.get(digest) : this.#tags.get(tag);
    if (entry?.digest !== digest) return;
    const check = laterCheck(entry, { checked: at, awaited: sorted(awaited) });
    if (check.checked === entry.checked && check.awaited.join() === entry.awaited.join()) return;
    this.#replace({ ...entry, ...check });
  }

  /** Removes the referrers from the entries that await them, if they are in the archive by now. */
  settle(): void {
    for (const entry of settled([this.#tags, ...this.#kept.values()])) this.#replace(entry);
  }

  #replace(entry: StoredEntry): void {
    const { tag, hadTag = '', digest } = entry;
    if (tag === undefined) this.#group(hadTag).set(digest, written(entry));
    else this.#tags.set(tag, written(entry));
    this.#changed = true;
  }

  #judge(observation: Observation): Applied | StoredEntry {
    const { tag = '', digest } = observation.seen;
    // A referrer is not an image: it is served if its subject is. A repository without a policy has no other states.
    if (this.#control === NO_CONTROL || isReferrer(observation.seen)) return observation.seen;
    const current = this.#tags.get(tag);
    const entry = current?.digest === digest ? current : this.#kept.get(tag)?.get(digest);
    const { control, result } = judge(this.#control, observation, { entry, current: current?.digest }, this.#now);
    const isNew = control !== this.#control;
    if (isNew) {
      this.#control = control;
      this.#changed = true;
    }
    const isRecorded = 'outcome' in result && (result.outcome === 'held' || result.outcome === 'unverified');
    return isRecorded ? { ...result, isNew } : result;
  }

  #observe(tag: string, seen: StoredEntry): 'written' | 'unchanged' | 'older' {
    const current = this.#tags.get(tag);
    if (current?.digest === seen.digest) {
      // Later observations of the same digest are recorded too; otherwise a late message could move the tag back.
      const both = merged(current, seen);
      this.#set(tag, both);
      return provesTheSame(current, both) ? 'unchanged' : 'written';
    }
    // A tag whose last digest a repair has removed names no older digest either.
    const isOlder = current === undefined ? this.#isRemovedAfter(tag, seen) : seen.observed <= current.observed;
    if (isOlder) {
      this.#keep(tag, left(seen, tag));
      return 'older';
    }
    const before = this.#take(tag, seen.digest);
    this.#set(tag, before === undefined ? seen : merged(tagged(before, tag), seen));
    if (current !== undefined) this.#keep(tag, left(current, tag));
    return 'written';
  }

  #isRemovedAfter(tag: string, { observed }: StoredEntry): boolean {
    return (this.#removed.get(tag) ?? []).some((at) => at > observed);
  }

  #set(tag: string, entry: StoredEntry): void {
    if (this.#tags.get(tag) === entry) return;
    this.#tags.set(tag, entry);
    this.#changed = true;
  }

  /** Keeps an entry by digest, once; returns false if nothing changes. */
  #keep(hadTag: string, entry: StoredEntry): boolean {
    const known = this.#kept.get(hadTag)?.get(entry.digest);
    const both = known === undefined ? entry : merged(known, entry);
    if (both === known) return false;
    this.#group(hadTag).set(entry.digest, both);
    this.#changed = true;
    return known === undefined || !provesTheSame(known, both);
  }

  #take(hadTag: string, digest: Digest): StoredEntry | undefined {
    const entry = this.#kept.get(hadTag)?.get(digest);
    if (entry !== undefined) this.#group(hadTag).delete(digest);
    return entry;
  }

  /**
   * Computes when a tag left each of its former digests for the last time: when it was next observed with another digest. It is
   * computed from all observations each time, since a late message may carry an observation from between.
   */
  #date(tag: string): void {
    const kept = this.#kept.get(tag);
    const current = this.#tags.get(tag);
    if (kept === undefined || kept.size === 0) return;
    const instants = instantsOf({ current, left: [...kept.values()], removed: this.#removed.get(tag) ?? [] });
    for (const entry of [...kept.values()]) {
      const known = entry.replaced !== undefined && entry.replaced > entry.observed ? entry.replaced : Infinity;
      // Of two observations of one instant, the first that was applied counts.
      const first = Math.min(replacedAt(entry, instants) ?? Infinity, known);
      const replaced = first === Infinity ? current?.observed : first;
      if (replaced === undefined || entry.replaced === replaced) continue;
      this.#group(tag).set(entry.digest, written({ ...entry, replaced }));
      this.#changed = true;
    }
  }

  #group(hadTag: string): Map<Digest, StoredEntry> {
    let group = this.#copied.get(hadTag);
    if (group === undefined) {
      group = new Map(this.#kept.get(hadTag));
      this.#copied.set(hadTag, group);
      this.#kept.set(hadTag, group);
    }
    return group;
  }
}

/**
 * Any image may name a subject. Under a tag, only the tag of cosign for that subject makes it a referrer; the policy
 * applies to all others.
 */
export function isReferrer({ tag, subject }: TagEntry): boolean {
  return subject !== undefined && (tag === undefined || subjectOfCosignTag(tag) === subject);
}

function entryOf(change: TagChange): StoredEntry {
  const { tag, descriptor, observed, platforms, foreignLayers, subject, artifactType, verified } = change;
  const { checked, awaited = [], attestedBy } = change;
  const { mediaType, digest, size } = descriptor;
  const observations = observed === 0 ? [] : [observed];
  const former = { hadTag: undefined, replaced: undefined, hidden: [], signed: verified?.at };
  const fields = { tag, digest, mediaType, size, observed, observations, ...former };
  const proven = unionOf(platforms, []);
  const [whole, skipping] = foreignLayers === 'skip' ? [undefined, proven] : [proven, undefined];
  const refers = { subject, artifactType, checked, awaited: sorted(awaited), attestedBy };
  return written({ ...fields, ...refers, platforms: whole, skipping, document: {} });
}

function left(entry: StoredEntry, tag: string): StoredEntry {
  return written({ ...entry, tag: undefined, hadTag: tag });
}

function tagged(entry: StoredEntry, tag: string): StoredEntry {
  return written({ ...entry, tag, hadTag: undefined, replaced: undefined });
}
