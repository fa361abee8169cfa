/**
 * Parses the target of a request. Pure. Names contain slashes, so the path is read from its end.
 *
 * It takes the raw target, because a URL parser resolves `..`, so that two targets could name one object.
 */
import { basicAsOfTime } from '../core/as-of.ts';
import { type Digest, digestFault, isDigest } from '../oci/digest.ts';
import { isTag } from '../oci/reference.ts';
import { show } from '../oci/show.ts';
import { RegistryError } from './errors.ts';

/** OCI distribution spec 1.1, "Pulling manifests": `<name>`. */
const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const MAX_NAME = 255;
/** Names, references and parameters of pages are much shorter. */
const MAX_TARGET = 4_096;
/** The prefix for a time. A repository's name never begins with it, because its first component is a host. */
const AS_OF = /^at-(\d{8}(?:t\d{6}z)?)\/(.*)$/s;

export interface NameRequest {
  /** The name as in the target, without `at-…/`. */
  readonly name: string;
  /** The host in the query of containerd (`?ns=docker.io`). */
  readonly namespace: string | undefined;
  /** The time of the requested state, in milliseconds since the epoch; undefined for the present. */
  readonly asOf: number | undefined;
  readonly parameters: URLSearchParams;
  /** The path without its query, for links. */
  readonly path: string;
}

/** A page for browsers. A page of the archive. The address of an image's page is its reference. */
export interface PageRoute {
  readonly kind: 'page';
  /** Undefined for the list of repositories. Without a tag and a digest, the page is about the repository. */
  readonly image: (NameRequest & { readonly tag: string | undefined; readonly digest: Digest | undefined }) | undefined;
  /** The path without `/at-…`. */
  readonly address: string;
  readonly asOf: number | undefined;
  readonly parameters: URLSearchParams;
}

export type Route =
  | PageRoute
  | { readonly kind: 'base' | 'health' | 'metrics' }
  | ({ readonly kind: 'catalog' } & Pick<NameRequest, 'parameters' | 'path'>)
  | ({ readonly kind: 'tags' } & NameRequest)
  | ({ readonly kind: 'blob' | 'referrers'; readonly digest: Digest } & NameRequest)
  | ({ readonly kind: 'manifest'; readonly digest: Digest } & NameRequest)
  | ({ readonly kind: 'tag'; readonly tag: string } & NameRequest);

/**
 * @param target the raw request target: path and query
 * @param standard the time of a target that contains none
 * @throws RegistryError
 */
export function routeOf(target: string, standard?: number): Route {
  if (target.length > MAX_TARGET)
    throw new RegistryError(400, 'NAME_INVALID', `the path has ${target.length} characters (limit: ${MAX_TARGET})`);
  const end = target.indexOf('?');
  const [raw, query] = end < 0 ? [target, ''] : [target.slice(0, end), target.slice(end + 1)];
  // Some clients escape the colon of a digest. A path with any other escape is refused as an invalid name.
  const path = raw.replaceAll(/%3a/gi, ':');
  if (path === '/v2/' || path === '/v2') return { kind: 'base' };
  if (isHealth(target)) return { kind: 'health' };
  if (path === '/metrics') return { kind: 'metrics' };
  const parameters = new URLSearchParams(query);
  if (isPage(target)) return pageRouteOf(path, parameters, standard);
  if (path === '/v2/_catalog') return { kind: 'catalog', parameters, path };
  return endpointOf(path, parameters, standard);
}

/** Whether a request may come without a login: a load balancer has none. */
export function isHealth(target: string): boolean {
  return target.split('?', 1)[0] === '/healthz';
}

/** Whether a request is for a page, so that an error is a page as well. */
export function isPage(target: string): boolean {
  return !/^\/(?:v2[/?]|(?:v2|metrics|healthz)(?:\?|$))/.test(target);
}

const PAGE = /^\/(?:(at-\d{8}(?:t\d{6}z)?)(?:\/|$))?([^:@]*)(?::([^:@/]+))?(?:@([^@/]+))?$/s;

function pageRouteOf(path: string, parameters: URLSearchParams, standard: number | undefined): PageRoute {
  const [, time, name, tag, digest] = PAGE.exec(path.replaceAll(/%40/g, '@')) ?? [];
  const isImage = name !== undefined && NAME.test(name) && name.length <= MAX_NAME;
  const isReference = (tag === undefined || isTag(tag)) && (digest === undefined || isDigest(digest));
  const isHome = name === '' && tag === undefined && digest === undefined;
  if (!(isHome || (isImage && isReference)))
    throw new RegistryError(404, 'UNSUPPORTED', `the server has no page ${show(path)}`);
  const asOf = time === undefined ? standard : instantOf(time.slice('at-'.length));
  const shared = { kind: 'page', asOf, parameters } as const;
  if (isHome) return { ...shared, image: undefined, address: '/' };
  const reference = digest === undefined ? (tag === undefined ? '' : `:${tag}`) : `@${digest}`;
  const image = { name, namespace: undefined, asOf, parameters, path };
  const only = { tag: digest === undefined ? tag : undefined, digest };
  return { ...shared, image: { ...image, ...only }, address: `/${name}${reference}` };
}

const ENDPOINT = /^\/v2\/(.*)\/(?:(tags)\/list|(manifests|blobs|referrers)\/([^/]+))$/s;

function endpointOf(path: string, parameters: URLSearchParams, standard: number | undefined): Route {
  const [, name, tags, kind, reference = ''] = ENDPOINT.exec(path) ?? [];
  if (name === undefined) throw new RegistryError(404, 'UNSUPPORTED', `${show(path)} is not an endpoint of a registry`);
  const request = { ...namedBy(name, parameters, standard), parameters, path };
  if (tags !== undefined) return { kind: 'tags', ...request };
  if (kind === 'manifests') {
    if (isDigest(reference)) return { kind: 'manifest', digest: reference, ...request };
    if (isTag(reference)) return { kind: 'tag', tag: reference, ...request };
    if (!reference.includes(':')) throw new RegistryError(400, 'TAG_INVALID', `${show(reference)} is not a tag`);
  }
  if (!isDigest(reference))
    throw new RegistryError(400, 'DIGEST_INVALID', `${show(reference)} ${digestFault(reference) ?? ''}`);
  return { kind: kind === 'blobs' ? 'blob' : 'referrers', digest: reference, ...request };
}

function namedBy(
  full: string,
  parameters: URLSearchParams,
  standard: number | undefined,
): Pick<NameRequest, 'name' | 'namespace' | 'asOf'> {
  const [, time, rest] = AS_OF.exec(full) ?? [];
  const name = rest ?? full;
  const asOf = time === undefined ? standard : instantOf(time);
  if (name.length > MAX_NAME)
    throw new RegistryError(400, 'NAME_INVALID', `the name has ${name.length} characters (limit: ${MAX_NAME})`);
  if (!NAME.test(name)) throw new RegistryError(400, 'NAME_INVALID', `${show(name)} is not a name of a repository`);
  return { name, asOf, namespace: parameters.get('ns') ?? undefined };
}

function instantOf(time: string): number {
  const instant = basicAsOfTime(time);
  if (instant !== undefined) return instant;
  const expected = 'expected at-20260131t120000z or at-20260131';
  throw new RegistryError(400, 'NAME_INVALID', `at-${time} is not a time (${expected})`);
}
