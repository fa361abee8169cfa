/**
 * The tag index of a repository: an OCI image index (image-layout.md, "index.json file") whose entries can be pulled.
 * Pure: it parses a document, answers questions about it, and applies observations.
 *
 * An entry with `org.opencontainers.image.ref.name` is a tag. An entry without one is kept by its digest: it was
 * requested by digest, or a tag moved on; then it records that tag and the time. Each digest appears once per tag.
 * Observations of different instants give the same index in whatever order, and however often, they are applied; of two
 * with the same instant, the one that was applied first stays.
 */
import type { Digest } from '../../oci/digest.ts';
import { MEDIA_TYPES } from '../../oci/mediatype.ts';
import type { StoredEntry, TagEntry } from './entry.ts';
import { type Control, isEmpty, NO_CONTROL, PROPERTY, withoutDigests, writeControl } from './control.ts';
import {
  type Applied,
  type Entries,
  type ReferrerCheck,
  type TagChange,
  TagIndexDraft,
  type TagOutcome,
} from './draft.ts';
import {
  formatOf,
  inThisFormat,
  nameOf,
  newer,
  rejectedIn,
  repairedAt,
  withPresentRejected,
  withRejected,
} from './format.ts';
import { NO_ENTRIES, parseDocument, type Parts } from './parse.ts';
import { compare, coversAll } from './platforms.ts';
import { entriesWithout, withObservations } from './remove.ts';
import { entryAsOf, groupAsOf, type Period, periodsOf, type TagGroup } from './history.ts';
import { FutureTimes, timesUpTo } from './times.ts';

export { ANNOTATIONS, type TagEntry } from './entry.ts';
export { covers, isWithin, type Platforms, provenPlatforms, scopesOf } from './platforms.ts';
export type { Applied, ReferrerCheck, TagChange, TagOutcome } from './draft.ts';
export type { Period } from './history.ts';

/** An index after changes, and the outcome of each change. */
interface AppliedChanges {
  readonly index: TagIndex;
  readonly outcomes: readonly TagOutcome[];
  readonly applied: readonly Applied[];
}

export class TagIndex {
  readonly #entries: Entries;
  /** The document without its manifests. */
  readonly #document: Readonly<Record<string, unknown>>;
  /**
   * The name of the document if a newer release wrote it; this release may read such a document, and must not write it.
   */
  readonly #newer: string | undefined;
  #byDigest: ReadonlyMap<Digest, TagEntry> | undefined;
  #bySubject: ReadonlyMap<Digest, ReadonlyMap<Digest, TagEntry>> | undefined;

  private constructor(entries: Entries, document: Readonly<Record<string, unknown>>, newerName?: string) {
    this.#entries = entries;
    this.#document = document;
    this.#newer = newerName;
  }

  static empty(): TagIndex {
    const document = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex };
    return new TagIndex(NO_ENTRIES, inThisFormat(document, NO_ENTRIES.removed));
  }

  /**
   * @param name of the document, in errors
   * @param now milliseconds since the epoch; later times are refused, with a tolerance for differing clocks
   * @throws Failure `corrupt` with the path; an unreadable entry is not left out, since the next write would lose it.
   *   `unsupported` for a format that this release does not know
   */
  static parse(bytes: Uint8Array, name: string, now = Date.now()): TagIndex {
    return TagIndex.#of(parseDocument(bytes, name, timesUpTo(now)));
  }

  /**
   * Reads an index for verification and repair: the result has the present for each time in the future.
   *
   * @returns also the fault of the document, where it has such a time
   * @throws Failure as `parse`, and `unsupported` for such a time in a document that this release must not write
   */
  static parseRepaired(
    bytes: Uint8Array,
    name: string,
    now = Date.now(),
  ): { readonly index: TagIndex; readonly fault?: string } {
    const future = new FutureTimes(now);
    const stored = TagIndex.#of(parseDocument(bytes, name, future));
    const { fault } = future;
    if (fault === undefined) return { index: stored };
    const times = future.inPresent();
    const { entries } = parseDocument(bytes, name, times);
    return { index: stored.#changedTo(entries, withPresentRejected(stored.#document, times)), fault };
  }

  static #of({ entries, document, newer: name }: Parts): TagIndex {
    return new TagIndex(entries, document, name);
  }

  /** The number of entries. */
  get size(): number {
    const { tags, kept, others } = this.#entries;
    return [...kept.values()].reduce((sum, group) => sum + group.size, tags.size + others.length);
  }

  /** Whether it has never had an entry. */
  get isFresh(): boolean {
    return this.size + this.control.held.size + this.#entries.removed.size === 0;
  }

  byTag(tag: string): TagEntry | undefined {
    return this.#entries.tags.get(tag);
  }

  /** An entry with this digest, with or without a tag; if there are several, the one with the most proven platforms. */
  byDigest(digest: Digest): TagEntry | undefined {
    if (this.#byDigest === undefined) {
      const byDigest = new Map<Digest, TagEntry>();
      for (const entry of this.#all()) {
        const known = byDigest.get(entry.digest);
        if (known === undefined || !coversAll(known, entry)) byDigest.set(entry.digest, entry);
      }
      this.#byDigest = byDigest;
    }
    return this.#byDigest.get(digest);
  }

  /** The entries that refer to a manifest, each digest once, in the order of their digests. */
  referrersOf(subject: Digest): readonly TagEntry[] {
    if (this.#bySubject === undefined) {
      const bySubject = new Map<Digest, Map<Digest, TagEntry>>();
      for (const entry of this.#all()) {
        if (entry.subject === undefined) continue;
        const referrers = bySubject.get(entry.subject) ?? new Map<Digest, TagEntry>();
        bySubject.set(entry.subject, referrers.set(entry.digest, entry));
      }
      this.#bySubject = bySubject;
    }
    return [...(this.#bySubject.get(subject)?.values() ?? [])].sort((a, b) => compare(a.digest, b.digest));
  }

  /** Tags first, sorted by name; then entries kept by digest, the newest of each tag first. */
  entries(): readonly TagEntry[] {
    return this.#sorted();
  }

  /** The digests that a tag named, in the order of time; empty for a tag that it never had. */
  history(tag: string): readonly Period[] {
    const rejected = rejectedIn(this.#document);
    return periodsOf(this.#group(tag), (at) => rejected.has(nameOf(tag, at)));
  }

  /** The digest that a tag named at an instant, in milliseconds since the epoch. */
  tagAsOf(tag: string, instant: number): TagEntry | undefined {
    return groupAsOf(tag, this.#group(tag), instant).current;
  }

  /**
   * The entries as they were at an instant, in milliseconds since the epoch, with the platforms that are proven now.
   * Entries without a time, as those of other tools, are left out. The result is for reading.
   */
  asOf(instant: number): TagIndex {
    const tags = new Map<string, StoredEntry>();
    const kept = new Map<string, ReadonlyMap<Digest, StoredEntry>>();
    for (const tag of new Set([...this.#entries.tags.keys(), ...this.#entries.kept.keys()])) {
      if (tag === '') continue;
      const { current, left } = groupAsOf(tag, this.#group(tag), instant);
      if (current !== undefined) tags.set(tag, current);
      kept.set(tag, byDigest(left));
    }
    const untagged = [...(this.#entries.kept.get('')?.values() ?? [])];
    kept.set('', byDigest(untagged.flatMap((entry) => entryAsOf(entry, instant) ?? [])));
    const entries = { tags, kept, others: [], removed: new Map(), control: NO_CONTROL };
    return new TagIndex(entries, this.#document, this.#newer);
  }

  /**
   * Applies observations, and returns the outcome of each; the same index where nothing changes.
   *
   * @param now milliseconds since the epoch, for the ends of periods
   * @throws Failure `unsupported` if a newer release wrote the index
   */
  apply(changes: readonly TagChange[], now = Date.now()): AppliedChanges {
    const draft = new TagIndexDraft(this.#entries, now);
    const applied = changes.map((change) => draft.observe(change));
    draft.settle();
    const outcomes = applied.map(({ outcome }) => outcome);
    return { index: draft.changed ? this.#changedTo(draft.entries) : this, outcomes, applied };
  }

  /** The policy, and the digests that it withholds. */
  get control(): Control {
    return this.#entries.control;
  }

  /** The index with another state of its policy (withheld.ts). */
  withControl(control: Control): TagIndex {
    return control === this.control ? this : this.#changedTo({ ...this.#entries, control });
  }

  /** Makes held entries visible; `control` has the decision of a person about each. */
  releasing(held: readonly StoredEntry[], control: Control, now: number): TagIndex {
    const draft = new TagIndexDraft({ ...this.#entries, control }, now);
    for (const entry of held) draft.release(entry);
    draft.settle();
    return this.#changedTo(draft.entries);
  }

  /**
   * Records checks for new referrers; the same index where nothing changes.
   *
   * @throws Failure `unsupported` if a newer release wrote the index
   */
  checked(checks: readonly ReferrerCheck[]): TagIndex {
    const draft = new TagIndexDraft(this.#entries, 0);
    for (const check of checks) draft.check(check);
    draft.settle();
    return draft.changed ? this.#changedTo(draft.entries) : this;
  }

  /**
   * Removes the entries that name these digests, with or without a tag; the same index where there are none. The times
   * of their observations stay, so that the history names no other digest for these times.
   *
   * @param cause of the removal, for the history
   * @throws Failure `unsupported` if a newer release wrote the index
   */
  without(digests: ReadonlySet<Digest>, cause: 'repair' | 'rejection' = 'repair'): TagIndex {
    const stays = ({ digest }: StoredEntry): boolean => !digests.has(digest);
    const all = [...this.#all()];
    if (all.every(stays)) return this.withControl(withoutDigests(this.control, digests));
    const gone = all.filter((entry) => !stays(entry));
    const document = cause === 'repair' ? this.#document : withRejected(this.#document, withObservations(gone));
    return this.#changedTo(entriesWithout(this.#entries, gone, digests), document);
  }

  /**
   * The same entries in another version, so that writes based on this version fail; this index itself if it must not be
   * written.
   */
  repaired(now: number): TagIndex {
    return this.#newer === undefined ? new TagIndex(this.#entries, repairedAt(this.#document, now)) : this;
  }

  #changedTo(entries: Entries, before = this.#document): TagIndex {
    if (this.#newer !== undefined) throw newer('write', this.#newer, formatOf(this.#document));
    const control = isEmpty(entries.control) ? NO_CONTROL : entries.control;
    const document = inThisFormat(before, entries.removed, control !== NO_CONTROL);
    return new TagIndex({ ...entries, control }, document);
  }

  #group(tag: string): TagGroup {
    const { tags, kept, removed } = this.#entries;
    return { current: tags.get(tag), left: [...(kept.get(tag)?.values() ?? [])], removed: removed.get(tag) ?? [] };
  }

  /** The same entries give the same bytes. Each entry has its own line, so that text tools can compare two indexes. */
  serialise(): Uint8Array {
    const property = writeControl(this.control);
    const document = property === undefined ? this.#document : { ...this.#document, [PROPERTY]: property };
    const head = JSON.stringify(document).slice(0, -1);
    const lines = this.#sorted().map((entry) => JSON.stringify(entry.document));
    return Buffer.from(`${head},"manifests":[\n${lines.join(',\n')}\n]}\n`);
  }

  *#all(): Generator<StoredEntry, void, void> {
    yield* this.#entries.tags.values();
    for (const kept of this.#entries.kept.values()) yield* kept.values();
    yield* this.#entries.others;
  }

  #sorted(): StoredEntry[] {
    const { tags, kept, others } = this.#entries;
    const newestFirst = (a: StoredEntry, b: StoredEntry): number =>
      b.observed - a.observed || compare(a.digest, b.digest);
    return [
      ...[...tags].sort(([a], [b]) => compare(a, b)).map(([, entry]) => entry),
      ...[...kept].sort(([a], [b]) => compare(a, b)).flatMap(([, group]) => [...group.values()].sort(newestFirst)),
      ...others,
    ];
  }
}

function byDigest(entries: Iterable<StoredEntry>): ReadonlyMap<Digest, StoredEntry> {
  return new Map([...entries].map((entry) => [entry.digest, entry]));
}
