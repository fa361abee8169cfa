import { Failure } from '../core/failure.ts';
import { MANIFEST_LIMITS } from '../oci/limits.ts';
import { essence, MEDIA_TYPES } from '../oci/mediatype.ts';
import type { EndpointAttempt } from './client.ts';
import type { Endpoint, EndpointRequest } from './endpoint.ts';
import { refusal, registryErrors, sourceFailure } from './errors.ts';
import { nextQuery } from '../core/http/link.ts';
import { readFields } from '../core/json.ts';
import type { Reply } from './http/message.ts';
import { readExcerpt, readWhole } from './http/short.ts';
import type { ReferrerList } from './referrer-list.ts';
import type { ReferrersOptions } from './referrers.ts';

/** Each page is a request, and may have a single referrer. */
const MAX_PAGES = 50;

/** For this time, an endpoint without the API is not asked for referrers again, in milliseconds. */
const NO_API_MS = 60 * 60_000;
/** The same for an endpoint whose API fails. */
const BROKEN_API_MS = 10 * 60_000;

/** The endpoint has no referrers API. Another endpoint of the registry may have it. */
class NoApi extends Failure {
  constructor(operation: string, endpoint: Endpoint) {
    // This error code does not defer the endpoint, which still serves all other content.
    super({ operation, side: 'source', code: 'manifest-unknown', detail: `${endpoint.name} has no referrers API` });
  }
}

interface Page {
  readonly bytes: Uint8Array;
  /** The query of the next page; all pages have the same path. Empty if the registry does not send it. */
  readonly next: string | undefined;
  readonly endpoint: Endpoint;
}

/**
 * Adds the referrers that the registry's API lists. Resolves to whether there is an API.
 *
 * @throws Failure for a temporary problem, and for a list that cannot be read
 */
export async function fromApi(options: ReferrersOptions, list: ReferrerList): Promise<boolean> {
  const { client, operation, artifactTypes } = options;
  const [type, ...others] = artifactTypes ?? [];
  // The filter accepts only one type, and registries need not support it.
  const query = type === undefined || others.length > 0 ? '' : `?artifactType=${encodeURIComponent(type)}`;
  const asked = new Set<string>();
  let page: Page;
  try {
    page = await client.request(options, 'tag', (one) => readPage(one, query, options));
  } catch (thrown) {
    if (thrown instanceof NoApi) return false;
    throw thrown;
  }
  for (;;) {
    list.addPage(page.bytes, operation);
    const { next, endpoint } = page;
    if (next === undefined || list.isFull) return true;
    const fault = faultOf(next, asked, endpoint);
    if (fault !== undefined) {
      list.note(fault);
      return true;
    }
    asked.add(next);
    // The link to the next page is valid only at the same endpoint.
    page = await client.request(options, endpoint, (one) => readPage(one, next, options));
  }
}

/** The reason why a further page is not requested. */
function faultOf(next: string, asked: ReadonlySet<string>, { name }: Endpoint): string | undefined {
  if (next === '')
    return `${name} sent a Link header without the query of the next page of referrers; the others are not mirrored`;
  if (asked.has(next)) return `${name} repeats a page of the list of referrers`;
  return asked.size + 1 >= MAX_PAGES
    ? `upstream lists its referrers on more than ${MAX_PAGES} pages; the others are not mirrored`
    : undefined;
}

async function readPage(one: EndpointAttempt, query: string, options: ReferrersOptions): Promise<Page> {
  const { endpoint, persistence, last } = one;
  const { client, repository, digest, operation, signal } = options;
  const { now } = client.options;
  if (endpoint.hasNoReferrersUntil > now()) throw new NoApi(operation, endpoint);
  const path = `/v2/${repository}/referrers/${digest}${query}`;
  const ask: EndpointRequest = {
    operation,
    repository,
    subject: 'manifest',
    method: 'GET',
    path,
    headers: { accept: MEDIA_TYPES.ociIndex },
    persistence,
  };
  try {
    const reply = await endpoint.send(ask, signal);
    if (reply.status !== 200) throw await refused(reply, endpoint, options);
    const kind = kindOf(reply);
    if (kind === 'other') {
      reply.body.cancel();
      throw without(endpoint, operation, now());
    }
    const bytes = await readWhole(reply, operation, MANIFEST_LIMITS.bytes);
    if (bytes === undefined) {
      const detail = `${reply.url.host} sent a list of referrers of more than ${MANIFEST_LIMITS.bytes} bytes`;
      throw new Failure({ operation, side: 'source', code: 'too-large', detail });
    }
    if (kind === 'unknown' && readFields(Buffer.from(bytes).toString('utf8'))?.has('manifests') !== true)
      throw without(endpoint, operation, now());
    return { bytes, next: nextQuery(reply.headers['link']), endpoint };
  } catch (thrown) {
    const failure = sourceFailure(thrown, operation, signal);
    // Otherwise each further manifest would wait for all tries.
    if (last && (failure.code === 'unavailable' || failure.code === 'timeout') && failure.status !== 503)
      endpoint.hasNoReferrersUntil = now() + BROKEN_API_MS;
    throw failure;
  }
}

/** Registries without the API answer 404, 400, 405 or 406, or send an HTML page or a document without a list. */
async function refused(reply: Reply, endpoint: Endpoint, options: ReferrersOptions): Promise<Failure> {
  const { operation, client } = options;
  const { status, headers, url } = reply;
  const now = client.options.now();
  const body = await readExcerpt(reply);
  const failure = refusal({ status, headers, body }, { operation, host: url.host, subject: 'manifest', now });
  if (failure.remedy !== 'never') return failure;
  const concernsContent = registryErrors(body).some(({ code }) => ABOUT_CONTENT.has(code));
  // A denial may concern one repository, as an unknown name does.
  return concernsContent || failure.code === 'denied'
    ? new NoApi(operation, endpoint)
    : without(endpoint, operation, now);
}

/** Error codes that say nothing about the API. */
const ABOUT_CONTENT: ReadonlySet<string> = new Set(['NAME_UNKNOWN', 'MANIFEST_UNKNOWN', 'NAME_INVALID']);

function without(endpoint: Endpoint, operation: string, now: number): NoApi {
  endpoint.hasNoReferrersUntil = now + NO_API_MS;
  return new NoApi(operation, endpoint);
}

/** The kind of document that the media type of a reply declares; some registries declare a list as JSON. */
function kindOf({ headers }: Reply): 'list' | 'unknown' | 'other' {
  const type = typeof headers['content-type'] === 'string' ? essence(headers['content-type']) : '';
  if (type === MEDIA_TYPES.ociIndex) return 'list';
  return type === 'application/json' || type === '' ? 'unknown' : 'other';
}
