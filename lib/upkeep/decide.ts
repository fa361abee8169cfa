/** Records the decision of a person about an image: to release it, or to reject it. */
import type { Archive } from '../archive/archive.ts';
import { type Member, recordMembers } from '../archive/members.ts';
import { scopesOf, type TagIndex } from '../archive/tag-index/tag-index.ts';
import { heldAs, heldDigest, heldFor, type Held, rejectionsIn, withDecisionIn } from '../archive/tag-index/withheld.ts';
import { defined } from '../core/defined.ts';
import { Failure, invalid } from '../core/failure.ts';
import type { Digest } from '../oci/digest.ts';
import { formatReference, formatRepository, type Reference } from '../oci/reference.ts';
import type { Decision } from '../policy/decisions.ts';
import { checkClosure } from '../sync/closure.ts';
import { receiptReader } from '../sync/receipt-reader.ts';

export interface DecideOptions extends Pick<Decision, 'action' | 'by' | 'reason'> {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly signal: AbortSignal;
}

export interface Decided {
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: Digest;
  /** Whether clients can pull the image now. */
  readonly isVisible: boolean;
}

/**
 * A tag without a digest means the held digest that upstream named last, or the unverified one. Without both, it means the visible
 * digest of the tag for a rejection, and the rejected digest for a release. The archive need not have the digest yet.
 *
 * @throws Failure `invalid` for an unknown repository, and for a tag without such a digest or with several rejected ones
 */
export async function decideImage(archive: Archive, reference: Reference, options: DecideOptions): Promise<Decided> {
  const { action, by, reason, now, signal } = options;
  const operation = `${action} ${formatReference(reference)}`;
  const repository = formatRepository(reference);
  const { tag } = reference;
  const index = (await archive.tagIndex(repository, { signal }))?.index;
  if (index === undefined) throw invalid(operation, `${archive.store.name} has no repository ${repository}`);
  const digest = reference.digest ?? digestOf(index, tag ?? '', { action, operation });
  if (digest === undefined) throw invalid(operation, notFound(action));
  const held = tag === undefined ? heldDigest(index, digest) : heldAs(index, tag, digest);
  if (action === 'release' && held !== undefined)
    await mustBeComplete(archive, repository, held, { operation, signal });
  const decision = defined({ action, tag, digest, by, at: now, reason });
  const after = await archive.updatePolicy(repository, (before) => withDecisionIn(before, decision), { signal });
  const isVisible = (tag === undefined ? after.byDigest(digest) : after.byTag(tag))?.digest === digest;
  return { repository, tag, digest, isVisible };
}

/** Digests in a message. */
const SOME = 3;

function digestOf(
  index: TagIndex,
  tag: string,
  { action, operation }: Pick<Decision, 'action'> & { readonly operation: string },
): Digest | undefined {
  const held = heldFor(index, tag)?.entry.digest;
  const found = held ?? index.control.unverified.findLast((each) => each.tag === tag)?.digest;
  if (found !== undefined) return found;
  if (action === 'reject') return index.byTag(tag)?.digest;
  const rejected = rejectionsIn(index).filter((each) => each.tag === tag);
  if (rejected.length > 1) {
    const some = rejected.slice(0, SOME).map(({ digest }) => digest);
    const list = [...some, ...(rejected.length > SOME ? ['…'] : [])].join(', ');
    throw invalid(
      operation,
      `${rejected.length} images are rejected under this tag (${list}); add @ and the digest of one`,
    );
  }
  return rejected[0]?.digest;
}

function notFound(action: Decision['action']): string {
  return action === 'release'
    ? 'no image is withheld under this tag; mirror-sync ls --held lists the withheld images'
    : 'the archive has no such tag; name the digest to reject one that is not mirrored yet';
}

/** A repair may have removed content since the image was held. The records of its children are written before it is shown. */
async function mustBeComplete(
  archive: Archive,
  repository: string,
  { entry }: Held,
  { operation, signal }: { readonly operation: string; readonly signal: AbortSignal },
): Promise<void> {
  const reader = receiptReader(archive, signal);
  const members = new Map<Digest, Member>();
  for (const scope of scopesOf(entry)) {
    const state = await checkClosure(entry.digest, scope, reader, { mayLack: () => true });
    if (!state.complete) {
      const detail = `the archive lacks ${state.missing}; the next sync fetches it, so release the image after that`;
      throw new Failure({ operation, side: 'archive', code: 'corrupt', detail });
    }
    const { platforms } = scope;
    for (const [digest, mediaType] of state.manifests)
      if (digest !== entry.digest) members.set(digest, { mediaType, root: entry.digest, platforms });
  }
  await recordMembers(archive, repository, members, { signal });
}
