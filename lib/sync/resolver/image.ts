/**
 * The work on one image: find it upstream, compare it with the tag index, list its blobs, and order the missing ones.
 */
import { Failure, type FailureCode } from '../../core/failure.ts';
import { covers, isWithin, provenPlatforms, type TagEntry } from '../../archive/tag-index/tag-index.ts';
import { defined } from '../../core/defined.ts';
import type { Digest } from '../../oci/digest.ts';
import { DOCKER_HUB, parseRepository } from '../../oci/reference.ts';
import { withholdingSettings } from '../../policy/policy.ts';
import type { Wanted } from '../../queue/messages.ts';
import { checkPlatforms, held } from '../closure.ts';
import { imageName } from '../events.ts';
import { untilItsTurn } from '../large-manifests.ts';
import { type Found, order, type SliceWork, type Sought, withWalked } from './order.ts';
import { isCheckDue } from '../../policy/referrer-checks.ts';
import { announce } from './announced.ts';
import { checkReferrers } from './checks.ts';
import { isListOfReferrers, mayNameList } from './referrer-lists.ts';
import { beginList, findReferrers, orderReferrers, referrerRemarks } from './referrers.ts';
import { orderAttestation } from './unchanged.ts';
import { passedVerification } from './verification.ts';
import { RootUnknown } from './walk.ts';
import { isWithheld } from './withheld.ts';

/** Failures for a missing tag. They do not fail an image that is also requested by digest. */
const IS_NO_TAG: ReadonlySet<FailureCode> = new Set(['manifest-unknown', 'name-unknown']);

const DENIED: ReadonlySet<number> = new Set([401, 403]);

/** Resolves one image of a message. */
export async function resolveImage(slice: SliceWork, wanted: Wanted): Promise<void> {
  const { context, message } = slice;
  const observed = context.now();
  const { reference, repository } = imageName(message, wanted);
  context.quota?.image(reference.startsWith(repository) ? reference : `${reference} as ${repository}`);
  const found = await findImage(slice, wanted, observed);
  if (found === undefined) return;
  try {
    await mirror(slice, soughtOf(slice, wanted, found, observed));
  } catch (error) {
    if (!(error instanceof RootUnknown)) throw error;
    const { failure } = error;
    // HEAD may be answered from a cache, and a tag may move between two requests, so the GET of the tag decides.
    await slice.wholes.with(async () => {
      const again = context.now();
      const whole = await findWhole(slice, wanted, found, failure);
      await mirror(slice, soughtOf(slice, wanted, whole, again));
    }, slice.signal);
  }
}

function soughtOf({ message }: SliceWork, wanted: Wanted, found: Found, observed: number): Sought {
  const { tag, digest } = found;
  return { wanted, found, observed, name: { ...imageName(message, wanted), tag, digest } };
}

/** The steps after the image is found, in order. */
async function mirror(slice: SliceWork, sought: Sought): Promise<void> {
  announce(slice, sought.found);
  if ((await isWithheld(slice, sought)) || (await isDecided(slice, sought))) return;
  const passed = await passedVerification(slice, sought);
  if (passed === undefined) return;
  const onManifest = (digest: Digest): void => beginList(slice, digest);
  const referrers = await withWalked(slice, { sought, onManifest }, async (walked) => {
    const found = await findReferrers(slice, walked.manifests);
    const remarks = referrerRemarks(slice, found);
    await order(slice, sought, walked, { ...remarks, ...passed, notes: [...passed.notes, ...(remarks.notes ?? [])] });
    return found;
  });
  await orderReferrers(slice, sought.wanted, referrers);
}

/** Finds the requested image upstream; undefined if its tag names a list of referrers. A large manifest is dropped. */
async function findImage(slice: SliceWork, wanted: Wanted, observed: number): Promise<Found | undefined> {
  const { fetched, ...found } = await find(slice, wanted);
  const whole = soughtOf(slice, wanted, defined({ ...found, fetched }), observed);
  return (await isListOfReferrers(slice, whole)) ? undefined : { ...found, ...untilItsTurn(fetched) };
}

async function find(slice: SliceWork, { tag, digest }: Wanted): Promise<Found> {
  const { source, signal } = slice;
  if (tag !== undefined && digest === undefined && needsManifest(slice, tag)) return findNew(slice, tag);
  if (tag === undefined) {
    if (digest === undefined) throw new RangeError('an image to resolve has neither tag nor digest');
    return { digest };
  }
  const named = await source.resolve(tag, { signal }).catch((error: unknown) => {
    if (digest !== undefined && error instanceof Failure && IS_NO_TAG.has(error.code)) return undefined;
    throw error;
  });
  if (named !== undefined && (digest === undefined || named.digest === digest))
    return defined({ digest: named.digest, tag, fetched: named.fetched });
  const note = named === undefined ? 'upstream has no such tag' : `the tag names ${named.digest} upstream`;
  return { digest: digest as Digest, note: `${note}; kept by its digest` };
}

/** Finds a tag with GET. A proxy may change the response to a tag, and leave the responses to HEAD and to a digest as they are. */
async function findNew(slice: SliceWork, tag: string): Promise<Found> {
  const { source, signal } = slice;
  try {
    return await findManifest(slice, tag);
  } catch (error) {
    const isFinal = error instanceof Failure && error.remedy === 'never' && !IS_NO_TAG.has(error.code);
    if (!isFinal || DENIED.has(error.status ?? 0)) throw error;
    const named = await source.resolve(tag, { signal }).catch(() => undefined);
    if (named === undefined) throw error;
    return defined({ digest: named.digest, tag, fetched: named.fetched });
  }
}

/**
 * Whether the first request for a tag is GET: the manifest of a tag that the archive lacks is needed anyway. Docker Hub
 * counts a GET as a pull, and no HEAD, and its images have many tags. A policy that withholds images, and the decision of
 * a person, apply to the digest alone, and the release of a held image fetches nothing. Of a tag that may name a list of
 * referrers, only the manifest tells whether it is an image.
 */
function needsManifest({ index, policy, message }: SliceWork, tag: string): boolean {
  if (mayNameList(message, tag)) return true;
  if (parseRepository(message.source).host === DOCKER_HUB || withholdingSettings(policy) !== '') return false;
  if (index === undefined) return true;
  const { held, decisions } = index.control;
  return index.byTag(tag) === undefined && held.size === 0 && decisions.length === 0;
}

async function findWhole(slice: SliceWork, wanted: Wanted, { tag, digest }: Found, failure: Failure): Promise<Found> {
  if (tag === undefined) throw failure;
  const found = await findManifest(slice, tag);
  if (wanted.digest !== undefined && found.digest !== digest) throw failure;
  return found;
}

async function findManifest({ source, signal }: SliceWork, tag: string): Promise<Found> {
  const fetched = await source.fetchTag(tag, { signal });
  return { digest: fetched.digest, tag, fetched };
}

/** Whether the work on the image is done: the archive has it, or an earlier run has queued it. */
async function isDecided(slice: SliceWork, sought: Sought): Promise<boolean> {
  const { found, name } = sought;
  const { context, message, index, signal } = slice;
  const { digest, tag, note } = found;
  const entry = tag === undefined ? index?.byDigest(digest) : index?.byTag(tag);
  if (entry?.digest === digest && covers(entry, message)) {
    await checkArchivedPlatforms(slice, entry);
    const notes = isDue(slice, entry) ? await checkReferrers(slice, sought.wanted, entry) : [];
    orderAttestation(slice, found, entry);
    const remarks = defined({ reason: note, notes: notes.length === 0 ? undefined : notes });
    context.observe({ type: 'image', status: 'unchanged', ...name, ...remarks });
    return true;
  }
  const queued = { type: 'image' as const, status: 'pending' as const, ...name };
  return (await context.queuedBy?.(queued, message, signal)) !== undefined;
}

/** A slice of a listed repository does not check its tags: another message checks the whole repository. */
function isDue({ context, message: { what } }: SliceWork, entry: TagEntry): boolean {
  const isListed = what.kind === 'images' && what.listed === true && entry.tag !== undefined;
  return !isListed && isCheckDue(entry, context.now());
}

/** Other platforms were requested when the entry was written: check whether the archived ones include these. */
async function checkArchivedPlatforms({ context, message, signal }: SliceWork, entry: TagEntry): Promise<void> {
  const { platforms } = message;
  if (isWithin(provenPlatforms(entry) ?? [], platforms)) return;
  await checkPlatforms(entry.digest, platforms, (of, maxBytes) => held(context.archive, of, { maxBytes, signal }));
}
