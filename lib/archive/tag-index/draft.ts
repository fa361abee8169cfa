import type { Digest } from '../../oci/digest.ts';
import { merged, provesTheSame, type Scope, type StoredEntry, unionOf, written } from './entry.ts';

/** Upstream was seen to say that `tag` names this; without a tag, that this is there. Its closure is proven for the scope. */
export interface TagChange extends Scope {
  readonly tag?: string;
  readonly descriptor: { readonly mediaType: string; readonly digest: Digest; readonly size: number };
  /** Milliseconds since the epoch. */
  readonly observed: number;
}

/**
 * What became of a change.
 * - `written`: the index says something that it did not: the tag names this, or more platforms of it are proven.
 * - `unchanged`: the index said so already, if perhaps since an earlier time.
 * - `older`: the tag was seen to name something else since. The digest is kept without it.
 */
export type TagOutcome = 'written' | 'unchanged' | 'older';

/** By tag; by the tag that they had (`''` for none) and digest; and what is not an entry of ours, as it was found. */
export interface Entries {
  readonly tags: ReadonlyMap<string, StoredEntry>;
  readonly kept: ReadonlyMap<string, ReadonlyMap<Digest, StoredEntry>>;
  readonly others: readonly StoredEntry[];
}

/**
 * A tag index while it changes. What it was made of stays as it is; of that, only what is touched is copied, so that a
 * hundred changes of ten thousand entries cost one pass over these and no more.
 */
export class TagIndexDraft {
  readonly #tags: Map<string, StoredEntry>;
  readonly #kept: Map<string, ReadonlyMap<Digest, StoredEntry>>;
  readonly #copied = new Map<string, Map<Digest, StoredEntry>>();
  readonly #others: StoredEntry[];
  #changed = false;

  constructor({ tags, kept, others }: Entries) {
    this.#tags = new Map(tags);
    this.#kept = new Map(kept);
    this.#others = [...others];
  }

  get changed(): boolean {
    return this.#changed;
  }

  get entries(): Entries {
    return { tags: this.#tags, kept: this.#kept, others: this.#others };
  }

  /** An entry of a document; false for a tag that is there already. */
  add(entry: StoredEntry): boolean {
    const { tag, hadTag, observed } = entry;
    if (tag !== undefined) {
      if (this.#tags.has(tag)) return false;
      this.#tags.set(tag, entry);
    } else if (hadTag !== undefined || observed !== 0) this.#keep(hadTag ?? '', entry);
    else this.#others.push(entry);
    return true;
  }

  observe(change: TagChange): TagOutcome {
    const seen = entryOf(change);
    const { tag } = seen;
    if (tag === undefined) return this.#keep('', seen) ? 'written' : 'unchanged';
    const outcome = this.#observe(tag, seen);
    this.#date(tag);
    return outcome;
  }

  #observe(tag: string, seen: StoredEntry): TagOutcome {
    const current = this.#tags.get(tag);
    if (current?.digest === seen.digest) {
      // Later looks at the same count too: without them, an observation from between could move the tag back.
      const both = merged(current, seen);
      this.#set(tag, both);
      return provesTheSame(current, both) ? 'unchanged' : 'written';
    }
    if (current !== undefined && seen.observed <= current.observed) {
      this.#keep(tag, left(seen, tag));
      return 'older';
    }
    const before = this.#take(tag, seen.digest);
    this.#set(tag, before === undefined ? seen : merged(tagged(before, tag), seen));
    if (current !== undefined) this.#keep(tag, left(current, tag));
    return 'written';
  }

  #set(tag: string, entry: StoredEntry): void {
    if (this.#tags.get(tag) === entry) return;
    this.#tags.set(tag, entry);
    this.#changed = true;
  }

  /** Keeps an entry by digest, once; false where that says nothing new. */
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
   * When a tag left each digest that it had: when it was next seen to name another. Made anew from all that is known, since
   * an observation that comes late may be from between.
   */
  #date(tag: string): void {
    const kept = this.#kept.get(tag);
    const current = this.#tags.get(tag);
    if (kept === undefined || kept.size === 0 || current === undefined) return;
    let [instant, next] = [current.observed, current.observed];
    for (const entry of [...kept.values()].sort((a, b) => b.observed - a.observed)) {
      if (entry.observed < instant) [instant, next] = [entry.observed, instant];
      if (entry.replaced === next) continue;
      this.#group(tag).set(entry.digest, written({ ...entry, replaced: next }));
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

function entryOf({ tag, descriptor, observed, platforms, foreignLayers }: TagChange): StoredEntry {
  const { mediaType, digest, size } = descriptor;
  const fields = { tag, digest, mediaType, size, observed, hadTag: undefined, replaced: undefined };
  const proven = unionOf(platforms, []);
  const [whole, skipping] = foreignLayers === 'skip' ? [undefined, proven] : [proven, undefined];
  return written({ ...fields, platforms: whole, skipping, document: {} });
}

function left(entry: StoredEntry, tag: string): StoredEntry {
  return written({ ...entry, tag: undefined, hadTag: tag });
}

function tagged(entry: StoredEntry, tag: string): StoredEntry {
  return written({ ...entry, tag, hadTag: undefined, replaced: undefined });
}
