/** RFC 8288 (formerly 5988): one link of a Link header. */
export interface Link {
  readonly target: string;
  /** Relation types, in lower case. */
  readonly rels: readonly string[];
}

const LINK = /<([^<>]*)>((?:\s*;\s*[^\s=;,<>]+(?:\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"<>]*))?)*)/g;
const REL = /;\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))/i;

/** Never throws: what cannot be understood is left out. */
export function parseLinks(header: string | readonly string[] | undefined): Link[] {
  const text = typeof header === 'string' ? header : (header ?? []).join(', ');
  return [...text.matchAll(LINK)].map(([, target = '', params = '']) => {
    const [, quoted, bare] = REL.exec(params) ?? [];
    const rels = (quoted ?? bare ?? '').toLowerCase().split(/\s+/);
    return { target: target.trim(), rels: rels.filter((rel) => rel !== '') };
  });
}

/** The query of the next page, with its question mark; empty where the link has none, and nothing on the last page. */
export function nextQuery(header: string | readonly string[] | undefined): string | undefined {
  const next = parseLinks(header).find(({ rels }) => rels.includes('next'));
  if (next === undefined) return undefined;
  // Whatever else the link says leads to another name of the registry, or away from it.
  const [, query = ''] = /^[^?#]*(\?[^#]*)?/.exec(next.target) ?? [];
  return query === '?' ? '' : query;
}
