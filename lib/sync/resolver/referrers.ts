/**
 * The referrers of an image, such as signatures and SBOMs: of its index, of each mirrored child, and of referrers. Each
 * referrer is mirrored as a separate image, so that its failure does not fail the image.
 */
import { asFailure, Failure } from '../../core/failure.ts';
import { Semaphore } from '../../core/semaphore.ts';
import { settleEach } from '../../core/settle-all.ts';
import { MAX_AWAITED } from '../../archive/tag-index/awaited.ts';
import { covers } from '../../archive/tag-index/tag-index.ts';
import { defined } from '../../core/defined.ts';
import type { Digest } from '../../oci/digest.ts';
import { MANIFEST_LIMITS, parseManifest } from '../../oci/manifest.ts';
import { referralOf } from '../../oci/referral.ts';
import type { Policy } from '../../policy/policy.ts';
import type { Image, ReferrerCheck, Wanted } from '../../queue/messages.ts';
import { finalizeMessage } from '../../queue/outgoing.ts';
import type { FetchedManifest, Referrer, Referrers } from '../../registry/source.ts';
import { held } from '../closure.ts';
import { imageName } from '../events.ts';
import { recorded } from '../failures.ts';
import { untilItsTurn } from '../large-manifests.ts';
import { Once } from './once.ts';
import { isRecorded, isTemporary } from '../delivery.ts';
import { keptWalks, order, type Remarks, type SliceWork, type Sought, withWalked } from './order.ts';
import type { Walked } from './walk.ts';

/** Levels of referrers: a signature of an SBOM is of the second. */
const MAX_DEPTH = 3;

/** Referrers of one image at all levels. */
const MAX_REFERRERS = 1_000;

/** Lists and referrers that are handled concurrently; the host's connections limit them further. */
const SIDE_BY_SIDE = 8;

/** Lists of a message that are read concurrently. Each has up to a thousand referrers in memory. */
const LISTS_SIDE_BY_SIDE = 16;

/** The memory of the lists of one message that are kept, in bytes: those of 100 ordinary images. */
const KEPT_BYTES = 4 * 1024 * 1024;

/** The memory of the largest list, in bytes. */
const MAX_LIST_BYTES = 1024 * 1024;

/** The referrers of a message's images; images that share manifests share their lists. */
export interface ReferrerWork {
  readonly lists: Once<Listed>;
  readonly permits: Semaphore;
  /** The manifests of which a push or a request has announced a referrer. */
  readonly announced: Set<Digest>;
  /** Tags and digests of referrers that were ordered. */
  readonly ordered: Set<string>;
  /** The walks of referrers, which have all platforms. */
  readonly walks: Once<Walked>;
  /** The checks of unchanged images, with the image. */
  readonly checks: { readonly image: Image; readonly check: ReferrerCheck }[];
}

interface Listed extends Referrers {
  /** The time before the request, in milliseconds since the epoch. */
  readonly observed: number;
}

interface FoundReferrer {
  readonly referrer: Referrer;
  readonly subject: Digest;
  readonly observed: number;
}

export interface FoundReferrers {
  readonly found: readonly FoundReferrer[];
  /** Warnings, each a sentence. */
  readonly notes: readonly string[];
  /**
   * The time of the first list, in milliseconds since the epoch. Undefined where a list could not be read for now: the next run
   * checks the image again.
   */
  readonly checked: number | undefined;
}

export function referrerWork(): ReferrerWork {
  return {
    lists: new Once(KEPT_BYTES, weightOf),
    permits: new Semaphore(LISTS_SIDE_BY_SIDE),
    announced: new Set(),
    ordered: new Set(),
    walks: keptWalks(),
    checks: [],
  };
}

/** An estimate of the memory that a list takes, in bytes. */
function weightOf({ manifests }: Listed): number {
  let weight = 200;
  for (const { mediaType, artifactType = '' } of manifests) weight += 300 + mediaType.length + artifactType.length;
  return weight;
}

/** Lists the referrers of one manifest; once for each digest while the list is kept. */
export function listReferrers({ context, source, signal, referrers }: SliceWork, digest: Digest): Promise<Listed> {
  const list = async (): Promise<Listed> => {
    const observed = context.now();
    const fresh = referrers.announced.has(digest);
    return { observed, ...(await source.referrers(digest, { fresh, signal })) };
  };
  return referrers.lists.get(digest, () => referrers.permits.with(list, signal));
}

/**
 * Begins a list early, so that its requests overlap with others. If it fails, the later call fails. It does not begin where the list
 * might be dropped before it is used.
 */
export function beginList(slice: SliceWork, digest: Digest): void {
  const { policy, referrers } = slice;
  if (policy.referrers !== 'none' && referrers.lists.hasRoom(MAX_LIST_BYTES))
    listReferrers(slice, digest).catch(() => undefined);
}

/** Finds the referrers of manifests, and theirs. */
export async function findReferrers(slice: SliceWork, manifests: readonly Digest[]): Promise<FoundReferrers> {
  if (slice.policy.referrers === 'none') return { found: [], notes: [], checked: undefined };
  return new Search(slice).run(manifests);
}

class Search {
  readonly #slice: SliceWork;
  readonly #found = new Map<string, FoundReferrer>();
  readonly #notes = new Set<string>();
  readonly #seen = new Set<Digest>();
  #checked: number;
  #isComplete = true;

  constructor(slice: SliceWork) {
    this.#slice = slice;
    this.#checked = slice.context.now();
  }

  async run(manifests: readonly Digest[]): Promise<FoundReferrers> {
    let level = manifests;
    for (let depth = 0; depth < MAX_DEPTH && level.length > 0; depth += 1) {
      const fresh = level.filter((digest) => !this.#seen.has(digest));
      for (const digest of fresh) this.#seen.add(digest);
      const below = await settleEach(fresh, SIDE_BY_SIDE, (subject) => this.#list(subject));
      level = below.flat();
    }
    const checked = this.#isComplete ? this.#checked : undefined;
    return { found: [...this.#found.values()], notes: [...this.#notes], checked };
  }

  /** The digests of the referrers of a manifest. */
  async #list(subject: Digest): Promise<readonly Digest[]> {
    if (this.#found.size >= MAX_REFERRERS) {
      this.#notes.add(`the image has ${MAX_REFERRERS} referrers; the lists of further ones are not read`);
      return [];
    }
    let listed: Listed;
    try {
      listed = await listReferrers(this.#slice, subject);
    } catch (error) {
      this.#notListed(error, subject);
      return [];
    }
    const { observed, manifests, notes } = listed;
    this.#checked = Math.min(this.#checked, observed);
    for (const note of notes) this.#notes.add(note);
    const { policy } = this.#slice;
    const wanted = manifests.filter(
      ({ artifactType }) => artifactType === undefined || isWanted(policy.referrers, artifactType),
    );
    for (const referrer of wanted) this.#add({ referrer, subject, observed });
    return wanted.map(({ digest }) => digest);
  }

  #add(found: FoundReferrer): void {
    const { tag, digest } = found.referrer;
    const key = tag ?? digest;
    if (this.#found.has(key)) return;
    if (this.#found.size < MAX_REFERRERS) this.#found.set(key, found);
    else this.#notes.add(`the image has more than ${MAX_REFERRERS} referrers; the others are not mirrored`);
  }

  /**
   * Throws a temporary failure, so that the message is delivered again; on the last delivery the image is mirrored
   * without the list.
   */
  #notListed(error: unknown, subject: Digest): void {
    const { source, options } = this.#slice;
    const failure = asFailure(error, `list referrers of ${source.repository}@${subject}`, 'source');
    if (failure.code === 'aborted' || (isTemporary(failure) && !options.last)) throw failure;
    this.#isComplete &&= !isTemporary(failure);
    this.#notes.add(`the referrers cannot be listed: ${failure.detail}`);
  }
}

function isWanted(policy: Policy['referrers'], artifactType: string | undefined): boolean {
  return policy === 'all' || (artifactType !== undefined && policy.includes(artifactType));
}

/** The facts about referrers that the message of a new image carries. */
export function referrerRemarks(slice: SliceWork, { found, notes, checked }: FoundReferrers): Remarks {
  const missing = found.filter(({ referrer }) => !isHeld(slice, referrer)).map(({ referrer }) => referrer.digest);
  return { notes, ...checkOf(checked, missing) };
}

/** The record of a check; empty if the next run has to check the image again. */
export function checkOf(
  checked: number | undefined,
  awaited: readonly Digest[],
): { readonly checked?: number; readonly awaited?: readonly Digest[] } {
  if (checked === undefined || awaited.length > MAX_AWAITED) return {};
  return awaited.length === 0 ? { checked } : { checked, awaited };
}

/**
 * Orders the referrers that the archive lacks. A failure is recorded for its referrer.
 *
 * @returns those that are on their way, so that the image is checked again until they arrive
 */
export async function orderReferrers(
  slice: SliceWork,
  root: Wanted,
  { found }: Pick<FoundReferrers, 'found'>,
): Promise<readonly Digest[]> {
  // A referrer is mirrored completely, because the platforms of the image do not apply to it.
  const whole = { ...slice, message: { ...slice.message, platforms: 'all' as const }, walks: slice.referrers.walks };
  const missing = found.filter(({ referrer }) => !isHeld(slice, referrer));
  const ordered = await settleEach(missing, SIDE_BY_SIDE, (each) => orderOne(whole, root, each));
  return missing.filter((_, at) => ordered[at] === true).map(({ referrer }) => referrer.digest);
}

/** Resolves to false for a referrer that cannot be mirrored, or that the policy excludes. */
async function orderOne(slice: SliceWork, root: Wanted, found: FoundReferrer): Promise<boolean> {
  const { context, message, policy, signal, options, referrers } = slice;
  const { digest, tag } = found.referrer;
  if (referrers.ordered.has(tag ?? digest)) return true;
  referrers.ordered.add(tag ?? digest);
  const image = imageOf(root, found);
  const name = imageName(message, image);
  try {
    const { fetched, artifactType } = await manifestOf(slice, found);
    if (tag === undefined && !isWanted(policy.referrers, artifactType)) return false;
    const wanted = tag === undefined ? { digest } : { tag };
    const sought: Sought = {
      wanted,
      found: defined({ digest, tag, ...untilItsTurn(fetched) }),
      observed: found.observed,
      name,
    };
    await withWalked(slice, { sought }, (walked) => order(slice, sought, walked, { subject: found.subject, root }));
    return true;
  } catch (error) {
    const failure = asFailure(error, `resolve ${name.reference}`, 'source');
    if (!isRecorded(failure, options)) throw failure;
    const outgoing = finalizeMessage(message, image, 'resolver', recorded(failure));
    await context.queues.send('finalize', [outgoing], { signal });
    return isTemporary(failure);
  }
}

/** Whether the archive has the whole referrer, and knows its subject. */
function isHeld({ index, message: { foreignLayers } }: SliceWork, { digest, tag }: Referrer): boolean {
  const entry = tag === undefined ? index?.byDigest(digest) : index?.byTag(tag);
  const scope = { platforms: 'all' as const, ...defined({ foreignLayers }) };
  return entry?.digest === digest && entry.subject !== undefined && covers(entry, scope);
}

/**
 * The manifest of a referrer, if it had to be fetched. Only the manifest states its subject, so a list that attaches it
 * to another manifest is ignored.
 */
async function manifestOf(
  { context: { archive }, source, signal }: SliceWork,
  { referrer, subject }: FoundReferrer,
): Promise<{ readonly fetched: FetchedManifest | undefined; readonly artifactType: string | undefined }> {
  const { digest, tag, mediaType } = referrer;
  const kept = await held(archive, digest, { maxBytes: MANIFEST_LIMITS.bytes, signal });
  const fetched = kept === undefined ? await source.manifest(digest, { signal }) : undefined;
  const bytes = kept ?? fetched?.bytes ?? new Uint8Array();
  const declared = fetched?.mediaType ?? mediaType;
  const operation = `resolve ${source.repository}@${digest}`;
  try {
    const { subject: actual, artifactType } = referralOf(parseManifest(bytes, declared));
    if (tag !== undefined || actual === subject) return { fetched, artifactType };
    const detail = `upstream lists it as a referrer of ${subject}, and it refers to ${actual ?? 'nothing'}`;
    throw new Failure({ operation, side: 'source', code: 'not-as-declared', detail });
  } catch (error) {
    throw error instanceof Failure ? error.within(operation, 'source') : error;
  }
}

function imageOf(root: Wanted, { referrer, subject, observed }: FoundReferrer): Image {
  const { digest, mediaType, size = 0, tag } = referrer;
  return defined({ digest, mediaType, size, observed, tag, subject, root });
}
