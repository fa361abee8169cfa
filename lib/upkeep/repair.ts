import type { Archive } from '../archive/archive.ts';
import type { Digest } from '../oci/digest.ts';
import type { Proof } from '../proof/prover.ts';
import { receiptFor } from '../sync/receipts.ts';
import type { Problem } from './verify.ts';

export interface Repaired {
  /** References that were removed. */
  readonly dropped: ReadonlySet<string>;
  /** Blobs whose receipt was rewritten. */
  readonly receipts: number;
}

/** A reference that a repair removes. */
export interface Removal {
  readonly reference: string;
  /** Whether the next sync requests it again, as it does for tags. */
  readonly restorable: boolean;
}

/** The references that a repair of these problems would remove, each once. */
export function removalsOf(problems: readonly Problem[]): readonly Removal[] {
  const references = new Set(problems.filter(({ repair }) => repair.drop).map(({ reference }) => reference));
  return [...references].map((reference) => ({ reference, restorable: !reference.includes('@') }));
}

/**
 * Removes from an archive what `verify` found wrong, and rewrites the receipts of proven blobs. A sync may run
 * concurrently: whatever the order of their steps, no reference and no receipt remains for removed bytes.
 *
 * 1. Delete the receipts of corrupt blobs, so that no sync relies on them. If the process is killed after this step,
 * running the repair again is safe.
 * 2. Remove the references that lead to corrupt blobs, so that everything that is left can be pulled (invariant 1).
 * 3. Delete the bytes on condition that they are the bytes that were read, so that the correct bytes of a concurrent
 *   sync stay with their receipt.
 */
export async function repairArchive(
  archive: Archive,
  problems: readonly Problem[],
  options: { readonly signal: AbortSignal; readonly now: number },
): Promise<Repaired> {
  const { store, layout } = archive;
  const { signal, now } = options;
  for (const { digest, repair } of problems)
    if (digest !== undefined && repair.receipt === 'none') await store.delete(layout.receipt(digest), { signal });
  const wrong = problems.filter(({ repair }) => repair.drop);
  for (const [repository, found] of Map.groupBy(wrong, (problem) => problem.repository)) {
    const roots = new Set(found.flatMap(({ root }) => root ?? []));
    await archive.dropReferences(repository, roots, { signal });
  }
  for (const { digest, repair } of wrong)
    if (digest !== undefined && repair.etag !== undefined)
      await store.delete(layout.blob(digest), { etag: repair.etag, signal });
  const proven = provenIn(problems);
  for (const { proof, repository } of proven) await archive.putReceipt(receiptFor(proof, repository, now), { signal });
  return { dropped: new Set(wrong.map(({ reference }) => reference)), receipts: proven.length };
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
    if (proof === undefined || proof === 'none') continue;
    const known = found.get(proof.digest);
    const diffIds = { ...known?.proof.diffIds, ...proof.diffIds };
    const more = proof.compression === undefined ? (known?.proof ?? proof) : proof;
    found.set(proof.digest, { proof: { ...more, diffIds }, repository });
  }
  return [...found.values()];
}
