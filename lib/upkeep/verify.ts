/**
 * Proves an archive from its references and rejected images down, without relying on earlier proofs. Every reachable manifest,
 * config and blob is read and hashed once, and every image's layers are unpacked and compared with its config.
 */
import { asFailure, Failure } from '../core/failure.ts';
import type { Archive } from '../archive/archive.ts';
import { scopesOf, type TagEntry, type TagIndex } from '../archive/tag-index/tag-index.ts';
import { heldIn, rejectionsIn } from '../archive/tag-index/withheld.ts';
import type { Digest } from '../oci/digest.ts';
import type { Scope } from '../queue/messages.ts';
import { MANIFEST_LIMITS, type Manifest } from '../oci/manifest.ts';
import { type Blob, type Claims, unclaimedBlobs } from '../sync/claims.ts';
import { compare, type Node, readClaims, traverse } from '../sync/closure.ts';
import {
  type Fault,
  type Inspected,
  Inspector,
  type InspectorOptions,
  isAbsent,
  isVerdict,
  markerFault,
} from './inspect.ts';

export interface Problem extends Fault {
  readonly repository: string;
  /**
   * The reference that leads to it: `host/path:tag` or `host/path@digest`, of a held image `host/path:tag@digest`, of a
   * rejected one `host/path@digest`; the repository where the tag index has a fault.
   */
  readonly reference: string;
  readonly tag?: string | undefined;
  /** A policy holds the image, so that no client can pull it yet. */
  readonly isHeld?: boolean;
  /** A person has rejected the image: no reference leads to it, and a sync after a release relies on its receipts. */
  readonly isRejected?: boolean;
  /** The digest that the reference names. */
  readonly root?: Digest;
  /** The wrong object. */
  readonly digest?: Digest;
}

export interface Verified {
  readonly references: number;
  /** The number of these images that a policy holds. */
  readonly held: number;
  /** Objects read and hashed, and their bytes. */
  readonly objects: number;
  readonly bytes: number;
  readonly problems: readonly Problem[];
  /** The references that were checked, by `checkedName`. */
  readonly checked: ReadonlySet<string>;
}

/** The progress of a verification. */
export interface Progress {
  /** The current repository, its number counted from 1, and the number of repositories. */
  readonly repository: string;
  readonly position: number;
  readonly total: number;
  /** The objects that were read and hashed so far. */
  readonly objects: number;
  readonly bytes: number;
}

export interface VerifyOptions extends InspectorOptions {
  /** Only these repositories; by default, all of the archive. */
  readonly repositories?: readonly string[];
  /** Whether these are all repositories of the archive; tag indexes outside any repository are then reported. */
  readonly isWhole?: boolean;
  readonly onProgress?: (progress: Progress) => void;
  readonly onProblem?: (problem: Problem) => void;
}

/** Verifies an archive. A temporary read error is thrown: a partial verification gives no result. */
export async function verifyArchive(archive: Archive, options: VerifyOptions): Promise<Verified> {
  return new Verification(archive, options).run();
}

/** `host/path:tag` or `host/path@digest`. */
function nameOf(repository: string, { tag, digest }: TagEntry): string {
  return tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`;
}

/** The references of a repository: those that clients can pull, and those that a policy holds. */
export function referencesOf(
  repository: string,
  index: TagIndex,
): readonly (Pick<Problem, 'reference' | 'isHeld'> & { readonly entry: TagEntry })[] {
  const visible = index.entries().map((entry) => ({ entry, reference: nameOf(repository, entry), isHeld: false }));
  // The name contains the digest, because the tag may name another, visible digest.
  const held = heldIn(index).map(({ entry }) => {
    const name = entry.tag === undefined ? repository : `${repository}:${entry.tag}`;
    return { entry, reference: `${name}@${entry.digest}`, isHeld: true };
  });
  return [...visible, ...held];
}

/** A key for the content of a reference in its checked scopes. */
export function checkedName(repository: string, entry: TagEntry): string {
  return JSON.stringify([repository, entry.digest, scopesOf(entry)]);
}

/** The start of a walk. */
type Origin = Required<Pick<Problem, 'repository' | 'reference' | 'root' | 'tag' | 'isHeld'>> &
  Pick<Problem, 'isRejected'>;

class Verification {
  readonly #archive: Archive;
  readonly #o: VerifyOptions;
  readonly #inspector: Inspector;
  /** By its text: several images and scopes of one reference may share an object. */
  readonly #problems = new Map<string, Problem>();
  readonly #report = (problem: Problem): void => {
    const text = JSON.stringify(problem);
    if (this.#problems.has(text)) return;
    this.#problems.set(text, problem);
    this.#o.onProblem?.(problem);
  };
  #at: Pick<Progress, 'repository' | 'position' | 'total'> | undefined;

  constructor(archive: Archive, options: VerifyOptions) {
    this.#archive = archive;
    this.#o = options;
    this.#inspector = new Inspector(archive, options, () => {
      this.#tell();
    });
  }

  async run(): Promise<Verified> {
    const checked = new Set<string>();
    let [references, held] = [0, 0];
    const { signal, isWhole = this.#o.repositories === undefined } = this.#o;
    const { repositories = await Array.fromAsync(this.#archive.repositories({ signal })) } = this.#o;
    if (isWhole) await this.#foreignIndexes();
    for (const [index, repository] of repositories.entries()) {
      this.#at = { repository, position: index + 1, total: repositories.length };
      this.#tell();
      const unmarked = await markerFault(this.#archive, repository, signal);
      if (unmarked !== undefined) this.#report({ repository, reference: repository, ...unmarked });
      const tags = await this.#index(repository);
      for (const { entry, reference, isHeld = false } of tags === undefined ? [] : referencesOf(repository, tags)) {
        references += 1;
        if (isHeld) held += 1;
        checked.add(checkedName(repository, entry));
        const origin = { repository, reference, root: entry.digest, tag: entry.tag, isHeld };
        for (const scope of scopesOf(entry)) await new Reference(origin, scope, this.#inspector, this.#report).check();
      }
      if (tags !== undefined) await this.#rejected(repository, tags);
    }
    const { objects, bytes } = this.#inspector;
    return { references, held, objects, bytes, problems: [...this.#problems.values()], checked };
  }

  async #rejected(repository: string, tags: TagIndex): Promise<void> {
    const { layout, store } = this.#archive;
    for (const root of new Set(rejectionsIn(tags).map(({ digest }) => digest))) {
      // A person can reject any digest, also that of a layer.
      const found = await store.head(layout.blob(root), { signal: this.#o.signal });
      if (found === undefined || found.size > MANIFEST_LIMITS.bytes) continue;
      const reference = `${repository}@${root}`;
      const origin = { repository, reference, root, tag: undefined, isHeld: false, isRejected: true };
      await new Reference(origin, { platforms: 'all' }, this.#inspector, this.#report).check();
    }
  }

  #tell(): void {
    const { objects, bytes } = this.#inspector;
    if (this.#at !== undefined) this.#o.onProgress?.({ ...this.#at, objects, bytes });
  }

  /** No command reads these, so an image in one of them is not mirrored. */
  async #foreignIndexes(): Promise<void> {
    const { layout, store } = this.#archive;
    const reason = 'the folder is not named after a repository, so no command reads this tag index; remove the folder';
    for await (const { key } of store.list(layout.repositories, { signal: this.#o.signal }))
      if (layout.isForeignIndex(key)) this.#report({ repository: key, reference: key, reason, repair: {} });
  }

  /** Reads a tag index. An unreadable one is a problem of its repository; the other repositories are verified. */
  async #index(repository: string): Promise<TagIndex | undefined> {
    try {
      const { index, fault } = (await this.#archive.repairedIndex(repository, { signal: this.#o.signal })) ?? {};
      if (fault !== undefined)
        this.#report({ repository, reference: repository, reason: fault, repair: { times: true } });
      return index;
    } catch (error) {
      if (!(error instanceof Failure) || !(error.code === 'corrupt' || error.code === 'unsupported')) throw error;
      this.#report({ repository, reference: repository, reason: error.message, repair: {} });
      return undefined;
    }
  }
}

/** Verifies one reference, and everything below it. */
class Reference {
  readonly #origin: Origin;
  readonly #scope: Scope;
  readonly #inspector: Inspector;
  readonly #report: (problem: Problem) => void;
  /** Documents that are missing or wrong, with the fault. */
  readonly #faults = new Map<Digest, Fault>();
  /** The document that was read last: a parser's failure does not contain its digest. */
  #at: Digest;

  constructor(origin: Origin, scope: Scope, inspector: Inspector, report: (problem: Problem) => void) {
    this.#origin = origin;
    this.#scope = scope;
    this.#inspector = inspector;
    this.#report = report;
    this.#at = origin.root;
  }

  async check(): Promise<void> {
    const { root } = this.#origin;
    try {
      for await (const node of traverse(root, this.#scope.platforms, (...of) => this.#content(...of)))
        await this.#node(node);
    } catch (error) {
      this.#verdict(error, (code) => (code === 'no-platform' ? root : this.#at));
    }
  }

  async #node({ digest, manifest, optional }: Node): Promise<void> {
    if (manifest === undefined) {
      this.#lacking(digest, optional);
      return;
    }
    const claims = await this.#claims(digest, manifest, optional);
    const inspected = new Map<Blob, Inspected>();
    const blobs = claims?.blobs ?? unclaimedBlobs(manifest, this.#scope);
    await Promise.all(blobs.map(async (blob) => inspected.set(blob, await this.#inspector.blob(blob))));
    let sound = true;
    for (const [{ digest: of, size }, { proof, fault }] of inspected) {
      if (fault !== undefined && !(optional && isAbsent(fault))) this.#problem(of, fault);
      const fits = proof === undefined || size === undefined || proof.size === size;
      if (!fits) this.#wrong(of, `expected ${size} bytes, got ${proof.size}`);
      sound &&= proof !== undefined && fits;
    }
    if (claims === undefined || !sound) return;
    try {
      compare(digest, manifest, claims, this.#scope, (blob) => inspected.get(blob)?.proof);
    } catch (error) {
      this.#verdict(error, () => digest);
    }
  }

  /** The claims of a manifest; undefined where they cannot be read, which is reported. */
  async #claims(digest: Digest, manifest: Manifest, optional: boolean): Promise<Claims | undefined> {
    try {
      const read = await readClaims(digest, manifest, this.#scope, (...of) => this.#content(...of));
      if ('claims' in read) return read.claims;
      this.#lacking(read.missing, optional);
    } catch (error) {
      this.#verdict(error, (code) => (code.endsWith('-mismatch') ? digest : this.#at));
    }
    return undefined;
  }

  async #content(digest: Digest, maxBytes: number): Promise<Uint8Array | undefined> {
    this.#at = digest;
    const found = await this.#inspector.document(digest, maxBytes);
    if (found instanceof Uint8Array) return found;
    this.#faults.set(digest, found);
    return undefined;
  }

  /** @param optional whether the image runs without it, so that a missing object is not a problem */
  #lacking(digest: Digest, optional: boolean): void {
    const fault = this.#faults.get(digest);
    if (fault !== undefined && !(optional && isAbsent(fault))) this.#problem(digest, fault);
  }

  /** Every object matches its digest, but the objects contradict each other: only the references have to be removed. */
  #verdict(error: unknown, about: (code: Failure['code']) => Digest): void {
    const failure = asFailure(error, `verify ${this.#at}`, 'archive');
    if (!isVerdict(failure)) throw error;
    this.#wrong(about(failure.code), failure.detail);
  }

  #wrong(digest: Digest, reason: string): void {
    this.#problem(digest, { reason, repair: { drop: true } });
  }

  #problem(digest: Digest, fault: Fault): void {
    const { etag, revoke, receipt } = fault.repair;
    // Nothing requires that a rejected image is complete. Only its wrong bytes and receipts can mislead a later sync.
    if (this.#origin.isRejected === true && (etag ?? revoke ?? receipt) === undefined) return;
    this.#report({ ...this.#origin, digest, ...fault });
  }
}
