/** Headers and bodies that several endpoints share. */
import { hasEtag } from '../core/http/etag.ts';
import { parseRange } from '../core/http/range.ts';
import { RegistryError } from './errors.ts';
import { type Content, firstOf, Reply } from './reply.ts';
import type { Answer } from './served.ts';

/** The content of a digest never changes. */
export const IMMUTABLE = 'public, max-age=31536000, immutable';
/** A client has to revalidate before it uses a cached response. */
export const REVALIDATE = 'no-cache';

export type Headers = Readonly<Record<string, string>>;

/** A response with a small body; without a body for HEAD, and 304 for a client that has the content. */
export function whole(request: Request, bytes: Uint8Array, headers: Headers): Response {
  const etag = headers['etag'];
  if (etag !== undefined && hasEtag(request.headers.get('if-none-match'), etag)) return unchanged(headers);
  return answer(request, 200, new Uint8Array(bytes), { ...headers, 'content-length': String(bytes.length) });
}

/** A response with a JSON document. */
export function json(request: Request, value: unknown, headers: Headers = {}): Response {
  const all = { 'content-type': 'application/json', 'cache-control': REVALIDATE, ...headers };
  return whole(request, Buffer.from(JSON.stringify(value)), all);
}

/** Opens a body at an offset in bytes. The body has to be iterated, or its iterator returned. */
export type Open = (start: number) => Promise<AsyncIterable<Uint8Array>>;

/** A response with a large body, or with the range of it that the client requests. */
export async function ranged(request: Request, size: number, open: Open, headers: Headers): Promise<Response> {
  const { 'content-length': _, ...rest } = headers;
  const etag = rest['etag'] ?? '';
  if (hasEtag(request.headers.get('if-none-match'), etag)) return unchanged(rest);
  // RFC 9110, section 14.2: ranges apply to GET only.
  const isWanted = request.method === 'GET' && [null, etag].includes(request.headers.get('if-range'));
  const range = isWanted ? parseRange(request.headers.get('range'), size) : undefined;
  const all = { ...rest, 'accept-ranges': 'bytes' };
  if (range === 'unsatisfiable')
    throw new RegistryError(416, 'UNSUPPORTED', `the blob has ${size} bytes, and none in this range`, {
      'content-range': `bytes */${size}`,
    });
  const { start, end } = range ?? { start: 0, end: size };
  const length = { 'content-length': String(end - start) };
  if (request.method === 'HEAD') return answer(request, 200, null, { ...all, ...length });
  const body = end === start ? new Uint8Array(0) : firstOf(await open(start), end - start);
  if (range === undefined) return answer(request, 200, body, { ...all, ...length });
  return answer(request, 206, body, { ...all, ...length, 'content-range': `bytes ${start}-${end - 1}/${size}` });
}

/**
 * A redirect to the store, whose response has the range that the client requests. Every link is unique and expires
 * soon, so no cache may store it.
 *
 * @param link called for a client that does not have the content
 */
export async function redirected(
  request: Request,
  size: number,
  link: () => Promise<string>,
  headers: Headers,
): Promise<Answer> {
  const { etag = '', 'content-type': _, ...rest } = headers;
  if (hasEtag(request.headers.get('if-none-match'), etag)) return { response: unchanged({ etag, ...rest }) };
  const all = { ...rest, location: await link(), 'content-length': '0', 'cache-control': 'no-store' };
  return { response: new Reply(null, { status: 307, headers: all }), redirectedBytes: size };
}

function unchanged({ 'content-type': _, ...headers }: Headers): Response {
  return new Reply(null, { status: 304, headers });
}

function answer({ method }: Request, status: number, content: Content, headers: Headers): Response {
  return new Reply(method === 'HEAD' ? null : content, { status, headers });
}
