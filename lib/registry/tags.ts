import { Failure } from '../core/failure.ts';
import { JsonFault, readFields, readJson } from '../core/json.ts';
import { quote } from '../oci/show.ts';
import type { EndpointAttempt, Operation } from './client.ts';
import type { EndpointRequest, Endpoint } from './endpoint.ts';
import { nextQuery } from '../core/http/link.ts';
import { readWhole } from './http/short.ts';

/** The requested tags per page; registries may send fewer (distribution spec 1.1, end-8b). */
const PAGE_TAGS = 1000;

/** The limit for a page; some registries send all tags in one. Enough for `MAX_TAGS` tags of maximum length. */
const PAGE_BYTES = 32 * 1024 * 1024;

/** The limit for the tags of a repository; the largest public repositories have about 10,000. */
const MAX_TAGS = 200_000;
/** Smaller pages count as this many tags, so that a registry cannot send an endless number of them. */
const MIN_PAGE_TAGS = 100;

interface Page {
  readonly tags: readonly string[];
  /** The query of the next page; all pages have the same path. */
  readonly next: string | undefined;
  readonly endpoint: Endpoint;
}

/**
 * The tags of a repository, page by page. Only one page is in memory, and one query for the detection of cycles.
 *
 * @throws Failure `too-large` for more than 200,000 tags
 */
export async function* listTags(options: Operation): AsyncGenerator<readonly string[]> {
  const { client, operation } = options;
  let page = await client.request(options, 'tag', (one) => readFirstPage(one, options));
  // Brent's algorithm finds cycles of any length with one remembered page.
  let remembered: string | undefined;
  let total = 0;
  for (let count = 1, until = 1; ; count += 1) {
    const { next, endpoint } = page;
    total += Math.max(page.tags.length, MIN_PAGE_TAGS);
    if (total > MAX_TAGS && (next !== undefined || page.tags.length > MIN_PAGE_TAGS))
      throw wrong(operation, `${endpoint.name} lists more than ${MAX_TAGS} tags`, 'too-large');
    yield page.tags;
    if (next === undefined) return;
    if (next === remembered) throw wrong(operation, `${endpoint.name} repeats a page of its tag list`);
    if (count === until) {
      remembered = next;
      until *= 2;
    }
    // The link to the next page is valid only at the same endpoint.
    page = await client.request(options, endpoint, (one) => readPage(one, next, options));
  }
}

/** The statuses that are not a refusal of the page size. */
const OTHER_REASON: ReadonlySet<number> = new Set([401, 403, 404, 408, 425, 429, 503]);

/** Requests a page size; some registries refuse it or fail because of it, and serve pages without it. */
async function readFirstPage(one: EndpointAttempt, options: Operation): Promise<Page> {
  try {
    return await readPage(one, `?n=${PAGE_TAGS}`, options);
  } catch (thrown) {
    const status = thrown instanceof Failure ? thrown.status : undefined;
    if (status === undefined || status < 400 || OTHER_REASON.has(status)) throw thrown;
    return readPage(one, '', options);
  }
}

async function readPage({ endpoint, persistence }: EndpointAttempt, query: string, options: Operation): Promise<Page> {
  const { client, repository, operation, signal } = options;
  const path = `/v2/${repository}/tags/list${query}`;
  const ask: EndpointRequest = {
    operation,
    repository,
    subject: 'tags',
    method: 'GET',
    path,
    headers: { accept: 'application/json' },
    persistence,
  };
  const reply = await endpoint.send(ask, signal);
  if (reply.status !== 200) throw await client.refuse(reply, endpoint, ask, signal);
  const bytes = await readWhole(reply, operation, PAGE_BYTES, () => client.largeBodies.hold(signal));
  if (bytes === undefined)
    throw wrong(operation, `${reply.url.host} sent a page of more than ${PAGE_BYTES} bytes`, 'too-large');
  const tags = parseTags(Buffer.from(bytes).toString('utf8'), (why, code) =>
    wrong(operation, `${reply.url.host} sent an invalid list of tags${why}`, code),
  );
  const next = nextQuery(reply.headers['link'], 'list');
  if (next === '') throw wrong(operation, `${reply.url.host} sent a Link header without the query of the next page`);
  return { tags, next, endpoint };
}

/** `{"name": ..., "tags": [...]}`; some registries send null for no tags, and null for a tag without a name. */
function parseTags(text: string, refuse: (why: string, code?: JsonFault['code']) => Failure): readonly string[] {
  const fields = readFields(text);
  if (fields === undefined) throw refuse(...faultOf(text));
  const field = fields.get('tags');
  if (field === undefined && fields.has('errors')) throw refuse(' (it has errors instead of tags)');
  const tags: unknown = field ?? [];
  if (!Array.isArray(tags)) throw refuse('');
  const named: readonly unknown[] = tags.filter((tag) => tag !== null);
  if (!named.every((tag) => typeof tag === 'string')) throw refuse('');
  return named;
}

/** The reason why a text has no fields. */
function faultOf(text: string): [string, JsonFault['code']?] {
  try {
    readJson(text);
    return [''];
  } catch (fault) {
    if (fault instanceof JsonFault) return [` (it ${quote(fault.message)})`, fault.code];
    throw fault;
  }
}

function wrong(operation: string, detail: string, code: JsonFault['code'] = 'invalid'): Failure {
  return new Failure({ operation, side: 'source', code, detail });
}
