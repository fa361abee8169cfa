/**
 * The invariants of docs/architecture.md, checked after every step on the bytes of the archive. The code shares nothing with
 * the code that writes them.
 */
import { createHash } from 'node:crypto';
import type { MemoryStore } from '../kit/memory-store.ts';
import type { Upload } from '../../lib/store/store.ts';
import type { PolicyAudit } from './policies.ts';
import type { Process } from './process.ts';
import { decisionOn, type Entry, type State, stateOf } from './raw-index.ts';
import type { Upstream } from './upstream.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

interface RawDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

interface RawManifest {
  readonly config?: RawDescriptor;
  readonly layers?: readonly RawDescriptor[];
  readonly manifests?: readonly RawDescriptor[];
}

interface RawReport {
  readonly repository?: string;
  readonly status: string;
  readonly digest?: string;
  readonly reason?: string;
}

const INDEX = /^repositories\/(.+)\/index\.json$/;
const REPORT = /^\.mirror\/runs\/[^./][^/]*\/[0-9a-f]+\.json$/;

export class Audit {
  readonly #memory: MemoryStore;
  readonly #upstream: Upstream;
  readonly #world: World;
  readonly #policies: PolicyAudit;
  readonly #changed = new Set<string>();
  readonly #indexes = new Map<string, readonly Entry[]>();
  readonly #states = new Map<string, State>();
  readonly #reports = new Map<string, RawReport>();
  /** The changes of each tag in the archive: `host/path:tag`. */
  readonly #history = new Map<string, { readonly at: number; readonly digest: string | undefined }[]>();
  /** Objects that the disk has damaged, or that nothing may rely on until they are written again. */
  readonly #damaged = new Map<string, number>();
  /** The children of damaged indexes. `serve` knows them from their records. */
  readonly #childrenBefore = new Map<string, readonly string[]>();
  readonly #soundSince = new Map<string, number>();
  /** Whether the closures have to be checked although the index has not changed. */
  #isStale = false;
  /** The time at which a repair removed a digest from a repository. */
  readonly #uploads = new Map<
    string,
    { readonly id: string; readonly key: string; readonly creator: Process; parts: number }
  >();
  /** Whether there are no faults, so that an upload with parts has to be continued. */
  mustResume = false;
  /** Whether all processes are fast enough, so that none of them gives up a blob and aborts its uploads. */
  mustSpare = false;
  readonly #removed = new Map<string, number>();
  /** The repairs that run now, and may remove references. */
  #repairs = 0;

  constructor(memory: MemoryStore, upstream: Upstream, world: World, policies: PolicyAudit) {
    this.#memory = memory;
    this.#upstream = upstream;
    this.#world = world;
    this.#policies = policies;
  }

  changed(key: string): void {
    this.#changed.add(key);
  }

  /** The disk is about to damage an object. */
  damaged(digest: string): void {
    this.#childrenBefore.set(digest, this.#childrenOf(digest));
    this.#damaged.set(digest, this.#world.now);
  }

  /**
   * A verification that began at a time has found these digests wrong, and its repair has ended: no reference leads to
   * them, or they are restored.
   */
  repaired(digests: ReadonlySet<string>, since: number): void {
    for (const [digest, at] of this.#damaged) if (at < since && digests.has(digest)) this.#sound(digest);
    this.#isStale = true;
    this.#checkNow();
  }

  repairing(isRunning: boolean): void {
    // The last writes still count as writes of the repair.
    if (!isRunning) this.#checkNow();
    this.#repairs += isRunning ? 1 : -1;
  }

  #checkNow(): void {
    try {
      this.check();
    } catch (error) {
      this.#world.fail(error);
    }
  }

  /** The digests that a tag of the archive had in an interval, with both ends. */
  digestsOf(reference: string, from: number, to: number): ReadonlySet<string | undefined> {
    const changes = this.#history.get(reference) ?? [];
    const found = new Set<string | undefined>();
    if ((changes[0]?.at ?? Infinity) > from) found.add(undefined);
    for (const [index, { at, digest }] of changes.entries())
      if (at <= to && (changes[index + 1]?.at ?? Infinity) >= from) found.add(digest);
    return found;
  }

  /** Whether a repair has removed a digest from a repository since then. */
  removedSince(repository: string, digest: string, from: number): boolean {
    const removed = this.#removed.get(`${repository}@${digest}`);
    return removed !== undefined && removed >= from;
  }

  /** Whether an object was damaged at some time since then. */
  isDamaged(digest: string, from: number): boolean {
    return this.#damaged.has(digest) || (this.#soundSince.get(digest) ?? -Infinity) >= from;
  }

  #sound(digest: string): void {
    this.#damaged.delete(digest);
    this.#soundSince.set(digest, this.#world.now);
  }

  /** A process begins an upload of a blob. */
  created(process: Process, { key, id }: Upload): void {
    if (process.mustResume && this.mustResume)
      for (const other of this.#uploads.values())
        if (other.key === key && other.parts > 0 && other.creator.lane === process.lane && !other.creator.isAlive)
          this.#world.fail(new Violation(`${process.name} begins ${key} again, and upload ${other.id} has parts`));
    this.#uploads.set(id, { id, key, creator: process, parts: 0 });
  }

  stored({ id }: Upload): void {
    const upload = this.#uploads.get(id);
    if (upload !== undefined) upload.parts += 1;
  }

  ended(process: Process, { key, id }: Upload, how: 'completed' | 'aborted'): void {
    const upload = this.#uploads.get(id);
    this.#uploads.delete(id);
    if (how === 'completed' || upload === undefined || !this.mustSpare) return;
    const { creator } = upload;
    const digest = key.slice('blobs/'.length).replace('/', ':');
    if (creator !== process && creator.isAlive && !this.#isProven(digest))
      this.#world.fail(
        new Violation(`${process.name} aborts upload ${id} of ${key}, which ${creator.name} still fills`),
      );
  }

  tagsOf(repository: string): ReadonlyMap<string, string> {
    const entries = this.#indexes.get(repository) ?? [];
    return new Map(entries.flatMap(({ tag, digest }) => (tag === undefined ? [] : [[tag, digest] as const])));
  }

  /** The platforms that the image of a tag is proven for: `all`, or a list with commas. */
  platformsOf(repository: string, tag: string): string | undefined {
    return this.#indexes.get(repository)?.find((entry) => entry.tag === tag)?.platforms;
  }

  /** The referrers of a manifest in the archive. */
  referrersOf(repository: string, digest: string): ReadonlySet<string> {
    const entries = this.#indexes.get(repository) ?? [];
    return new Set(entries.flatMap((entry) => (entry.subject === digest ? [entry.digest] : [])));
  }

  repositories(): readonly string[] {
    return [...this.#indexes.keys()];
  }

  /** The tag index of a repository as its bytes have it; undefined for a repository without one. */
  stateOf(repository: string): State | undefined {
    return this.#states.get(repository);
  }

  /** A manifest with all manifests below it; those that the archive lacks are left out. */
  manifestsBelow(digest: string): ReadonlySet<string> {
    const found = new Set([digest]);
    // A set yields what is added while it is iterated.
    for (const each of found) for (const child of this.#childrenOf(each)) found.add(child);
    return found;
  }

  #childrenOf(digest: string): readonly string[] {
    const bytes = this.#content(digest);
    if (bytes?.[0] !== 0x7b || hashOf(bytes) !== digest) return this.#childrenBefore.get(digest) ?? [];
    return ((jsonOf(bytes) as RawManifest).manifests ?? []).map((child) => child.digest);
  }

  report(key: string): RawReport | undefined {
    return this.#reports.get(key);
  }

  reports(): ReadonlyMap<string, RawReport> {
    return this.#reports;
  }

  /** @throws Violation */
  check(): void {
    if (this.#changed.size === 0 && !this.#isStale) return;
    const keys = [...this.#changed];
    this.#changed.clear();
    let isReachable = this.#isStale;
    this.#isStale = false;
    for (const key of keys) {
      const [, repository] = INDEX.exec(key) ?? [];
      if (repository !== undefined) this.#index(repository, this.#memory.peek(key));
      else if (REPORT.test(key)) this.#report(key);
      isReachable ||= repository !== undefined || key.startsWith('blobs/') || key.startsWith('.mirror/receipts/');
    }
    if (!isReachable) return;
    for (const digest of [...this.#damaged.keys()]) this.#healed(digest);
    this.#receipts();
    for (const [repository, { entries, held }] of this.#states)
      for (const entry of [...entries, ...held]) this.#closure(`${repository}:${entry.tag ?? entry.digest}`, entry);
  }

  /** A damaged blob counts as restored once it has the right bytes, and a receipt if it is a layer. */
  #healed(digest: string): void {
    const bytes = this.#content(digest);
    if (bytes === undefined || hashOf(bytes) !== digest) return;
    const isDocument = bytes[0] === 0x7b;
    if (isDocument || this.#isProven(digest)) this.#sound(digest);
  }

  /** Whether a blob has a receipt that is not revoked. */
  #isProven(digest: string): boolean {
    const receipt = this.#memory.peek(receiptOf(digest));
    return receipt !== undefined && (jsonOf(receipt) as { revoked?: string }).revoked === undefined;
  }

  /** Invariant 2: a receipt is correct, and its bytes exist. */
  #receipts(): void {
    for (const key of this.#memory.keys()) {
      if (!key.startsWith('.mirror/receipts/')) continue;
      const receipt = jsonOf(this.#memory.peek(key)) as {
        digest: string;
        size: number;
        diffIds: Record<string, string>;
        revoked?: string;
      };
      const { digest, size, diffIds, revoked } = receipt;
      if (revoked !== undefined) continue;
      if (this.#damaged.has(digest)) continue;
      const bytes = this.#content(digest);
      if (bytes === undefined) throw new Violation(`the receipt of ${digest} has no blob`);
      if (hashOf(bytes) !== digest) throw new Violation(`the receipt of ${digest} is for other bytes`);
      if (bytes.length !== size) throw new Violation(`the receipt of ${digest} has the wrong size`);
      // All layers of the simulation are plain tar archives.
      for (const diffId of Object.values(diffIds))
        if (diffId !== digest) throw new Violation(`the receipt of ${digest} has a wrong diffID`);
    }
  }

  /** Invariants 1, 3 and 4: the archive has the whole closure of a reference, with matching digests, and proven. */
  #closure(name: string, { digest, platforms }: Pick<Entry, 'digest' | 'platforms'>): void {
    const manifest = this.#document(name, digest);
    if (manifest === undefined) return;
    for (const child of manifest.manifests ?? []) {
      const { platform } = child;
      const isWanted =
        platforms === 'all' ||
        platform === undefined ||
        platforms.split(',').includes(`${platform.os}/${platform.architecture}`);
      if (isWanted) this.#closure(`${name} > ${digest.slice(7, 15)}`, { digest: child.digest, platforms });
    }
    for (const { digest: blob } of manifest.config === undefined ? [] : [manifest.config]) this.#document(name, blob);
    for (const { digest: blob } of manifest.layers ?? []) {
      if (this.#damaged.has(blob)) continue;
      const bytes = this.#content(blob);
      if (bytes === undefined) throw new Violation(`${name}: layer ${blob} is missing`);
      if (hashOf(bytes) !== blob) throw new Violation(`${name}: layer ${blob} has other bytes`);
      if (!this.#isProven(blob)) throw new Violation(`${name}: layer ${blob} has no receipt`);
    }
  }

  #document(name: string, digest: string): RawManifest | undefined {
    if (this.#damaged.has(digest)) return undefined;
    const bytes = this.#content(digest);
    if (bytes === undefined) throw new Violation(`${name}: ${digest} is missing`);
    if (hashOf(bytes) !== digest) throw new Violation(`${name}: ${digest} has other bytes`);
    return jsonOf(bytes) as RawManifest;
  }

  #content(digest: string): Uint8Array | undefined {
    return this.#memory.peek(`blobs/${digest.replace(':', '/')}`);
  }

  /** Invariants 5 and 6: tags move forward, to digests that upstream had, and no digest is lost. */
  #index(repository: string, bytes: Uint8Array | undefined): void {
    const before = this.#indexes.get(repository) ?? [];
    if (bytes === undefined) throw new Violation(`the tag index of ${repository} is deleted`);
    const state = stateIn(bytes);
    const { entries } = state;
    this.#indexes.set(repository, entries);
    this.#states.set(repository, state);
    const isRejected = (tag: string | undefined, digest: string): boolean =>
      decisionOn(state, tag ?? '', digest)?.action === 'reject';
    const tags = new Set<string>();
    for (const { tag, digest, observed, subject } of entries) {
      if (
        subject !== undefined &&
        !this.#upstream.referrersOf(repository, subject).some((one) => one.digest === digest)
      )
        throw new Violation(`${repository}@${digest} refers to ${subject} in the archive, and not upstream`);
      if (tag === undefined) continue;
      if (tags.has(tag)) throw new Violation(`${repository}:${tag} is there twice`);
      tags.add(tag);
      const was = before.find((entry) => entry.tag === tag);
      const { observed: last = 0 } = was ?? {};
      const isSame = was?.digest === digest;
      if (isSame && last > observed) throw new Violation(`${repository}:${tag} forgets a later observation`);
      if (!isSame && last >= observed) throw new Violation(`${repository}:${tag} moves back to ${digest}`);
      // A release counts as an observation.
      const isKnown = (isSame && last === observed) || decisionOn(state, tag, digest)?.at === observed;
      if (!isKnown && !this.#upstream.had(repository, tag, digest, observed, this.#world.now))
        throw new Violation(`${repository}:${tag} names ${digest}, which upstream did not have then`);
      if (!isSame) this.#moved(`${repository}:${tag}`, digest);
    }
    for (const { tag, hadTag, digest, observations } of before) {
      if (tag !== undefined && !tags.has(tag)) this.#moved(`${repository}:${tag}`, undefined);
      const name = tag ?? hadTag;
      const still = entries.find((entry) => entry.digest === digest && (entry.tag ?? entry.hadTag) === name);
      if (still === undefined) {
        if (this.#repairs === 0 && !isRejected(name, digest))
          throw new Violation(`${repository} loses ${digest} of ${String(name)}`);
        this.#removed.set(`${repository}@${digest}`, this.#world.now);
        continue;
      }
      const kept = new Set(still.observations);
      // Of a digest without a tag, only the first and the last observation are kept.
      if (name !== undefined && observations.some((at) => !kept.has(at)))
        throw new Violation(`${repository}:${name} forgets an observation of ${digest}`);
    }
    this.#policies.written(repository, state, this.#repairs > 0);
  }

  #moved(reference: string, digest: string | undefined): void {
    this.#history.set(reference, [...(this.#history.get(reference) ?? []), { at: this.#world.now, digest }]);
  }

  /** Invariant 7: a run's mirrored image stays mirrored. */
  #report(key: string): void {
    const bytes = this.#memory.peek(key);
    if (bytes === undefined) throw new Violation(`the report ${key} is deleted`);
    const report = jsonOf(bytes) as RawReport;
    const before = this.#reports.get(key);
    this.#reports.set(key, report);
    const { status, digest, repository } = report;
    if (status === 'mirrored' && digest !== undefined && repository !== undefined) {
      const isThere = (this.#indexes.get(repository) ?? []).some((entry) => entry.digest === digest);
      if (!isThere && !this.#removed.has(`${repository}@${digest}`))
        throw new Violation(`the report ${key} is mirrored, and the archive has no ${digest}`);
    }
    if (before?.status === 'mirrored' && report.status !== 'mirrored' && before.digest === report.digest)
      throw new Violation(`the report ${key} was mirrored, and is ${report.status} now`);
    if (before !== undefined && before.status !== 'pending' && report.status === 'pending')
      throw new Violation(`the report ${key} was ${before.status}, and is pending again`);
  }
}

function receiptOf(digest: string): string {
  return `.mirror/receipts/${digest.replace(':', '/')}.json`;
}

const states = new WeakMap<Uint8Array, State>();

function stateIn(bytes: Uint8Array): State {
  const known = states.get(bytes);
  if (known !== undefined) return known;
  const state = stateOf(bytes);
  states.set(bytes, state);
  return state;
}

const hashes = new WeakMap<Uint8Array, string>();

/** Stored bytes are never changed in place, so each object is hashed once. */
export function hashOf(bytes: Uint8Array): string {
  const known = hashes.get(bytes);
  if (known !== undefined) return known;
  const hash = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  hashes.set(bytes, hash);
  return hash;
}

const documents = new WeakMap<Uint8Array, unknown>();

function jsonOf(bytes: Uint8Array | undefined): unknown {
  if (bytes === undefined) throw new Violation('an object is missing');
  const known = documents.get(bytes);
  if (known !== undefined) return known;
  const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
  documents.set(bytes, value);
  return value;
}
