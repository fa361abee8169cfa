/**
 * The invariants of policies (docs/trust.md), checked after each write of a tag index. The model knows when each registry was
 * asked for each tag, the texts of mirror.yaml, and the decisions of people. It shares no code with lib/policy and lib/archive.
 */
import { decisionOn, type Entry, FREE, isReferrer, nameOf, NO_STATE, type RawPolicy, type State } from './raw-index.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

const MINUTE = 60_000;
const UNITS: Readonly<Record<string, number>> = { m: MINUTE, h: 60 * MINUTE, d: 24 * 60 * MINUTE };
/** The maximum time for which a message may wait with the policy of an older configuration. */
const STALE_MS = 6 * 60 * MINUTE;
/** The longest invocation, during which a process may still apply a policy that has changed since. */
const INVOCATION_MS = 15 * MINUTE;

interface FinalizeBody {
  readonly repository: string;
  readonly image: { readonly tag?: string; readonly digest?: string; readonly observed?: number };
}

interface Configured {
  readonly from: number;
  until: number;
  readonly policies: ReadonlyMap<string, RawPolicy>;
}

/** The policies in a text of `configOf`; undefined for a text that is not valid. */
function policiesIn(text: string): ReadonlyMap<string, RawPolicy> | undefined {
  const [head = '', ...mirrors] = text.split('  - source: ');
  if (mirrors.length === 0) return undefined;
  const read = (part: string): Readonly<Record<string, unknown>> => {
    const [, json = '{}'] = /policy: (\{.*\})\n/.exec(part) ?? [];
    return JSON.parse(json) as Readonly<Record<string, unknown>>;
  };
  const common = read(head);
  return new Map(
    mirrors.map((part) => {
      const { minimumAge = '0m', initial, signers: _, ...rest } = { ...common, ...read(part) };
      const [, count = '0', unit = 'm'] = /^(\d+)([mhd])$/.exec(minimumAge as string) ?? [];
      const first = initial === undefined ? {} : { initial: initial as string };
      return [part.split('\n')[0] ?? '', { ...FREE, minimumAgeMs: Number(count) * UNITS[unit]!, ...first, ...rest }];
    }),
  );
}

function isSame(a: RawPolicy, b: RawPolicy): boolean {
  const text = ({ referrers, verify, minimumAgeMs, initial, moved }: RawPolicy): string =>
    JSON.stringify([referrers, verify, minimumAgeMs, initial, moved]);
  return text(a) === text(b);
}

function wordOf(at: number): string {
  return Number.isFinite(at) ? new Date(at).toISOString() : String(at);
}

export class PolicyAudit {
  readonly #world: World;
  readonly #configured: Configured[] = [];
  /** The first request to a registry that found a digest under a tag, or the first request for a digest. */
  readonly #asked = new Map<string, number>();
  /** The first observation that an index has recorded. */
  readonly #recorded = new Map<string, number>();
  /** The first visible observation of each digest that an index has made visible. */
  readonly #shown = new Map<string, number>();
  /** The last delivery of a message to the finalizer about an observation. */
  readonly #delivered = new Map<string, number>();
  /** The digest that a tag had last. */
  readonly #pinned = new Map<string, string>();
  readonly #states = new Map<string, { readonly at: number; readonly state: State }[]>();

  constructor(world: World) {
    this.#world = world;
  }

  configured(text: string): void {
    const policies = policiesIn(text);
    // The last valid configuration stays in use.
    if (policies === undefined) return;
    const last = this.#configured.at(-1);
    if (last !== undefined) last.until = this.#world.now;
    this.#configured.push({ from: this.#world.now, until: Infinity, policies });
  }

  /** A registry was asked at a time, and named a digest for a tag; or a digest was requested without a tag (`''`). */
  asked(repository: string, name: string, digest: string, at: number): void {
    const key = keyOf(repository, name, digest);
    this.#asked.set(key, Math.min(this.#asked.get(key) ?? Infinity, at));
  }

  /** A finalizer gets a message, possibly once more. */
  delivered(body: string): void {
    const { repository, image } = JSON.parse(body) as Partial<FinalizeBody>;
    const { tag = '', digest, observed } = image ?? {};
    if (repository !== undefined && digest !== undefined && observed !== undefined)
      this.#delivered.set(`${keyOf(repository, tag, digest)}|${observed}`, this.#world.now);
  }

  /** The decision of a person is recorded. */
  decided(repository: string, action: string, tag: string | undefined, digest: string, at: number): void {
    const isThere = this.#last(repository).decisions.some(
      (each) => each.digest === digest && each.tag === tag && (each.at > at || each.action === action),
    );
    if (!isThere) throw new Violation(`${repository} has not recorded to ${action} ${digest} of ${String(tag)}`);
  }

  /** The states of a repository in an interval, with both ends. */
  statesOf(repository: string, from: number, to: number): readonly State[] {
    const all = this.#states.get(repository) ?? [];
    const found = all.filter(({ at }, index) => at <= to && (all[index + 1]?.at ?? Infinity) >= from);
    return found.length === 0 || (all[0]?.at ?? Infinity) > from
      ? [NO_STATE, ...found.map(({ state }) => state)]
      : found.map(({ state }) => state);
  }

  #last(repository: string): State {
    return this.#states.get(repository)?.at(-1)?.state ?? NO_STATE;
  }

  /** The time before which a digest must not be visible under a name. */
  earliest(repository: string, name: string, digest: string, state: State): number {
    const key = keyOf(repository, name, digest);
    const first = this.#asked.get(key) ?? Infinity;
    const { policy, initial } = state;
    const isInitial = policy.initial === 'accept' && initial !== undefined && (initial === 'open' || first <= initial);
    const age = isInitial ? 0 : policy.minimumAgeMs;
    const decision = decisionOn(state, name, digest);
    const released = decision?.action === 'release' ? decision.at : Infinity;
    return Math.min(first + age, released, this.#shown.get(key) ?? Infinity);
  }

  /** The end of the period of a held digest, by its first recorded observation. */
  dueAt(repository: string, name: string, digest: string): number {
    const first = this.#recorded.get(keyOf(repository, name, digest)) ?? this.#world.now;
    return first + this.#last(repository).policy.minimumAgeMs;
  }

  /** The digest that a tag keeps under `moved: keep`. */
  pinOf(repository: string, tag: string): string | undefined {
    return this.#pinned.get(`${repository}:${tag}`);
  }

  /** @throws Violation */
  written(repository: string, after: State, isRepairing: boolean): void {
    const before = this.#last(repository);
    const states = this.#states.get(repository) ?? [];
    states.push({ at: this.#world.now, state: after });
    this.#states.set(repository, states);
    if (before.hasControl || after.hasControl) this.#judge(repository, before, after, isRepairing);
    this.#remember(repository, before, after, isRepairing);
  }

  #judge(repository: string, before: State, after: State, isRepairing: boolean): void {
    this.#policy(repository, before, after);
    this.#decisions(repository, before, after);
    for (const entry of after.held) this.#heldEntry(repository, before, after, entry);
    for (const entry of before.held) this.#stays(repository, after, entry, isRepairing);
    for (const entry of after.entries) if (!isReferrer(entry)) this.#visible(repository, before, after, entry);
    this.#tags(repository, before, after, isRepairing);
  }

  /** A policy comes from a configuration of the last hours, and the first run of a repository ends once. */
  #policy(repository: string, before: State, after: State): void {
    const { now } = this.#world;
    if (!isSame(before.policy, after.policy)) {
      const recent = this.#configured.filter(({ until }) => until >= now - STALE_MS);
      const isConfigured = recent.some(({ policies }) => {
        const policy = policies.get(repository);
        return policy !== undefined && isSame(policy, after.policy);
      });
      if (!isConfigured) throw new Violation(`${repository} records a policy that no configuration has`);
    }
    const [was, is] = [before.initial, after.initial];
    if (was === is || (!after.hasControl && is === undefined)) return;
    const isNew = (this.#states.get(repository) ?? []).every(({ state: { entries } }) => entries.every(isUntagged));
    if (was === undefined && is === 'open' && isNew) return;
    if (was === 'open' && typeof is === 'number' && is <= now) return;
    throw new Violation(`the first run of ${repository} was ${String(was)}, and is ${String(is)}`);
  }

  #decisions(repository: string, before: State, after: State): void {
    for (const { digest, tag, at } of before.decisions)
      if (!after.decisions.some((each) => each.digest === digest && each.tag === tag && each.at >= at))
        throw new Violation(`${repository} loses the decision on ${digest} of ${String(tag)}`);
  }

  #heldEntry(repository: string, before: State, after: State, entry: Entry): void {
    const { digest, observations } = entry;
    const name = nameOf(entry);
    const key = keyOf(repository, name, digest);
    const words = `${repository}:${name} holds ${digest}`;
    if (decisionOn(after, name, digest)?.action === 'reject') throw new Violation(`${words}, which was rejected`);
    const isVisible = (state: State): boolean =>
      state.entries.some((each) => each.digest === digest && nameOf(each) === name);
    if (isVisible(after)) throw new Violation(`${words}, and shows it`);
    if (this.#shown.has(key)) throw new Violation(`${words}, which was visible${isVisible(before) ? ' just now' : ''}`);
    this.#remembers(key, words, observations);
  }

  #remembers(key: string, words: string, times: readonly number[]): void {
    const first = this.#recorded.get(key) ?? Infinity;
    if (Math.min(...times) > first) throw new Violation(`${words}, and forgets its observation of ${wordOf(first)}`);
  }

  /** A held digest is never lost. */
  #stays(repository: string, after: State, entry: Entry, isRepairing: boolean): void {
    const { digest } = entry;
    const name = nameOf(entry);
    const isThere = [...after.held, ...after.entries].some((each) => each.digest === digest && nameOf(each) === name);
    if (isThere || isRepairing || decisionOn(after, name, digest)?.action === 'reject') return;
    throw new Violation(`${repository}:${name} loses ${digest}, which was held`);
  }

  #visible(repository: string, before: State, after: State, entry: Entry): void {
    const { digest, observations, hidden } = entry;
    const name = nameOf(entry);
    const key = keyOf(repository, name, digest);
    const words = `${repository}:${name} shows ${digest}`;
    const of = (state: readonly Entry[]): readonly number[] =>
      state.find((each) => each.digest === digest && nameOf(each) === name)?.observations ?? [];
    const known = of(before.entries);
    const fresh = observations.filter((at) => !known.includes(at));
    const earliest = this.earliest(repository, name, digest, after);
    const hasBeenHeld = of(before.held);
    for (const at of fresh) {
      if (at < earliest || this.#world.now < earliest)
        throw new Violation(`${words} since ${wordOf(at)}, and its time is ${wordOf(earliest)}`);
      const isRepeated = (this.#delivered.get(`${key}|${at}`) ?? -Infinity) >= this.#world.now - INVOCATION_MS;
      if (after.policy.minimumAgeMs === 0 && hasBeenHeld.includes(at) && !isRepeated)
        throw new Violation(`${words} for ${wordOf(at)}, when it was held`);
    }
    if (fresh.length > 0 && after.policy.verify === 'require' && !this.#shown.has(key)) this.onUnchecked(key);
    if (decisionOn(after, name, digest)?.action === 'reject') throw new Violation(`${words}, which was rejected`);
    if (after.hasControl) this.#remembers(key, words, [...hidden, ...observations]);
  }

  /** Called with the key of a digest that becomes visible where a signature is required. */
  onUnchecked: (key: string) => void = () => undefined;

  /** `moved: keep` and `fail`: only a release moves a visible tag. */
  #tags(repository: string, before: State, after: State, isRepairing: boolean): void {
    const current = new Map(
      after.entries.flatMap(({ tag, digest }) => (tag === undefined ? [] : [[tag, digest] as const])),
    );
    for (const { tag } of before.entries) {
      const was = tag === undefined ? undefined : this.#pinned.get(`${repository}:${tag}`);
      if (tag === undefined || was === undefined || current.has(tag) || isRepairing) continue;
      if (decisionOn(after, tag, was)?.action !== 'reject') throw new Violation(`${repository} loses the tag ${tag}`);
    }
    for (const [tag, digest] of current) {
      const name = `${repository}:${tag}`;
      const was = this.#pinned.get(name);
      if (was === undefined || was === digest || after.policy.moved === 'follow') continue;
      if (decisionOn(after, tag, digest)?.action !== 'release')
        throw new Violation(`${name} moves from ${was} to ${digest}, although the policy keeps it`);
    }
  }

  #remember(repository: string, before: State, after: State, isRepairing: boolean): void {
    const isRejected = (entry: Entry): boolean => decisionOn(after, nameOf(entry), entry.digest)?.action === 'reject';
    // Without a policy, an index records nothing about the digests that a repair has removed.
    const forgets = isRepairing && !after.hasControl;
    for (const entry of before.entries) {
      const name = nameOf(entry);
      const isGone = !after.entries.some((each) => each.digest === entry.digest && nameOf(each) === name);
      if (isGone && (forgets || isRejected(entry))) this.#forget(repository, name, entry.digest);
      else if (isGone) this.#recorded.delete(keyOf(repository, name, entry.digest));
    }
    for (const entry of before.held) if (isRejected(entry)) this.#forget(repository, nameOf(entry), entry.digest);
    // A rejection frees the tag, also after a repair has removed the digest.
    for (const [name, digest] of this.#pinned) {
      if (!name.startsWith(`${repository}:`)) continue;
      const tag = name.slice(repository.length + 1);
      if (decisionOn(after, tag, digest)?.action === 'reject') this.#forget(repository, tag, digest);
    }
    for (const entry of after.entries) {
      if (isReferrer(entry)) continue;
      const key = keyOf(repository, nameOf(entry), entry.digest);
      const [first = Infinity] = entry.observations;
      this.#shown.set(key, Math.min(this.#shown.get(key) ?? Infinity, first));
      this.#record(key, [...entry.hidden, ...entry.observations]);
      if (entry.tag !== undefined) this.#pinned.set(`${repository}:${entry.tag}`, entry.digest);
    }
    for (const entry of after.held) this.#record(keyOf(repository, nameOf(entry), entry.digest), entry.observations);
  }

  #record(key: string, times: readonly number[]): void {
    this.#recorded.set(key, Math.min(this.#recorded.get(key) ?? Infinity, ...times));
  }

  #forget(repository: string, name: string, digest: string): void {
    const key = keyOf(repository, name, digest);
    this.#shown.delete(key);
    this.#recorded.delete(key);
    if (this.#pinned.get(`${repository}:${name}`) === digest) this.#pinned.delete(`${repository}:${name}`);
  }
}

function isUntagged({ tag, hadTag }: Entry): boolean {
  return tag === undefined && hadTag === undefined;
}

function keyOf(repository: string, name: string, digest: string): string {
  return `${repository}|${name}|${digest}`;
}
