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

/** Where the next page is, as a URL; nothing on the last page. */
export function nextPage(header: string | readonly string[] | undefined, base: URL): URL | undefined {
  const next = parseLinks(header).find(({ rels }) => rels.includes('next'));
  return next !== undefined && URL.canParse(next.target, base.href) ? new URL(next.target, base) : undefined;
}
