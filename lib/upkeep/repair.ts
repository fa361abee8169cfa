import { Failure } from '../core/failure.ts';
import type { Archive } from '../archive/archive.ts';
import { scopesOf, type TagEntry } from '../archive/tag-index/tag-index.ts';
import type { Digest } from '../oci/digest.ts';
import type { Proof } from '../proof/prover.ts';
import type { Scope } from '../queue/messages.ts';
import { cachedReader } from '../sync/cached-reader.ts';
import { type ClosureReader, held, readClaims, traverse } from '../sync/closure.ts';
import { receiptFor } from '../sync/receipts.ts';
import { isVerdict } from './inspect.ts';
import { checkedName, type Problem, referencesOf } from './verify.ts';

export interface Repaired {
  /** References that were removed. */
  readonly dropped: ReadonlySet<string>;
  /** Blobs whose receipt was rewritten. */
  readonly receipts: number;
}

export interface RepairOptions {
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** The references that the verification has checked; by default, the repair checks all of them itself. */
  readonly checked?: ReadonlySet<string>;
}

/** A reference that a repair removes. */
export interface Removal {
  readonly reference: string;
  /** Whether the next sync requests it again, as it does for tags. */
  readonly restorable: boolean;
  /** Whether a policy holds the image; its minimum age continues to count. */
  readonly isHeld: boolean;
}

/** The references that a repair of these problems would remove, each once. */
export function removalsOf(problems: readonly Problem[]): readonly Removal[] {
  const removals = problems
    .filter(({ repair, isRejected }) => repair.drop && isRejected !== true)
    .map(({ reference, tag, isHeld = false }) => ({ reference, restorable: tag !== undefined, isHeld }));
  return [...new Map(removals.map((removal) => [removal.reference, removal])).values()];
}

/**
 * Removes the wrong objects that `verify` found in an archive, rewrites the receipts of proven blobs and wrong markers, and
 * sets times in the future to the present. A sync may run concurrently: in any order of their steps, removed bytes keep
 * neither a reference nor a receipt.
 *
 * 1. Revoke the receipts of corrupt blobs, so that no sync relies on them. If the process is killed after this step,
 * running the repair again is safe. A receipt that a sync has written meanwhile stays.
 * 2. Remove the references that lead to corrupt blobs, so that everything that is left can be pulled (invariant 1), and give
 * all tag indexes another version. A finalizer that has read a receipt before step 1 cannot write then, and checks again.
 * 3. Remove the references that were written after the verification had read the tag indexes, and lead to such blobs.
 * 4. Delete the bytes on condition that they are the bytes that were read, so that the correct bytes of a concurrent
 *   sync stay with their receipt.
 */
export async function repairArchive(
  archive: Archive,
  problems: readonly Problem[],
  options: RepairOptions,
): Promise<Repaired> {
  const { store, layout } = archive;
  const { signal, now } = options;
  for (const { repository, repair } of problems) {
    if (repair.marker) await archive.mark(repository, { signal });
    if (repair.times) await archive.dropReferences(repository, new Set(), now, { signal });
  }
  const revoked = new Map(problems.map(({ digest, repair }) => [digest, repair.revoke]));
  for (const [digest, etag] of revoked)
    if (digest !== undefined && etag !== undefined) await archive.revokeReceipt(digest, etag, now, { signal });
  const wrong = problems.filter(({ repair }) => repair.drop);
  const late = wrong.length === 0 ? [] : await dropReferences(archive, wrong, options);
  for (const { digest, repair } of wrong)
    if (digest !== undefined && repair.etag !== undefined)
      await store.delete(layout.blob(digest), { etag: repair.etag, signal });
  const proven = provenIn(problems);
  for (const { proof, repository } of proven) await archive.putReceipt(receiptFor(proof, repository, now), { signal });
  const dropped = removalsOf(wrong).map(({ reference }) => reference);
  return { dropped: new Set([...dropped, ...late]), receipts: proven.length };
}

/** Steps 2 and 3. Returns the names of the references that the verification has not seen. */
async function dropReferences(
  archive: Archive,
  wrong: readonly Problem[],
  { signal, now, checked }: RepairOptions,
): Promise<readonly string[]> {
  const roots = Map.groupBy(wrong, ({ repository }) => repository);
  const readable: string[] = [];
  for (const repository of await archive.markedRepositories({ signal })) {
    const digests = new Set((roots.get(repository) ?? []).flatMap(({ root }) => root ?? []));
    const dropping = archive.dropReferences(repository, digests, now, { signal });
    if (digests.size > 0) await dropping;
    if (await isReadable(dropping)) readable.push(repository);
  }
  const search = new LostObjects(archive, new Set(wrong.flatMap(({ digest }) => digest ?? [])), signal);
  const dropped: string[] = [];
  for (const repository of readable) {
    const index = (await archive.tagIndex(repository, { signal }))?.index;
    const late = new Set<Digest>();
    for (const { entry, reference } of index === undefined ? [] : referencesOf(repository, index)) {
      if (checked?.has(checkedName(repository, entry)) === true || !(await search.isBelow(entry))) continue;
      late.add(entry.digest);
      dropped.push(reference);
    }
    if (late.size > 0) await archive.dropReferences(repository, late, now, { signal });
  }
  return dropped;
}

/** Objects that were found wrong or missing; finds out whether a reference leads to one of them. */
class LostObjects {
  readonly #archive: Archive;
  readonly #lost: ReadonlySet<Digest>;
  readonly #signal: AbortSignal;
  readonly #content: ClosureReader['content'];

  constructor(archive: Archive, lost: ReadonlySet<Digest>, signal: AbortSignal) {
    this.#archive = archive;
    this.#lost = lost;
    this.#signal = signal;
    this.#content = cachedReader({
      has: () => Promise.resolve(false),
      proof: () => Promise.resolve(undefined),
      content: (digest, maxBytes) => held(archive, digest, { maxBytes, signal }),
    }).content;
  }

  /** Whether the closure of an entry contains one of the objects that no sync has restored. */
  async isBelow(entry: TagEntry): Promise<boolean> {
    for (const scope of scopesOf(entry)) if (await this.#isBelow(entry.digest, scope)) return true;
    return false;
  }

  async #isBelow(root: Digest, scope: Scope): Promise<boolean> {
    try {
      for await (const { digest, manifest, optional } of traverse(root, scope.platforms, this.#content)) {
        if (manifest === undefined) {
          if (!optional && this.#lost.has(digest)) return true;
          continue;
        }
        const read = await readClaims(digest, manifest, scope, this.#content);
        if ('missing' in read) {
          if (this.#lost.has(read.missing)) return true;
          continue;
        }
        for (const { digest: blob } of read.claims.blobs) if (await this.#isLost(blob)) return true;
      }
    } catch (error) {
      // The next verification reports an image whose objects contradict each other.
      if (!(error instanceof Failure) || !isOfContent(error)) throw error;
    }
    return false;
  }

  async #isLost(blob: Digest): Promise<boolean> {
    return this.#lost.has(blob) && (await this.#archive.receipt(blob, { signal: this.#signal })) === undefined;
  }
}

/** Whether the objects were read and are wrong; a denied read proves nothing about them. */
function isOfContent(failure: Failure): boolean {
  return isVerdict(failure) || failure.code === 'corrupt' || failure.code === 'too-large';
}

/** Whether the tag index could be read. A finalizer never writes to an unreadable index. */
async function isReadable(work: Promise<void>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (error instanceof Failure && (error.code === 'corrupt' || error.code === 'unsupported')) return false;
    throw error;
  }
}

interface Proven {
  readonly proof: Proof;
  /** A repository that has the blob. */
  readonly repository: string;
}

/** The contents of the rewritten receipts, once per blob: all its proofs, as a layer and as an opaque file. */
function provenIn(problems: readonly Problem[]): readonly Proven[] {
  const found = new Map<Digest, Proven>();
  for (const { repair, repository } of problems) {
    const { receipt: proof } = repair;
    if (proof === undefined) continue;
    const known = found.get(proof.digest);
    const diffIds = { ...known?.proof.diffIds, ...proof.diffIds };
    const more = proof.compression === undefined ? (known?.proof ?? proof) : proof;
    found.set(proof.digest, { proof: { ...more, diffIds }, repository });
  }
  return [...found.values()];
}
