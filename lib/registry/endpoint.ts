import { Failure } from '../core/failure.ts';
import { Authorizer } from './auth/authorizer.ts';
import type { Subject } from './errors.ts';
import { credentialHost, originsOf } from './http/hosts.ts';
import { readExcerpt } from './http/short.ts';
import { type ContentRequest, sendAuthorized, type Targets, type TargetsOptions } from './targets.ts';
import { showsNoTls } from './http/transport.ts';
import type { HttpRequest, Reply } from './http/message.ts';

/** A request to an endpoint of a registry. */
export interface EndpointRequest extends Pick<HttpRequest, 'operation' | 'persistence'> {
  /** The repository's path, which determines the scope of the authorization. */
  readonly repository: string;
  readonly subject: Subject;
  readonly method: 'GET' | 'HEAD';
  /** Relative to the endpoint's origin, with the query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface EndpointOptions extends TargetsOptions {
  /** A host, or a URL's origin. */
  readonly name: string;
  /** Whether it resolves tags. Default: true. */
  readonly resolves?: boolean | undefined;
  readonly targets: Targets;
}

/** The endpoint's origin does not speak TLS. Only this failure allows plain HTTP. */
class NotTls extends Error {
  readonly failure: unknown;

  constructor(failure: unknown) {
    super('the endpoint does not speak TLS');
    this.failure = failure;
  }
}

/** One origin that serves a registry's content. */
export class Endpoint {
  readonly name: string;
  /** Whether it resolves tags; otherwise it is asked only for content by digest. */
  readonly resolves: boolean;
  readonly #options: EndpointOptions;
  readonly #authorizer: Authorizer;
  readonly #origins: readonly URL[];
  /** Whether the first origin does not speak TLS, and the second one has responded. */
  #isPlain = false;
  #speaksV2: boolean | undefined;
  /** Whether `/v2/` was requested for its challenge, which happens once, after a refusal without a challenge. */
  #hasAskedRoot = false;

  /** Whether it refuses HEAD on manifests, so that GET is used immediately. */
  refusesHead = false;
  /** Until this time, it is not asked for referrers. */
  hasNoReferrersUntil = 0;
  /** Until this time, other endpoints are tried first. */
  deferredUntil = 0;

  constructor(options: EndpointOptions) {
    const { name, credentials, tokens, isInsecure } = options;
    this.name = name;
    this.resolves = options.resolves ?? true;
    this.#options = options;
    this.#origins = originsOf(name, isInsecure);
    this.#authorizer = new Authorizer({ host: credentialHost(name), credentials, tokens });
  }

  /** Sends a request with the required authorization, and follows redirects. Every other status is a reply. */
  async send(ask: EndpointRequest, signal?: AbortSignal): Promise<Reply> {
    const { wire } = this.#options;
    const [origin, plain] = this.#origins;
    if (origin === undefined) throw new Error(`no origin for ${this.name}`);
    if (!this.#isPlain || plain === undefined || wire.speaksTls(origin)) {
      try {
        return await this.#sendTo(origin, ask, signal);
      } catch (thrown) {
        if (!(thrown instanceof NotTls)) throw thrown;
        if (plain === undefined) throw thrown.failure;
      }
    }
    const reply = await this.#sendTo(plain, ask, signal);
    // TLS servers respond to plain HTTP with a 400.
    this.#isPlain ||= reply.status !== 400;
    return reply;
  }

  async #sendTo(origin: URL, ask: EndpointRequest, signal: AbortSignal | undefined): Promise<Reply> {
    const { operation, repository, method, headers = {}, persistence } = ask;
    const url = new URL(ask.path, origin);
    // A path with remote text (`//host/`, `/\host/`) could send the credentials to another host.
    if (url.origin !== origin.origin) {
      const detail = `the path leads to another host, ${url.host}`;
      throw new Failure({ operation, side: 'source', code: 'invalid', detail });
    }
    const send = (request: HttpRequest): Promise<Reply> => this.#sendHome(request, repository, signal);
    const request = { operation, method, url, headers, persistence };
    return this.#options.targets.follow(
      await send(request),
      { request, repository },
      { home: origin, left: false, send },
      signal,
    );
  }

  /** Sends a request to this endpoint's origin, with its authorization. */
  #sendHome(request: HttpRequest, repository: string, signal: AbortSignal | undefined): Promise<Reply> {
    const { wire } = this.#options;
    const send = async (each: HttpRequest): Promise<Reply> => {
      try {
        return await wire.send(each, signal);
      } catch (thrown) {
        const isAlone = each.url.protocol === 'http:' || wire.speaksTls(each.url);
        throw !isAlone && showsNoTls(thrown, wire.proxyTo(each.url)) ? new NotTls(thrown) : thrown;
      }
    };
    return this.#askRootOnRefusal(send, { request, repository }, signal);
  }

  /** The endpoint refused requests for another reason than a rate limit. */
  resetPace(): void {
    for (const origin of this.#origins) this.#options.wire.resetPace(origin);
  }

  /**
   * Sends a request. If the endpoint refuses it without a challenge and there are credentials, requests `/v2/` for the
   * challenge, as Docker always does first (distribution spec 1.1, "Determining Support").
   */
  async #askRootOnRefusal(
    send: (request: HttpRequest) => Promise<Reply>,
    content: ContentRequest,
    signal: AbortSignal | undefined,
  ): Promise<Reply> {
    const { repository } = content;
    const reply = await sendAuthorized(send, this.#authorizer, content, signal);
    if (this.#hasAskedRoot || !isBareRefusal(reply) || !(await this.#authorizer.hasMore(repository, signal)))
      return reply;
    this.#hasAskedRoot = true;
    try {
      if (!(await this.#learnFromRoot(send, content, signal))) return reply;
    } catch (thrown) {
      reply.body.cancel();
      throw thrown;
    }
    reply.body.cancel();
    return sendAuthorized(send, this.#authorizer, content, signal);
  }

  /** Whether `/v2/` sends a challenge for which there is an authorization. */
  async #learnFromRoot(
    send: (request: HttpRequest) => Promise<Reply>,
    { request: { operation, url: asked }, repository }: ContentRequest,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const url = new URL('/v2/', asked);
    const root = await send({ operation, method: 'GET', url, headers: {} });
    await readExcerpt(root);
    if (root.status !== 401) return false;
    const challenge = { url, header: root.headers['www-authenticate'], sent: undefined };
    return (await this.#authorizer.challenged(repository, challenge, signal)) !== undefined;
  }

  /** Whether a URL belongs to this endpoint, and not to the target of a redirect. */
  owns(url: URL): boolean {
    return this.#origins.some(({ origin }) => origin === url.origin);
  }

  /** The origin at which requests to this endpoint start. */
  get home(): URL | undefined {
    const [first, second] = this.#origins;
    return this.#isPlain && second !== undefined ? second : first;
  }

  /** The credentials that were used, for the error message of a denial. */
  hint(repository: string, signal?: AbortSignal): Promise<string> {
    return this.#authorizer.hint(repository, signal);
  }

  /**
   * Whether the endpoint implements the v2 protocol: `/v2/` exists, even if it responds with a 401 (distribution spec 1.1,
   * end-1). The request is sent once.
   */
  async speaksV2(ask: EndpointRequest, signal?: AbortSignal): Promise<boolean> {
    if (this.#speaksV2 === undefined) {
      const reply = await this.send({ ...ask, method: 'GET', path: '/v2/', headers: {} }, signal);
      await readExcerpt(reply);
      this.#speaksV2 = reply.status !== 404;
    }
    return this.#speaksV2;
  }
}

/** Whether a reply is a refusal without a challenge, other than a rate limit. */
function isBareRefusal({ status, headers }: Reply): boolean {
  const isRefusal = status >= 400 && status < 500 && status !== 408 && status !== 416 && status !== 429;
  return isRefusal && headers['www-authenticate'] === undefined;
}
