/**
 * A read-only registry over an archive: the pull half of the OCI distribution spec 1.1, as a function from a web `Request` to
 * a `Response`. It serves only proven content, and manifests byte for byte, whatever `Accept` says. Outside `/v2/` it has pages
 * for browsers.
 */
import { asFailure } from '../core/failure.ts';
import { Semaphore } from '../core/semaphore.ts';
import type { Archive } from '../archive/archive.ts';
import { MEDIA_TYPES } from '../oci/mediatype.ts';
import { type Headers, IMMUTABLE, json, REVALIDATE, whole } from './answers.ts';
import { Blobs } from './blobs.ts';
import { RegistryError } from './errors.ts';
import { Links } from './links.ts';
import { catalog, tagList } from './lists.ts';
import { type Logins, requireUser } from './logins.ts';
import { type Found, Manifests } from './manifests.ts';
import { referrerList } from './referrers.ts';
import { isHealth, isPage, type NameRequest, type Route, routeOf } from './routes.ts';
import { Repositories } from './repositories.ts';
import type { Answer, MissingTag, Served } from './served.ts';
import type { Context } from './web/context.ts';
import { errorResponse } from './web/document.ts';
import { Outlines } from './web/outlines.ts';
import { answerPage } from './web/web.ts';
import { Withheld } from './withheld.ts';

export interface RegistryOptions {
  readonly archive: Archive;
  /** The host of names that have none, for clients that send neither a host nor a namespace. */
  readonly defaultHost?: string | undefined;
  /** The state that is served, in milliseconds since the epoch; the present by default. */
  readonly asOf?: number | undefined;
  /** Required of every request except `/healthz`; everyone may pull by default. */
  readonly logins?: Logins | undefined;
  /** Streams the blobs of an archive in S3; by default, redirects lead the clients to S3. */
  readonly proxyBlobs?: boolean | undefined;
  /** The text for Prometheus; without it, `/metrics` is 404. */
  readonly metrics?: (() => string) | undefined;
  /** Redirects lead to larger manifests and configs of an archive in S3; by default, every size is sent. */
  readonly maxBodyBytes?: number | undefined;
  /** Called with a sentence for each fault of the archive. */
  readonly onFault?: (text: string) => void;
}

/** The pages that are made concurrently. A page takes more processor time than a manifest, and must not delay pulls. */
const PAGES = 4;

/** The facts about a request, which are known even if the response fails. */
interface Facts {
  user?: string;
  route?: Route;
  isWithheld?: boolean;
}

export class Registry {
  readonly #o: RegistryOptions;
  readonly #repositories: Repositories;
  readonly #manifests: Manifests;
  readonly #links: Links;
  readonly #blobs: Blobs;
  readonly #web: Context;
  readonly #pages = new Semaphore(PAGES);

  constructor(options: RegistryOptions) {
    const { archive, defaultHost, logins, onFault = () => undefined } = options;
    const { proxyBlobs = false, maxBodyBytes = Infinity } = options;
    this.#o = { ...options, onFault };
    this.#repositories = new Repositories(archive, defaultHost);
    this.#manifests = new Manifests(archive, onFault);
    this.#links = new Links({ archive, proxyBlobs, maxBodyBytes });
    this.#blobs = new Blobs(archive, this.#links, onFault);
    this.#web = {
      archive,
      repositories: this.#repositories,
      manifests: this.#manifests,
      outlines: new Outlines(archive),
      needsLogin: logins !== undefined,
      onFault,
    };
  }

  /**
   * Never rejects.
   *
   * @param target the raw request target, path and query: the URL of a `Request` has resolved `..` and decoded parts of it
   */
  async serve(request: Request, target: string): Promise<Served> {
    const facts: Facts = {};
    const { response, redirectedBytes = 0 } = await this.#answer(request, target, facts);
    response.headers.set('docker-distribution-api-version', 'registry/2.0');
    const { user, route, isWithheld = false } = facts;
    const isMiss =
      response.status === 404 && (route?.kind === 'tag' || route?.kind === 'manifest' || route?.kind === 'blob');
    const missingTag = isMiss && !isWithheld && route.kind === 'tag' ? this.#missingTag(route) : undefined;
    return { response, kind: route?.kind ?? 'other', user, isMiss, redirectedBytes, missingTag };
  }

  /** @param facts receives what is known of the request when the answer fails */
  async #answer(request: Request, target: string, facts: Facts): Promise<Answer> {
    try {
      if (this.#o.logins !== undefined && !isHealth(target)) facts.user = await requireUser(this.#o.logins, request);
      if (request.method !== 'GET' && request.method !== 'HEAD') throw readOnly();
      facts.route = routeOf(target, this.#o.asOf);
      return await this.#endpoint(request, facts.route);
    } catch (error) {
      const refusal = error instanceof RegistryError ? error : this.#fault(error, target);
      facts.isWithheld = refusal instanceof Withheld;
      if (isPage(target)) return { response: errorResponse(request, refusal) };
      const response = refusal.response();
      return { response: request.method === 'HEAD' ? new Response(null, response) : response };
    }
  }

  async #endpoint(request: Request, route: Route): Promise<Answer> {
    switch (route.kind) {
      case 'base':
        return { response: json(request, {}) };
      case 'health':
        return { response: json(request, {}, { 'cache-control': 'no-store' }) };
      case 'metrics':
        return { response: this.#metrics(request) };
      case 'page':
        return { response: await this.#pages.with(() => answerPage(this.#web, request, route), request.signal) };
      case 'catalog':
        return { response: await catalog(request, route, this.#o.archive) };
      case 'tags': {
        const { index } = await this.#repositories.find(route, request.signal);
        return { response: tagList(request, route, index) };
      }
      case 'referrers': {
        const repository = await this.#repositories.find(route, request.signal);
        return { response: await referrerList(request, route, repository, this.#manifests) };
      }
      case 'blob':
        await this.#repositories.require(route, request.signal);
        return await this.#blobs.answer(request, route.digest);
      default:
        return await this.#manifest(request, route);
    }
  }

  #metrics(request: Request): Response {
    if (this.#o.metrics === undefined) throw new RegistryError(404, 'UNSUPPORTED', 'this server has no metrics');
    const headers = { 'content-type': 'text/plain; version=0.0.4; charset=utf-8', 'cache-control': 'no-store' };
    return whole(request, Buffer.from(this.#o.metrics()), headers);
  }

  async #manifest(request: Request, route: Route & { readonly kind: 'tag' | 'manifest' }): Promise<Answer> {
    const { signal } = request;
    const repository = await this.#repositories.find(route, signal);
    const found =
      route.kind === 'tag'
        ? await this.#manifests.byTag(repository, route.tag, route.asOf, signal)
        : await this.#manifests.byDigest(repository, route.digest, signal);
    const { digest, bytes } = found;
    const headers = headersOf(found, route.kind);
    const redirect = await this.#links.large(request, { digest, size: bytes.length }, headers);
    return redirect ?? { response: whole(request, bytes, headers) };
  }

  /** The archive's earlier states do not change, so a sync adds nothing to them. */
  #missingTag(route: NameRequest & { readonly tag: string }): MissingTag | undefined {
    if (route.asOf !== undefined) return undefined;
    return { repositories: this.#repositories.candidates(route), tag: route.tag };
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

function readOnly(): RegistryError {
  const message = 'the archive is read-only; mirror-sync sync writes it';
  return new RegistryError(405, 'UNSUPPORTED', message, { allow: 'GET, HEAD' });
}

function headersOf({ digest, mediaType }: Found, kind: 'tag' | 'manifest'): Headers {
  return {
    'content-type': mediaType === '' ? MEDIA_TYPES.ociManifest : mediaType,
    'docker-content-digest': digest,
    etag: `"${digest}"`,
    'cache-control': kind === 'tag' ? REVALIDATE : IMMUTABLE,
  };
}
