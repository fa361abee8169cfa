/**
 * A read-only registry over an archive: the pull half of the OCI distribution spec 1.1, as a function from a web `Request` to
 * a `Response`. It serves only proven content, and manifests byte for byte, whatever `Accept` says.
 */
import { asFailure } from '../core/failure.ts';
import type { Archive } from '../archive/archive.ts';
import { MEDIA_TYPES } from '../oci/mediatype.ts';
import { type Headers, IMMUTABLE, json, REVALIDATE, whole } from './answers.ts';
import { Blobs } from './blobs.ts';
import { RegistryError } from './errors.ts';
import { Lists } from './lists.ts';
import { type Found, Manifests } from './manifests.ts';
import { type NameRequest, type Route, routeOf } from './routes.ts';
import { Repositories } from './repositories.ts';

export interface RegistryOptions {
  readonly archive: Archive;
  /** The host of names that have none, for clients that send neither a host nor a namespace. */
  readonly defaultHost?: string | undefined;
  /** The state that is served, in milliseconds since the epoch; the present by default. */
  readonly asOf?: number | undefined;
  /** Called with a sentence for each fault of the archive. */
  readonly onFault?: (text: string) => void;
}

const VERSION: Headers = { 'docker-distribution-api-version': 'registry/2.0' };

export class Registry {
  readonly #o: RegistryOptions;
  readonly #repositories: Repositories;
  readonly #manifests: Manifests;
  readonly #blobs: Blobs;
  readonly #lists: Lists;

  constructor(options: RegistryOptions) {
    const { archive, defaultHost, onFault = () => undefined } = options;
    this.#o = { ...options, onFault };
    this.#repositories = new Repositories(archive, defaultHost);
    this.#manifests = new Manifests(archive, onFault);
    this.#blobs = new Blobs(archive, onFault);
    this.#lists = new Lists(archive);
  }

  /**
   * Never rejects.
   *
   * @param target the raw request target, path and query: the URL of a `Request` has resolved `..` and decoded parts of it
   */
  async handle(request: Request, target: string): Promise<Response> {
    try {
      const response = await this.#handle(request, target);
      for (const [name, value] of Object.entries(VERSION)) response.headers.set(name, value);
      return response;
    } catch (error) {
      const refusal = error instanceof RegistryError ? error : this.#fault(error, target);
      const response = refusal.response(VERSION);
      return request.method === 'HEAD' ? new Response(null, response) : response;
    }
  }

  async #handle(request: Request, target: string): Promise<Response> {
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return new RegistryError(405, 'UNSUPPORTED', 'the archive is read-only; mirror-sync sync writes it').response({
        allow: 'GET, HEAD',
      });
    const route = routeOf(target);
    switch (route.kind) {
      case 'base':
      case 'health':
        return json(request, {});
      case 'catalog':
        return this.#lists.catalog(request, route);
      case 'tags': {
        const { index } = await this.#repositories.find(route, request.signal);
        return this.#lists.tags(request, route, index, this.#asOf(route));
      }
      case 'referrers':
        await this.#repositories.require(route, request.signal);
        return this.#lists.referrers(request, route);
      case 'blob':
        await this.#repositories.require(route, request.signal);
        return this.#blobs.answer(request, route.digest);
      default:
        return this.#manifest(request, route);
    }
  }

  async #manifest(request: Request, route: Route & { readonly kind: 'tag' | 'manifest' }): Promise<Response> {
    const { signal } = request;
    const repository = await this.#repositories.find(route, signal);
    const found =
      route.kind === 'tag'
        ? await this.#manifests.byTag(repository, route.tag, this.#asOf(route), signal)
        : await this.#manifests.byDigest(repository, route.digest, signal);
    return whole(request, found.bytes, headersOf(found, route.kind));
  }

  #asOf({ asOf }: NameRequest): number | undefined {
    return asOf ?? this.#o.asOf;
  }

  /** An error of the archive, such as a corrupt tag index. Only the log gets the detail, which may name other objects. */
  #fault(error: unknown, target: string): RegistryError {
    const failure = asFailure(error, 'serve', 'archive');
    if (failure.code !== 'aborted') this.#o.onFault?.(`serve ${target.slice(0, 300)}: ${failure.message}`);
    return failure.remedy === 'never' || failure.code === 'internal'
      ? new RegistryError(500, 'UNKNOWN', 'the archive cannot be read here; the log of the server says why')
      : new RegistryError(503, 'UNAVAILABLE', 'the archive cannot be read now; try again');
  }
}

function headersOf({ digest, mediaType }: Found, kind: 'tag' | 'manifest'): Headers {
  return {
    'content-type': mediaType === '' ? MEDIA_TYPES.ociManifest : mediaType,
    'docker-content-digest': digest,
    etag: `"${digest}"`,
    'cache-control': kind === 'tag' ? REVALIDATE : IMMUTABLE,
  };
}
