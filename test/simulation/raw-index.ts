/** A tag index as its bytes have it. The code shares nothing with lib/archive. */

interface RawDescriptor {
  readonly digest: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Entry {
  readonly tag: string | undefined;
  readonly hadTag: string | undefined;
  readonly digest: string;
  readonly observed: number;
  readonly observations: readonly number[];
  /** Observations before the digest was visible. */
  readonly hidden: readonly number[];
  readonly platforms: string;
  /** The manifest that a referrer refers to. */
  readonly subject: string | undefined;
}

export interface RawPolicy {
  readonly referrers: unknown;
  readonly verify: string;
  readonly minimumAgeMs: number;
  readonly initial?: string;
  readonly moved: string;
}

export interface RawDecision {
  readonly action: string;
  readonly tag?: string;
  readonly digest: string;
  readonly at: number;
}

export interface Unverified {
  readonly tag?: string;
  readonly digest: string;
  readonly first: number;
}

/** The state of a repository at one time. */
export interface State {
  readonly entries: readonly Entry[];
  readonly hasControl: boolean;
  readonly policy: RawPolicy;
  readonly initial: 'open' | number | undefined;
  readonly held: readonly Entry[];
  readonly unverified: readonly Unverified[];
  readonly decisions: readonly RawDecision[];
  /** Times at which a tag named a digest that a repair has removed: `tag` to the times. */
  readonly removed: ReadonlyMap<string, readonly number[]>;
}

export const FREE: RawPolicy = { referrers: 'all', verify: 'off', minimumAgeMs: 0, moved: 'follow' };

export const NO_STATE: State = {
  entries: [],
  hasControl: false,
  policy: FREE,
  initial: undefined,
  held: [],
  unverified: [],
  decisions: [],
  removed: new Map(),
};

interface RawControl {
  readonly policy?: RawPolicy;
  readonly initial?: string;
  readonly held?: readonly RawDescriptor[];
  readonly unverified?: readonly { readonly tag?: string; readonly digest: string; readonly first: string }[];
  readonly decisions?: readonly (Omit<RawDecision, 'at'> & { readonly at: string })[];
}

interface RawIndex {
  readonly manifests: readonly RawDescriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly 'dev.mirror-sync'?: RawControl;
}

export function stateOf(bytes: Uint8Array): State {
  const document = JSON.parse(Buffer.from(bytes).toString('utf8')) as RawIndex;
  const { manifests, annotations = {}, 'dev.mirror-sync': control } = document;
  const { initial, held = [], unverified = [], decisions = [], policy = FREE } = control ?? {};
  const removed = new Map<string, number[]>();
  for (const text of annotations['dev.mirror-sync.removed']?.split(',') ?? []) {
    const [tag = '', time = ''] = text.split('@');
    removed.set(tag, [...(removed.get(tag) ?? []), Date.parse(time)]);
  }
  return {
    entries: manifests.map(entryOf),
    hasControl: control !== undefined,
    policy,
    initial: initial === undefined || initial === 'open' ? initial : Date.parse(initial),
    held: held.map(entryOf),
    unverified: unverified.map((each) => ({ ...each, first: Date.parse(each.first) })),
    decisions: decisions.map((each) => ({ ...each, at: Date.parse(each.at) })),
    removed,
  };
}

function entryOf({ digest, annotations = {} }: RawDescriptor): Entry {
  const timesOf = (name: string): number[] => annotations[name]?.split(',').map((text) => Date.parse(text)) ?? [];
  const observations = [...timesOf('dev.mirror-sync.observations'), ...timesOf('dev.mirror-sync.observed')];
  return {
    tag: annotations['org.opencontainers.image.ref.name'],
    hadTag: annotations['dev.mirror-sync.tag'],
    digest,
    observed: Math.max(...observations),
    observations: [...new Set(observations)].sort((a, b) => a - b),
    hidden: timesOf('dev.mirror-sync.held'),
    platforms: annotations['dev.mirror-sync.platforms'] ?? 'all',
    subject: annotations['dev.mirror-sync.subject'],
  };
}

/** The name under which an entry was observed: its tag, its former tag, or `''`. */
export function nameOf({ tag, hadTag }: Pick<Entry, 'tag' | 'hadTag'>): string {
  return tag ?? hadTag ?? '';
}

/** Any image may name a subject; only one without a tag, or under the tag of cosign, is a referrer. */
export function isReferrer({ tag, hadTag, subject }: Entry): boolean {
  const name = tag ?? hadTag;
  return subject !== undefined && (name === undefined || name.startsWith(subject.replace(':', '-')));
}

/** The last decision about a digest under a tag. */
export function decisionOn({ decisions }: State, name: string, digest: string): RawDecision | undefined {
  const about = decisions.filter(
    (each) => each.digest === digest && (each.action === 'reject' || each.tag === undefined || each.tag === name),
  );
  return about.sort((a, b) => a.at - b.at).at(-1);
}

/**
 * The digest that a tag had at an instant according to the history; undefined if it had none, or if that digest was
 * removed.
 */
export function digestAt({ entries, removed }: State, tag: string, instant: number): string | undefined {
  let last = { at: -Infinity, digest: undefined as string | undefined };
  for (const at of removed.get(tag) ?? []) if (at <= instant && at > last.at) last = { at, digest: undefined };
  for (const entry of entries)
    if (nameOf(entry) === tag)
      for (const at of entry.observations) if (at <= instant && at >= last.at) last = { at, digest: entry.digest };
  return last.digest;
}
