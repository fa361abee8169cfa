import { Failure } from '../../core/failure.ts';
import { quote } from '../../oci/show.ts';
import { isLoopback } from './addresses.ts';
import { locate } from './location.ts';
import { readExcerpt } from './short.ts';
import type { HttpRequest, Reply } from './message.ts';

const MAX_REDIRECTS = 10;

export interface RedirectRules {
  /** Whether a host may use plain HTTP. */
  readonly isInsecure: (host: string) => boolean;
  /** Sends the request to the target of a redirect, with the authorization for that target. */
  readonly send: (request: HttpRequest) => Promise<Reply>;
}

/** Follows up to 10 redirects, and never from TLS to plain HTTP. `dial.ts` decides whether an address may be dialled. */
export async function followRedirects(
  first: Reply,
  request: HttpRequest,
  { isInsecure, send }: RedirectRules,
): Promise<Reply> {
  let reply = first;
  let { method, body } = request;
  for (let count = 1; isRedirect(reply); count += 1) {
    await readExcerpt(reply);
    const url = targetOf(reply, count, request.operation, isInsecure);
    // RFC 9110, section 15.4: 307 and 308 repeat the request; the others change a POST to a GET.
    if (method === 'POST' && reply.status !== 307 && reply.status !== 308) [method, body] = ['GET', undefined];
    const { body: _, ...rest } = request;
    reply = await send({ ...rest, method, url, namedBy: reply.url, ...(body === undefined ? {} : { body }) });
  }
  return reply;
}

function targetOf(
  { url: from, headers, status }: Reply,
  count: number,
  operation: string,
  isInsecure: (host: string) => boolean,
): URL {
  const location = locationIn(headers);
  const refuse = (problem: string): Failure =>
    new Failure({ operation, side: 'source', code: 'invalid', detail: `${from.host} ${problem}`, status });
  if (count > MAX_REDIRECTS) throw refuse(`redirected more than ${MAX_REDIRECTS} times`);
  const url = location === undefined ? undefined : locate(location, from);
  if (url === undefined) throw refuse('redirected without a valid Location');
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw refuse(`redirected to ${quote(url.protocol)}`);
  const isDowngrade = from.protocol === 'https:' && url.protocol === 'http:';
  if (isDowngrade && !isLoopback(url.hostname) && !isInsecure(url.host))
    throw refuse(`redirected from TLS to plain HTTP at ${url.host}; to allow it, use --insecure-registry ${url.host}`);
  return url;
}

/** The first Location. Some registries send text in UTF-8, which HTTP headers are not. */
function locationIn({ location }: Reply['headers']): string | undefined {
  const [first] = Array.isArray(location) ? location : [location];
  if (first === undefined || !/[\x80-\xff]/.test(first)) return first;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(first, 'latin1'));
  } catch {
    return first;
  }
}

function isRedirect({ status }: Reply): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

/**
 * Sends a request with the credentials of its host, and follows redirects. The credentials are sent while the host stays
 * the same, with any port or scheme, and never again after a redirect to another host.
 */
export async function sendWithCredentials(
  request: HttpRequest,
  isInsecure: (host: string) => boolean,
  send: (request: HttpRequest) => Promise<Reply>,
): Promise<Reply> {
  let isSameHost = true;
  return followRedirects(await send(request), request, {
    isInsecure,
    send: (next) => {
      isSameHost &&= next.url.hostname === request.url.hostname;
      return isSameHost ? send(next) : send(withoutCredentials(next));
    },
  });
}

function withoutCredentials(request: HttpRequest): HttpRequest {
  const { operation, url, namedBy } = request;
  if (request.body !== undefined) {
    const detail = `${namedBy?.host ?? ''} redirected to another host, ${url.host}, which does not receive the credentials`;
    throw new Failure({ operation, side: 'source', code: 'denied', detail });
  }
  const { authorization: _, ...headers } = request.headers;
  return { ...request, headers };
}
