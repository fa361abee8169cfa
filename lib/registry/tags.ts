import { Failure } from '../core/failure.ts';
import { readJson } from '../core/json.ts';
import type { RegistryClient, Try } from './client.ts';
import type { Ask, Endpoint } from './endpoint.ts';
import { isRecord } from './errors.ts';
import { nextQuery } from './http/links.ts';
import { readWhole } from './http/short.ts';

/** Tags of one page; registries send fewer where they like (distribution spec 1.1, end-8b). */
const PAGE_TAGS = 1000;

/** Some registries do not page at all: this is a hundred thousand tags of the longest kind. */
const PAGE_BYTES = 16 * 1024 * 1024;

/** Tags of one repository; the largest in public have some ten thousand. */
const MAX_TAGS = 200_000;
/** What a page counts for at the least, so that a registry cannot send small pages without end. */
const MIN_PAGE_TAGS = 100;

interface Page {
  readonly tags: readonly string[];
  /** The query of the next page; all pages have the same path. */
  readonly next: string | undefined;
  readonly endpoint: Endpoint;
}

interface TagsOptions {
  readonly client: RegistryClient;
  readonly repository: string;
  readonly operation: string;
  readonly signal: AbortSignal | undefined;
}

/**
 * The tags of a repository, page by page; only one page is held, and one query to notice a registry that goes in circles.
 *
 * @throws Failure `too-large` for more than 200,000 tags
 */
export async function* listTags(options: TagsOptions): AsyncGenerator<readonly string[]> {
  const { client, operation, signal } = options;
  let page = await client.request(operation, (one) => readFirstPage(one, options), { by: 'tag', signal });
  // Brent's algorithm: every cycle is found, however long, by remembering one page that is ever further ahead.
  let remembered: string | undefined;
  let total = 0;
  for (let count = 1, until = 1; ; count += 1) {
    const { next, endpoint } = page;
    total += Math.max(page.tags.length, MIN_PAGE_TAGS);
    if (total > MAX_TAGS && (next !== undefined || page.tags.length > MIN_PAGE_TAGS))
      throw wrong(operation, `${endpoint.name} lists more than ${MAX_TAGS} tags`, 'too-large');
    yield page.tags;
    if (next === undefined) return;
    if (next === remembered) throw wrong(operation, `${endpoint.name} pages its tags in a circle`);
    if (count === until) {
      remembered = next;
      until *= 2;
    }
    // A page's successor is that endpoint's own, and means nothing to another.
    page = await client.request(
      operation,
      ({ last }) => readPage({ endpoint, persistence: 'wait', last }, next, options),
      { by: 'tag', signal },
    );
  }
}

/** Statuses of the class 4xx that say nothing about the number of tags that is asked for. */
const OTHER_REASON: ReadonlySet<number> = new Set([401, 403, 404, 429]);

/** With the number of tags that are wanted at once; some registries refuse the number, and serve pages without it. */
async function readFirstPage(one: Try, options: TagsOptions): Promise<Page> {
  try {
    return await readPage(one, `?n=${PAGE_TAGS}`, options);
  } catch (thrown) {
    const status = thrown instanceof Failure ? thrown.status : undefined;
    if (status === undefined || status < 400 || status >= 500 || OTHER_REASON.has(status)) throw thrown;
    return readPage(one, '', options);
  }
}

async function readPage({ endpoint, persistence }: Try, query: string, options: TagsOptions): Promise<Page> {
  const { client, repository, operation, signal } = options;
  const path = `/v2/${repository}/tags/list${query}`;
  const ask: Ask = { operation, repository, method: 'GET', path, headers: { accept: 'application/json' }, persistence };
  const reply = await endpoint.send(ask, signal);
  if (reply.status !== 200) throw await client.refuse(reply, { endpoint, ask, subject: 'tags' }, signal);
  const bytes = await readWhole(reply, operation, PAGE_BYTES);
  if (bytes === undefined)
    throw wrong(operation, `${reply.url.host} sent a page of more than ${PAGE_BYTES} bytes`, 'too-large');
  const tags = parseTags(Buffer.from(bytes).toString('utf8'));
  if (tags === undefined) throw wrong(operation, `${reply.url.host} sent something that is not a list of tags`);
  const next = nextQuery(reply.headers['link']);
  if (next === '') throw wrong(operation, `${reply.url.host} names a next page without a query`);
  return { tags, next, endpoint };
}

/** `{"name": ..., "tags": [...]}`; some registries say null where there are none. */
function parseTags(text: string): readonly string[] | undefined {
  let json: unknown;
  try {
    json = readJson(text);
  } catch {
    return undefined;
  }
  if (!isRecord(json)) return undefined;
  const tags: unknown = json['tags'] ?? [];
  return Array.isArray(tags) && tags.every((tag) => typeof tag === 'string') ? tags : undefined;
}

function wrong(operation: string, detail: string, code: 'invalid' | 'too-large' = 'invalid'): Failure {
  return new Failure({ operation, side: 'source', code, detail });
}
