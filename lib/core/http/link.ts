import { type HeaderValue, listValue } from './header.ts';

/** One link of a `Link` header (RFC 8288). */
export interface Link {
  readonly target: string;
  /** Relation types, in lower case. */
  readonly rels: readonly string[];
}

const LINK = /<([^<>]*)>((?:\s*;\s*[^\s=;,<>]+(?:\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"<>]*))?)*)/g;
const REL = /;\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))/i;

/** The links of a `Link` header; invalid parts are skipped. */
export function parseLinks(header: HeaderValue): Link[] {
  return [...listValue(header).matchAll(LINK)].map(([, target = '', params = '']) => {
    const [, quoted, bare] = REL.exec(params) ?? [];
    const rels = (quoted ?? bare ?? '').toLowerCase().split(/\s+/);
    return { target: target.trim(), rels: rels.filter((rel) => rel !== '') };
  });
}

/** The query of the next page with its question mark; empty if the link has no query, undefined on the last page. */
export function nextQuery(header: HeaderValue): string | undefined {
  const next = parseLinks(header).find(({ rels }) => rels.includes('next'));
  if (next === undefined) return undefined;
  // Only the query is used: the rest of the link may name another host.
  const [, query = ''] = /^[^?#]*(\?[^#]*)?/.exec(next.target) ?? [];
  return query === '?' ? '' : query;
}
