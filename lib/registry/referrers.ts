/**
 * Lists the referrers of a manifest, such as signatures and SBOMs (OCI distribution spec 1.1, "Listing Referrers"). A
 * list is a hint: only the manifest of a referrer, which its digest proves, states the subject.
 */
import type { Digest } from '../oci/digest.ts';
import { manifestKind } from '../oci/mediatype.ts';
import { type CosignTag, cosignTags, referrersTag } from '../oci/referrer-tags.ts';
import type { EndpointAttempt, Operation } from './client.ts';
import { sourceFailure } from './errors.ts';
import { manifestAt, type ManifestOptions, resolveAt } from './manifests.ts';
import { ReferrerList } from './referrer-list.ts';
import { fromApi } from './referrers-api.ts';
import { type KnownTags, ReferrerTags } from './referrer-tags.ts';
import type { Referrers, ReferrersQuery, Resolved } from './source.ts';
import { listTags } from './tags.ts';

export interface ReferrersOptions extends Operation, ReferrersQuery {
  readonly digest: Digest;
}

/** The time for which a list of tags is used, in milliseconds; shorter than the time until the next check of an image. */
const TAGS_KEPT_MS = 5 * 60_000;

/**
 * The referrers from the registry's API, from the index of the tag schema if the list of tags has its tag or the registry
 * has no API, and from cosign's tags, which cosign writes to every registry.
 *
 * @throws Failure for a temporary problem, and for a list that cannot be read
 */
export async function listReferrers(options: ReferrersOptions): Promise<Referrers> {
  const { digest, artifactTypes } = options;
  const list = new ReferrerList(digest, artifactTypes);
  const hasApi = await fromApi(options, list);
  const wanted = cosignTags(digest).filter(({ artifactType }) => artifactTypes?.includes(artifactType) ?? true);
  if (wanted.length > 0 || !hasApi) {
    const isThere = await tagsOf(options).has();
    // A registry with the API may still have lists from the time before it.
    if (isThere?.(referrersTag(digest)) ?? !hasApi) await fromTagSchema(options, list);
    const found = wanted.filter(({ tag }) => isThere?.(tag) ?? true);
    const isListed = isThere !== undefined;
    await Promise.all(found.map((tag) => fromCosignTag(tag, isListed, options, list)));
  }
  return { manifests: list.manifests, notes: list.notes };
}

function tagsOf(options: ReferrersOptions): KnownTags {
  const { client, repository, fresh } = options;
  const now = client.options.now();
  const known = client.referrerTags.get(repository);
  if (known !== undefined && fresh !== true && now - known.since < TAGS_KEPT_MS) return known;
  const tags = new ReferrerTags(listTags(options), now);
  client.referrerTags.set(repository, tags);
  return tags;
}

/** The index under the tag `sha256-…`. Any other manifest under that tag counts as an empty list. */
async function fromTagSchema(options: ReferrersOptions, list: ReferrerList): Promise<void> {
  const tag = referrersTag(options.digest);
  const found = await underTag(tag, manifestAt, options, list);
  if (found === undefined) return;
  if (found.mediaType !== '' && manifestKind(found.mediaType) !== 'index')
    list.note(`tag ${tag} is not a list of referrers, it names a manifest of type ${found.mediaType}`);
  else list.addPage(found.bytes, options.operation);
}

async function fromCosignTag(
  { tag, artifactType }: CosignTag,
  isListed: boolean,
  options: ReferrersOptions,
  list: ReferrerList,
): Promise<void> {
  // A registry that lists a tag and answers 404 to HEAD may not support HEAD.
  const read = (one: EndpointAttempt, ask: ManifestOptions): Promise<Resolved> =>
    resolveAt(one, { ...ask, trustsHead: !isListed });
  const found = await underTag(tag, read, options, list);
  if (found === undefined) return;
  // Without HEAD, each tag has a manifest of up to 4 MiB. Its reader fetches it again, by its digest.
  const { digest, mediaType } = found;
  list.add({ digest, mediaType, tag, artifactType });
}

/**
 * The manifest of a tag; undefined if the tag is missing or cannot be read, and the latter is noted.
 *
 * @throws Failure for a temporary problem
 */
async function underTag<T>(
  tag: string,
  read: (one: EndpointAttempt, options: ManifestOptions) => Promise<T>,
  options: ReferrersOptions,
  list: ReferrerList,
): Promise<T | undefined> {
  const { client, operation, signal } = options;
  const ask = { ...options, reference: tag };
  try {
    return await client.request(options, 'tag', (one) => read(one, ask));
  } catch (thrown) {
    const failure = sourceFailure(thrown, operation, signal);
    if (failure.remedy !== 'never') throw failure;
    if (failure.code !== 'manifest-unknown') list.note(`tag ${tag} cannot be read: ${failure.detail}`);
    return undefined;
  }
}
