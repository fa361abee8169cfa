import { Failure } from '../core/failure.ts';
import { digestOf, digestParts, isDigest, type Digest } from '../oci/digest.ts';
import { MANIFEST_LIMITS, parseManifest } from '../oci/manifest.ts';
import { ACCEPT_MANIFESTS, essence, manifestKind } from '../oci/mediatype.ts';
import { signedPayload } from '../oci/schema1.ts';
import type { EndpointAttempt, Operation } from './client.ts';
import type { EndpointRequest } from './endpoint.ts';
import { sourceFailure } from './errors.ts';
import { isRefusal } from './http/retry-wait.ts';
import type { FetchedManifest, Resolved } from './source.ts';
import { readWhole } from './http/short.ts';
import type { Reply } from './http/message.ts';

export interface ManifestOptions extends Operation {
  /** A tag or a digest. */
  readonly reference: string;
  /** Whether a 404 for HEAD is final if the endpoint is known to answer HEAD; by default, a GET explains it. */
  readonly trustsHead?: boolean;
}

/** Resolves a tag or digest, with HEAD where possible, because Docker Hub does not count HEAD as a pull. */
export async function resolveAt(one: EndpointAttempt, options: ManifestOptions): Promise<Resolved> {
  const { endpoint, persistence, last } = one;
  const { client, operation, signal } = options;
  const { longestMs, maxMs } = client.options.retry;
  if (endpoint.answersHead === false) return resolvedBy(await manifestAt(one, options));
  let reply: Reply;
  try {
    reply = await head(one, options);
  } catch (thrown) {
    const failure = sourceFailure(thrown, operation, signal);
    // GET is only the last try, because it costs a busy registry more.
    const isFinal = last || (isRefusal(failure) && persistence === 'wait');
    const isLong = (failure.retryAfterMs ?? 0) > (longestMs ?? maxMs ?? Infinity);
    const stopped = failure.code === 'aborted' || signal?.aborted === true;
    if (failure.remedy !== 'retry' || stopped || isLong || !isFinal) throw failure;
    return getInstead(one, options, failure);
  }
  const digest = contentDigest(reply);
  if (reply.status === 200) endpoint.answersHead = true;
  if (reply.status === 200 && digest !== undefined) return { digest, mediaType: declaredType(reply) };
  if (reply.status === 404 && options.trustsHead === true && endpoint.answersHead === true) {
    const detail = `${reply.url.host} answered 404`;
    throw new Failure({ operation, side: 'source', code: 'manifest-unknown', detail, status: 404 });
  }
  const fetched = await manifestAt(one, options);
  if (HEAD_REFUSED.has(reply.status)) endpoint.answersHead = false;
  return resolvedBy(fetched);
}

/** The statuses of an endpoint that does not support HEAD on manifests, if GET then finds the manifest. */
const HEAD_REFUSED: ReadonlySet<number> = new Set([401, 403, 404, 405, 501]);

/** Sends HEAD. Throws temporary failures only; a GET explains all others, because HEAD has no body. */
async function head({ endpoint, persistence }: EndpointAttempt, options: ManifestOptions): Promise<Reply> {
  const { client, reference, operation, signal } = options;
  const ask = { ...askFor('HEAD', options), persistence };
  const reply = await endpoint.send(ask, signal);
  const { status } = reply;
  reply.body.cancel();
  const digest = contentDigest(reply);
  if (status === 200 && digest !== undefined && isDigest(reference) && reference !== digest)
    throw mismatch(operation, reply, digest);
  if (status === 408 || status === 429 || (status >= 500 && status !== 501))
    throw await client.refuse(reply, endpoint, ask, signal);
  return reply;
}

/** Tries GET after all tries with HEAD have failed, because some registries fail only on HEAD. */
async function getInstead(one: EndpointAttempt, options: ManifestOptions, failed: Failure): Promise<Resolved> {
  const { endpoint } = one;
  let fetched: FetchedManifest;
  try {
    fetched = await manifestAt({ ...one, persistence: 'at-once' }, options);
  } catch (thrown) {
    // The cause is a rate limit.
    if (thrown instanceof Failure && isRefusal(thrown)) return resolvedBy(await manifestAt(one, options));
    throw thrown;
  }
  endpoint.answersHead = false;
  if (isRefusal(failed)) endpoint.resetPace();
  return resolvedBy(fetched);
}

function resolvedBy(fetched: FetchedManifest): Resolved {
  return { digest: fetched.digest, mediaType: fetched.mediaType, fetched };
}

/** Fetches a manifest, and verifies it with the requested digest or the digest in the response. */
export async function manifestAt(one: EndpointAttempt, options: ManifestOptions): Promise<FetchedManifest> {
  const { endpoint, persistence } = one;
  const { client, reference, operation, signal } = options;
  const ask = { ...askFor('GET', options), persistence };
  const reply = await endpoint.send(ask, signal);
  if (reply.status !== 200) throw await client.refuse(reply, endpoint, ask, signal);
  const bytes = await readWhole(reply, operation, MANIFEST_LIMITS.bytes, () => client.largeBodies.hold(signal));
  if (bytes === undefined) {
    const detail = `${reply.url.host} sent a manifest of more than ${MANIFEST_LIMITS.bytes} bytes`;
    throw new Failure({ operation, side: 'source', code: 'too-large', detail });
  }
  const mediaType = declaredType(reply);
  const expected = isDigest(reference) ? reference : contentDigest(reply);
  const digest = proven(bytes, mediaType, expected, operation);
  if (digest === undefined) {
    const actual = digestOf(bytes);
    const failure = mismatch(operation, reply, actual);
    if (isDigest(reference)) throw failure;
    return confirmed(one, options, failure, expected === undefined ? [actual] : [expected, actual]);
  }
  // The response to a tag may be a proxy's login page; then the next endpoint is tried.
  if (!isDigest(reference)) checkManifest(bytes, mediaType, operation, reply);
  return { digest, mediaType, bytes };
}

/**
 * The manifest of a tag whose response has another digest than its header. The one of the header counts, as with HEAD.
 * Some registries send a wrong digest with a tag. Then the manifest counts if the registry serves it by its own digest.
 */
async function confirmed(
  one: EndpointAttempt,
  options: ManifestOptions,
  failure: Failure,
  digests: readonly Digest[],
): Promise<FetchedManifest> {
  for (const reference of digests) {
    try {
      return await manifestAt(one, { ...options, reference });
    } catch (thrown) {
      if (!(thrown instanceof Failure && thrown.remedy === 'never')) throw thrown;
    }
  }
  throw failure;
}

function askFor(method: 'GET' | 'HEAD', { repository, reference, operation }: ManifestOptions): EndpointRequest {
  const path = `/v2/${repository}/manifests/${encodeURIComponent(reference).replaceAll('%3A', ':')}`;
  return { operation, repository, subject: 'manifest', method, path, headers: { accept: ACCEPT_MANIFESTS } };
}

/**
 * The digest of a manifest; undefined if it is not the expected one. The digest of a signed schema 1 manifest is that of its
 * payload, without the signatures (distribution's manifest v2 schema 1 specification).
 */
function proven(
  bytes: Uint8Array,
  mediaType: string,
  expected: Digest | undefined,
  operation: string,
): Digest | undefined {
  const algorithm = expected === undefined ? 'sha256' : digestParts(expected).algorithm;
  const plain = digestOf(bytes, algorithm);
  if (plain === expected) return plain;
  if (manifestKind(mediaType) !== 'schema1') return expected === undefined ? plain : undefined;
  try {
    const digest = digestOf(signedPayload(bytes), algorithm);
    return expected === undefined || digest === expected ? digest : undefined;
  } catch (thrown) {
    throw thrown instanceof Failure ? thrown.within(operation, 'source') : thrown;
  }
}

function mismatch(operation: string, { url }: Reply, digest: Digest): Failure {
  const detail = `${url.host} sent a manifest with another digest, ${digest}`;
  return new Failure({ operation, side: 'source', code: 'digest-mismatch', detail });
}

function contentDigest({ headers }: Reply): Digest | undefined {
  const digest = headers['docker-content-digest'];
  return typeof digest === 'string' && isDigest(digest) ? digest : undefined;
}

/** The type of manifest that a registry declares; empty for any other type, because the manifest itself has one as well. */
function declaredType({ headers }: Reply): string {
  const type = typeof headers['content-type'] === 'string' ? essence(headers['content-type']) : '';
  return manifestKind(type) === undefined ? '' : type;
}

function checkManifest(bytes: Uint8Array, mediaType: string, operation: string, { url }: Reply): void {
  try {
    parseManifest(bytes, mediaType);
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw thrown;
    const detail = `${url.host} sent an invalid manifest (${thrown.detail})`;
    throw new Failure({ operation, side: 'source', code: thrown.code, detail, cause: thrown });
  }
}
