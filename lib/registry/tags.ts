import { Failure } from '../base/failure.ts';
import type { RegistryClient, Try } from './client.ts';
import type { Ask, Endpoint } from './endpoint.ts';
import { isRecord } from './errors.ts';
import { nextPage } from './links.ts';
import { readWhole } from './short.ts';

/** What is asked for at once; registries give less where they like (distribution spec 1.1, end-8b). */
const PAGE_TAGS = 1000;

/** Some registries do not page at all: this is a hundred thousand tags of the longest kind. */
const PAGE_BYTES = 16 * 1024 * 1024;

interface Page {
  readonly tags: readonly string[];
  /** The path of the next page, below the endpoint's origin. */
  readonly next: string | undefined;
  readonly endpoint: Endpoint;
}

interface TagsOptions {
  readonly client: RegistryClient;
  readonly repository: string;
  readonly operation: string;
  readonly signal: AbortSignal | undefined;
}

/** The tags of a repository, page by page; only one page is held, and one path to notice a registry that goes in circles. */
export async function* listTags(options: TagsOptions): AsyncGenerator<readonly string[]> {
  const { client, repository, operation, signal } = options;
  const first = `/v2/${repository}/tags/list?n=${PAGE_TAGS}`;
  let page = await client.request(operation, (one) => readPage(one, first, options), signal);
  // Brent's algorithm: every cycle is found, however long, by remembering one page that is ever further ahead.
  let remembered = first;
  for (let count = 1, until = 1; ; count += 1) {
    yield page.tags;
    const { next, endpoint } = page;
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
      signal,
    );
  }
}

async function readPage({ endpoint, persistence }: Try, path: string, options: TagsOptions): Promise<Page> {
  const { client, repository, operation, signal } = options;
  const ask: Ask = { operation, repository, method: 'GET', path, headers: { accept: 'application/json' }, persistence };
  const reply = await endpoint.send(ask, signal);
  if (reply.status !== 200) throw await client.refuse(reply, { endpoint, ask, subject: 'tags' }, signal);
  const bytes = await readWhole(reply, operation, PAGE_BYTES);
  if (bytes === undefined)
    throw wrong(operation, `${reply.url.host} sent a page of more than ${PAGE_BYTES} bytes`, 'too-large');
  const tags = parseTags(Buffer.from(bytes).toString('utf8'));
  if (tags === undefined) throw wrong(operation, `${reply.url.host} sent something that is not a list of tags`);
  const next = nextPage(reply.headers['link'], reply.url);
  // Behind a proxy that ends TLS, registries take themselves for plain HTTP: the host is what counts, and it is ours.
  if (next !== undefined && next.host !== reply.url.host)
    throw wrong(operation, `${reply.url.host} says that its next page is at another host, ${next.host}`);
  return { tags, next: next && `${next.pathname}${next.search}`, endpoint };
}

/** `{"name": ..., "tags": [...]}`; some registries say null where there are none. */
function parseTags(text: string): readonly string[] | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
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
