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

/** The repository has no referrers API at this endpoint. Another endpoint of the registry may have it. */
class NoApi extends Failure {
  /** A warning, where the API exists and fails. */
  readonly note: string | undefined;

  constructor(operation: string, detail: string, note?: string) {
    // This error code does not defer the endpoint, which still serves all other content.
    super({ operation, side: 'source', code: 'manifest-unknown', detail });
    this.note = note;
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
  let page: Page;
  try {
    page = await client.request(options, 'tag', (one) => readFirstPage(one, query, options));
  } catch (thrown) {
    if (!(thrown instanceof NoApi)) throw thrown;
    if (thrown.note !== undefined) list.note(thrown.note);
    return false;
  }
  list.addPage(page.bytes, operation);
  await addFurtherPages(page, options, list);
  return true;
}

/** Adds the further pages; one that is refused or invalid is noted, and the referrers so far are kept. */
async function addFurtherPages(first: Page, options: ReferrersOptions, list: ReferrerList): Promise<void> {
  const { client, operation, signal } = options;
  const asked = new Set<string>();
  for (let { next, endpoint } = first; next !== undefined && !list.isFull;) {
    const fault = faultOf(next, asked, endpoint);
    if (fault !== undefined) {
      list.note(fault);
      return;
    }
    asked.add(next);
    const query = next;
    try {
      // The link to the next page is valid only at the same endpoint.
      const page = await client.request(options, endpoint, (one) => readPage(one, query, options));
      list.addPage(page.bytes, operation);
      ({ next } = page);
    } catch (thrown) {
      const failure = sourceFailure(thrown, operation, signal);
      if (failure.remedy !== 'never') throw failure;
      list.note(`a further page of the list of referrers cannot be read, so others may be missing: ${failure.detail}`);
      return;
    }
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

/** Reads the first page, which shows whether the repository has the API. */
async function readFirstPage(one: EndpointAttempt, query: string, options: ReferrersOptions): Promise<Page> {
  const { endpoint, last } = one;
  const { client, repository, operation, signal } = options;
  const { now } = client.options;
  const absence = endpoint.referrers.absence(repository, now());
  if (absence !== undefined) throw new NoApi(operation, `${endpoint.name} has no referrers API`, absence.note);
  try {
    const page = await readPage(one, query, options, (isSure) => {
      endpoint.referrers.refused(repository, options.digest, isSure, now());
    });
    endpoint.referrers.served(repository);
    return page;
  } catch (thrown) {
    const failure = sourceFailure(thrown, operation, signal);
    // Otherwise each further manifest would wait for all tries.
    if (last && (failure.code === 'unavailable' || failure.code === 'timeout') && failure.status !== 503) {
      const note = `the referrers API fails (${failure.detail}); referrers without a tag are not mirrored`;
      endpoint.referrers.failed(repository, note, now());
    }
    throw failure;
  }
}

/** @param onRefusal called for a refusal that may mean that the repository has no API, and whether it is sure to */
async function readPage(
  { endpoint, persistence }: EndpointAttempt,
  query: string,
  options: ReferrersOptions,
  onRefusal: (isSure: boolean) => void = () => undefined,
): Promise<Page> {
  const { client, repository, digest, operation, signal } = options;
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
  const reply = await endpoint.send(ask, signal);
  if (reply.status !== 200) throw await refused(reply, options, onRefusal);
  const notAList = (): NoApi => {
    onRefusal(false);
    return new NoApi(operation, `${reply.url.host} sent a document that is not a list of referrers`);
  };
  const kind = kindOf(reply);
  if (kind === 'other') {
    reply.body.cancel();
    throw notAList();
  }
  const bytes = await readWhole(reply, operation, MANIFEST_LIMITS.bytes, () => client.largeBodies.hold(signal));
  if (bytes === undefined) {
    const detail = `${reply.url.host} sent a list of referrers of more than ${MANIFEST_LIMITS.bytes} bytes`;
    throw new Failure({ operation, side: 'source', code: 'too-large', detail });
  }
  if (kind === 'unknown' && readFields(Buffer.from(bytes).toString('utf8'))?.has('manifests') !== true)
    throw notAList();
  return { bytes, next: nextQuery(reply.headers['link']), endpoint };
}

/** Registries without the API answer 404, 400, 405 or 406, or send an HTML page or a document without a list. */
async function refused(
  reply: Reply,
  { operation, client }: ReferrersOptions,
  onRefusal: (isSure: boolean) => void,
): Promise<Failure> {
  const { status, headers, url } = reply;
  const now = client.options.now();
  const body = await readExcerpt(reply);
  const failure = refusal({ status, headers, body }, { operation, host: url.host, subject: 'manifest', now });
  if (failure.remedy !== 'never') return failure;
  const concernsContent = registryErrors(body).some(({ code }) => ABOUT_CONTENT.has(code));
  // A denial may concern one manifest, as an unknown name does.
  if (!concernsContent && failure.code !== 'denied') onRefusal(NO_ROUTE.has(status));
  return new NoApi(operation, failure.detail);
}

/** The statuses of a path or a method that a server does not have. */
const NO_ROUTE: ReadonlySet<number> = new Set([404, 405, 501]);

/** Error codes that say nothing about the API. */
const ABOUT_CONTENT: ReadonlySet<string> = new Set(['NAME_UNKNOWN', 'MANIFEST_UNKNOWN', 'NAME_INVALID']);

/** The kind of document that the media type of a reply declares; some registries declare a list as JSON. */
function kindOf({ headers }: Reply): 'list' | 'unknown' | 'other' {
  const type = typeof headers['content-type'] === 'string' ? essence(headers['content-type']) : '';
  if (type === MEDIA_TYPES.ociIndex) return 'list';
  return type === 'application/json' || type === '' ? 'unknown' : 'other';
}
