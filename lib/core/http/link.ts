import { type HeaderValue, listValue } from './header.ts';

/** One link of a `Link` header (RFC 8288). */
export interface Link {
  readonly target: string;
  /** Relation types, in lower case. */
  readonly rels: readonly string[];
}

export interface Links {
  readonly links: readonly Link[];
  /** Whether the rest of the header is invalid, and may contain further links. */
  readonly isCut: boolean;
}

const SEPARATORS = /[\s,]*/y;
/** Some registries omit the angle brackets. */
const TARGET = /<([^<>]*)>|([^\s;,<>]+)/y;
/** An unquoted value is more lenient than the grammar: some registries use single quotes, or do not close a quote. */
const PARAMETER = /[\s;]*([^\s=;,<>"']+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^;,]*)))?/y;
const END = /[\s;]*(?:,|$)/y;

/** The links of a `Link` header in order, up to its first invalid part. */
export function parseLinks(header: HeaderValue): Links {
  const text = listValue(header);
  const links: Link[] = [];
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text) ?? undefined;
    if (found !== undefined) at = pattern.lastIndex;
    return found;
  };
  for (;;) {
    match(SEPARATORS);
    if (at === text.length) return { links, isCut: false };
    const target = match(TARGET);
    if (target === undefined) return { links, isCut: true };
    let rel: string | undefined;
    let isCut = false;
    while (!isCut && match(END) === undefined) {
      const [, name, quoted, single, bare = ''] = match(PARAMETER) ?? [];
      isCut = name === undefined;
      // The first of duplicate parameters counts.
      if (name?.toLowerCase() === 'rel') rel ??= quoted ?? single ?? bare;
    }
    const rels = (rel ?? '').toLowerCase().split(/[\s"'\\]+/);
    links.push({ target: (target[1] ?? target[2] ?? '').trim(), rels: rels.filter((each) => each !== '') });
    if (isCut) return { links, isCut };
  }
}

/**
 * The query of the next page with its question mark; undefined on the last page. Empty if the link to the next page has
 * no query, or if the header cannot be read, so that a caller never takes such a page for the last one.
 *
 * @param page the last segment of the path of a page; a link without a relation must have it, or no path
 */
export function nextQuery(header: HeaderValue, page?: string): string | undefined {
  const { links, isCut } = parseLinks(header);
  const named = links.find(({ rels }) => rels.includes('next'));
  if (named !== undefined) return queryOf(named);
  if (isCut) return '';
  // Some registries omit the relation.
  const unnamed = links.filter(({ rels, target }) => rels.length === 0 && isPage(target, page));
  return unnamed.map(queryOf).find((query) => query !== '');
}

function isPage(target: string, page: string | undefined): boolean {
  const [path = ''] = /^[^?#]*/.exec(target) ?? [];
  return page === undefined || path === '' || path.replace(/^.*\//, '') === page;
}

/** Only the query is used: the rest of the link may name another host. */
function queryOf({ target }: Link): string {
  const [, query = ''] = /^[^?#]*(\?[^#]*)?/.exec(target) ?? [];
  return query === '?' ? '' : query;
}
