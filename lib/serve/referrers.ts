/** Answers the referrers API from the archive (OCI distribution spec 1.1, "Listing Referrers"). */
import type { TagEntry } from '../archive/tag-index/tag-index.ts';
import { defined } from '../core/defined.ts';
import { Failure } from '../core/failure.ts';
import type { Digest } from '../oci/digest.ts';
import { parseManifest } from '../oci/manifest.ts';
import { MEDIA_TYPES } from '../oci/mediatype.ts';
import { referralOf } from '../oci/referral.ts';
import { json } from './answers.ts';
import { RegistryError } from './errors.ts';
import { MAX_PAGE_BYTES, nextLink } from './lists.ts';
import type { Manifests } from './manifests.ts';
import { indexAt } from './past.ts';
import type { Repository } from './repositories.ts';
import type { NameRequest } from './routes.ts';
import { withheldDigest } from './withheld.ts';

/** Manifests that are read concurrently. */
const SIDE_BY_SIDE = 16;

/** A referrer as the API lists it. */
interface ListedReferrer {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string;
  /** The annotations of its manifest. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The spec requires an index, and never a 404, for a manifest without referrers and for a missing manifest. */
export async function referrerList(
  request: Request,
  { parameters, path, digest, asOf }: NameRequest & { readonly digest: Digest },
  repository: Repository,
  manifests: Manifests,
): Promise<Response> {
  const type = parameters.get('artifactType') ?? '';
  const after = parameters.get('last') ?? '';
  // A digest that policy withholds is not served, and neither is the list of its referrers.
  const isWithheld =
    repository.index.byDigest(digest) === undefined && withheldDigest(repository, digest) !== undefined;
  const entries = (isWithheld ? [] : indexAt(repository.index, asOf).referrersOf(digest)).filter(
    (entry) => entry.digest > after && (type === '' || entry.artifactType === type),
  );
  const page: ListedReferrer[] = [];
  let bytes = 0;
  let next: string | undefined;
  for (let at = 0; at < entries.length && next === undefined; at += SIDE_BY_SIDE) {
    const some = entries.slice(at, at + SIDE_BY_SIDE);
    const listed = await Promise.all(
      some.map((entry) => describe(manifests, repository, entry, digest, request.signal)),
    );
    for (const referrer of listed) {
      if (referrer === undefined || next !== undefined) continue;
      bytes += Buffer.byteLength(JSON.stringify(referrer)) + 1;
      const last = page.at(-1);
      if (bytes > MAX_PAGE_BYTES && last !== undefined) next = last.digest;
      else page.push(referrer);
    }
  }
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: page };
  return json(request, index, {
    'content-type': MEDIA_TYPES.ociIndex,
    ...(type === '' ? {} : { 'oci-filters-applied': 'artifactType' }),
    ...(next === undefined ? {} : { link: nextLink(path, parameters, { last: next }) }),
  });
}

/** The descriptor of a referrer; undefined for a tag of cosign, whose manifest has no subject, and for a corrupt manifest. */
async function describe(
  manifests: Manifests,
  repository: Repository,
  { digest }: TagEntry,
  subject: Digest,
  signal: AbortSignal,
): Promise<ListedReferrer | undefined> {
  try {
    const { bytes, mediaType } = await manifests.byDigest(repository, digest, signal);
    const manifest = parseManifest(bytes, mediaType);
    const referral = referralOf(manifest);
    if (referral.subject !== subject || manifest.kind === 'schema1') return undefined;
    const { artifactType } = referral;
    return defined({ mediaType, digest, size: bytes.length, artifactType, annotations: manifest.annotations });
  } catch (error) {
    if (error instanceof RegistryError || (error instanceof Failure && error.side === 'input')) return undefined;
    throw error;
  }
}
