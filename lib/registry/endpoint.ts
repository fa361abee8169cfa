import { Failure } from '../core/failure.ts';
import { Authorizer } from './auth/authorizer.ts';
import type { Credentials } from './auth/credentials.ts';
import { ERROR_BODY_BYTES } from './errors.ts';
import { credentialHost, originsOf } from './http/hosts.ts';
import type { PacedWire } from './http/paced-wire.ts';
import { readExcerpt } from './http/short.ts';
import { type ContentRequest, sendAuthorized, type Targets } from './targets.ts';
import type { Tokens } from './auth/tokens.ts';
import { showsNoTls } from './http/transport.ts';
import type { HttpRequest, Persistence, Reply } from './http/message.ts';

/** A request to a registry, wherever that is. */
export interface Ask {
  readonly operation: string;
  /** The repository's path, which decides the scope of its authorization. */
  readonly repository: string;
  readonly method: 'GET' | 'HEAD';
  /** Below the endpoint's origin, with its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** What to do where it is refused for a rate limit; `wait` unless given. */
  readonly persistence?: Persistence;
}

export interface EndpointOptions {
  /** A host, or a URL's origin. */
  readonly name: string;
  /** Whether it may decide what a tag means; yes unless `false` is given. */
  readonly resolves?: boolean | undefined;
  readonly wire: PacedWire;
  readonly credentials: Credentials;
  readonly tokens: Tokens;
  readonly targets: Targets;
  readonly isInsecure: (host: string) => boolean;
}

/** The endpoint's own origin cannot be reached over TLS; no other failure is a reason to ask it in plain HTTP. */
class NotTls extends Error {
  readonly failure: unknown;

  constructor(failure: unknown) {
    super('TLS is not spoken');
    this.failure = failure;
  }
}

/** One place where a registry can be reached. */
export class Endpoint {
  readonly name: string;
  /** Whether it may decide what a tag means. An endpoint that may not is asked only for content that a digest names. */
  readonly resolves: boolean;
  readonly #options: EndpointOptions;
  readonly #authorizer: Authorizer;
  readonly #origins: readonly URL[];
  /** Its first origin does not speak TLS, and its second one has answered. */
  #isPlain = false;
  #speaksV2: boolean | undefined;
  /** `/v2/` was asked for its challenge, once, after a refusal without one. */
  #hasAskedRoot = false;

  /** It refuses HEAD on manifests, and is asked with GET at once. */
  refusesHead = false;
  /** It was not well lately: until then, others are asked before it. */
  restsUntil = 0;

  constructor(options: EndpointOptions) {
    const { name, credentials, tokens, isInsecure } = options;
    this.name = name;
    this.resolves = options.resolves ?? true;
    this.#options = options;
    this.#origins = originsOf(name, isInsecure);
    this.#authorizer = new Authorizer({ host: credentialHost(name), credentials, tokens });
  }

  /** Asks, with authorization where it is wanted, and follows redirects. Any other status is a reply. */
  async send(ask: Ask, signal?: AbortSignal): Promise<Reply> {
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
    // A 400 is what TLS servers say to plain HTTP.
    this.#isPlain ||= reply.status !== 400;
    return reply;
  }

  async #sendTo(origin: URL, ask: Ask, signal: AbortSignal | undefined): Promise<Reply> {
    const { operation, repository, method, headers = {}, persistence } = ask;
    const url = new URL(ask.path, origin);
    // A path that foreign text has a part in (`//host/`, `/\host/`) may lead elsewhere; credentials would go along.
    if (url.origin !== origin.origin) {
      const detail = `the path leads to another host, ${url.host}; it is not asked`;
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

  /** To this endpoint's own origin, with its authorization. */
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

  /** That it refused requests for another reason than a rate limit. */
  forgive(): void {
    for (const origin of this.#origins) this.#options.wire.forgive(origin);
  }

  /**
   * Sends a request; where the endpoint refuses it without a challenge although there are credentials, asks `/v2/` for the
   * challenge, as Docker does before anything else (distribution spec 1.1, "Determining Support").
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

  /** Whether `/v2/` says what it wants, and that is there. */
  async #learnFromRoot(
    send: (request: HttpRequest) => Promise<Reply>,
    { request: { operation, url: asked }, repository }: ContentRequest,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const url = new URL('/v2/', asked);
    const root = await send({ operation, method: 'GET', url, headers: {} });
    await readExcerpt(root, ERROR_BODY_BYTES);
    if (root.status !== 401) return false;
    const challenge = { url, header: root.headers['www-authenticate'], sent: undefined };
    return (await this.#authorizer.challenged(repository, challenge, signal)) !== undefined;
  }

  /** Whether a URL is this endpoint's own, and not one that it redirected to. */
  owns(url: URL): boolean {
    return this.#origins.some(({ origin }) => origin === url.origin);
  }

  /** The origin at which requests to this endpoint start. */
  get home(): URL | undefined {
    const [first, second] = this.#origins;
    return this.#isPlain && second !== undefined ? second : first;
  }

  /** For an error about a denial: with what, if anything, it was asked. */
  hint(repository: string, signal?: AbortSignal): Promise<string> {
    return this.#authorizer.hint(repository, signal);
  }

  /**
   * Whether this is a registry of the v2 protocol: `/v2/` answers everyone, if only with a 401 (distribution spec 1.1,
   * end-1). Asked once, and only about an endpoint whose answers make one wonder.
   */
  async speaksV2(ask: Ask, signal?: AbortSignal): Promise<boolean> {
    if (this.#speaksV2 === undefined) {
      const reply = await this.send({ ...ask, method: 'GET', path: '/v2/', headers: {} }, signal);
      await readExcerpt(reply, ERROR_BODY_BYTES);
      this.#speaksV2 = reply.status !== 404;
    }
    return this.#speaksV2;
  }
}

/** A refusal that does not say what is wanted. A rate limit is not one. */
function isBareRefusal({ status, headers }: Reply): boolean {
  const isRefusal = status >= 400 && status < 500 && status !== 408 && status !== 416 && status !== 429;
  return isRefusal && headers['www-authenticate'] === undefined;
}
