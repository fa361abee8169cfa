/** Lists of tags and repositories, in pages (OCI distribution spec 1.1, "Listing Tags"). */
import type { Archive } from '../archive/archive.ts';
import type { TagIndex } from '../archive/tag-index/tag-index.ts';
import { show } from '../oci/show.ts';
import { json } from './answers.ts';
import { RegistryError } from './errors.ts';
import { requestName } from './names.ts';
import { indexAt } from './past.ts';
import type { NameRequest, Route } from './routes.ts';

/** The maximum number of names of a page. */
const MAX_PAGE = 10_000;
/**
 * The maximum bytes of a page. In base64, a page fits into the 1 MB that a load balancer accepts from a Lambda
 * function.
 */
export const MAX_PAGE_BYTES = 512 * 1024;

export function tagList(request: Request, { name, path, parameters, asOf }: NameRequest, index: TagIndex): Response {
  const all = indexAt(index, asOf)
    .entries()
    .flatMap(({ tag }) => tag ?? []);
  const { names: tags, link } = pageOf(all, parameters, path);
  return json(request, { name, tags }, link === undefined ? {} : { link });
}

export async function catalog(
  request: Request,
  { path, parameters }: Route & { readonly kind: 'catalog' },
  archive: Archive,
): Promise<Response> {
  const all = new Set<string>();
  for await (const repository of archive.repositories({ signal: request.signal })) {
    const name = requestName(repository);
    if (name !== undefined) all.add(name);
  }
  const { names: repositories, link } = pageOf([...all].sort(), parameters, path);
  return json(request, { repositories }, link === undefined ? {} : { link });
}

interface Page {
  readonly names: readonly string[];
  /** The value of the `Link` header; undefined for the last page. */
  readonly link: string | undefined;
}

/**
 * @param names sorted
 * @throws RegistryError for an `n` that is not a number
 */
export function pageOf(names: readonly string[], parameters: URLSearchParams, path: string): Page {
  const text = parameters.get('n');
  if (text !== null && !/^\d{1,9}$/.test(text))
    throw new RegistryError(400, 'PAGINATION_NUMBER_INVALID', `n=${show(text)} is not a whole number from 0`);
  const n = Math.min(text === null ? MAX_PAGE : Number(text), MAX_PAGE);
  const after = parameters.get('last') ?? '';
  const rest = after === '' ? names : names.slice(firstAfter(names, after));
  const page = rest.slice(0, fitting(rest, n));
  const last = page.at(-1);
  if (last === undefined || page.length === rest.length) return { names: page, link: undefined };
  return { names: page, link: nextLink(path, parameters, { n: String(n), last }) };
}

/** The value of the `Link` header: the same target with other parameters. */
export function nextLink(path: string, parameters: URLSearchParams, changed: Readonly<Record<string, string>>): string {
  const kept = [...parameters].filter(([name]) => !Object.hasOwn(changed, name));
  const next = new URLSearchParams([...kept, ...Object.entries(changed)]);
  return `<${path}?${next.toString()}>; rel="next"`;
}

/** The number of names that a page of at most `n` has. */
function fitting(names: readonly string[], n: number): number {
  let bytes = 0;
  // A name is ASCII, and JSON adds two quotes and a comma.
  const end = names.findIndex((name, at) => at >= n || (bytes += name.length + 3) > MAX_PAGE_BYTES);
  return end < 0 ? names.length : end;
}

/** The position of the first name after `text`, which may be missing in the list. */
function firstAfter(names: readonly string[], text: string): number {
  let [low, high] = [0, names.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((names[middle] ?? '') > text) high = middle;
    else low = middle + 1;
  }
  return low;
}
