/** URLs from remote text. They are requested as they are written, because a signature may cover each character. */

/** A URL with the path and query of its request. */
class WrittenUrl extends URL {
  readonly target: string;

  constructor(url: URL, target: string) {
    super(url);
    this.target = target;
  }
}

/** Scheme and authority, path, and query. */
const REFERENCE = /^((?:[a-z][a-z\d+.-]*:)?\/\/[^/?#]*)?([^?#]*)(\?[^#]*)?/i;
/** As in Go. A backslash is a character of a path, and not a separator. */
const NOT_IN_PATH = /[^\w\-.~!$&'()*+,;=:@[\]%/]/gu;
const NOT_VISIBLE = /[^!-~]/gu;
const DOTS = /\/\.\.?(?=\/|$)/;

/** The path and query of a request. */
export function requestTarget(url: URL): string {
  return url instanceof WrittenUrl ? url.target : `${url.pathname}${url.search}`;
}

/**
 * Resolves a reference, and keeps its path and query. `URL` alone removes segments like `%2e%2e`, and escapes quotes in a
 * query. All other parts are those of the returned URL, so a check of the host applies to the host of the request.
 *
 * @returns undefined if the reference is invalid
 */
export function locate(reference: string, base?: URL): URL | undefined {
  const [, authority = '', rawPath = '', rawQuery = ''] = REFERENCE.exec(reference.toWellFormed()) ?? [];
  const path = rawPath.replace(NOT_IN_PATH, encodeURIComponent);
  const query = rawQuery.replace(NOT_VISIBLE, encodeURIComponent);
  const text = `${authority}${path}${query}`;
  if (!URL.canParse(text, base?.href)) return undefined;
  const url = new URL(text, base);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return url;
  // Relative paths, and references that `URL` divides in another way, have the path of `URL`.
  const isKept = path.startsWith('/') && !DOTS.test(path) && new URL(`${url.origin}${path}`).pathname === url.pathname;
  return new WrittenUrl(url, `${isKept ? path : url.pathname}${query || url.search}`);
}
