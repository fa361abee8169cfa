import { Failure } from '../core/failure.ts';
import { Lru } from '../core/lru.ts';
import { essence } from '../oci/mediatype.ts';
import { Authorizer } from './auth/authorizer.ts';
import { isChallenge, isRefused } from './auth/challenge.ts';
import type { Subject } from './errors.ts';
import { credentialHost, originsOf } from './http/hosts.ts';
import { followRedirects } from './http/redirects.ts';
import { type ContentRequest, sendAuthorized, type Targets, type TargetsOptions } from './targets.ts';
import { showsNoTls } from './http/transport.ts';
import type { HttpRequest, Reply } from './http/message.ts';
import { ReferrersSupport } from './referrers-support.ts';
import { Root, type RootReply } from './root.ts';

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

/** A reply, and whether a request to the endpoint had an authorization. */
interface Sent {
  readonly reply: Reply;
  readonly isAuthorized: boolean;
}

/** The endpoint's origin does not speak TLS. Only this failure allows plain HTTP. */
class NotTls extends Error {
  readonly failure: unknown;

  constructor(failure: unknown) {
    super('the endpoint does not speak TLS');
    this.failure = failure;
  }
}

/** The time for which the first request waits for `/v2/`, and for the login that it asks for, in milliseconds. */
const PREPARATION_MS = 5_000;
/** The number of remembered repositories without a login. */
const REPOSITORIES = 10_000;

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
  readonly #root = new Root();
  /** Whether `/v2/` was asked because of a login. */
  #isPrepared = false;
  readonly #withoutLogin = new Lru<string, true>(REPOSITORIES);
  readonly referrers = new ReferrersSupport();
  #hasServed = false;

  /** Whether it finds manifests with HEAD; otherwise GET is used immediately. Undefined before a manifest was found. */
  answersHead: boolean | undefined;
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
    const request = { operation, method, url, headers, persistence };
    const attempt = (): Promise<Sent> => this.#follow(origin, { request, repository }, signal);
    await this.#prepare(request, repository, signal);
    const { reply, isAuthorized } = await attempt();
    const mayLackLogin = this.#mayLackLogin(reply);
    this.#hasServed ||= reply.status === 200 && !mayLackLogin;
    if (isAuthorized || !mayLackLogin) return reply;
    try {
      if (!(await this.#learnFromRoot(request, repository, signal))) return reply;
    } catch (thrown) {
      reply.body.cancel();
      throw thrown;
    }
    reply.body.cancel();
    return (await attempt()).reply;
  }

  /** Sends a request to this endpoint's origin, with its authorization, and follows redirects. */
  async #follow(origin: URL, content: ContentRequest, signal: AbortSignal | undefined): Promise<Sent> {
    let isAuthorized = false;
    const send = async (request: HttpRequest): Promise<Reply> => {
      const sent = await sendAuthorized(
        (each) => this.#sendHome(each, signal),
        this.#authorizer,
        { request, repository: content.repository },
        signal,
      );
      isAuthorized ||= sent.isAuthorized;
      return sent.reply;
    };
    const first = await send(content.request);
    const reply = await this.#options.targets.follow(first, content, { home: origin, left: false, send }, signal);
    return { reply, isAuthorized };
  }

  async #sendHome(request: HttpRequest, signal: AbortSignal | undefined): Promise<Reply> {
    const { wire } = this.#options;
    const { url } = request;
    try {
      return await wire.send(request, signal);
    } catch (thrown) {
      const isAlone = url.protocol === 'http:' || wire.speaksTls(url);
      throw !isAlone && showsNoTls(thrown, wire.proxyTo(url)) ? new NotTls(thrown) : thrown;
    }
  }

  /**
   * Asks `/v2/` before the first request if there is a login, as Docker does. Without one, some registries serve a part of
   * their content and send no challenge. If `/v2/` fails, the request is sent without a login.
   */
  async #prepare(request: HttpRequest, repository: string, signal: AbortSignal | undefined): Promise<void> {
    if (this.#isPrepared || this.#withoutLogin.get(repository) === true) return;
    const limit = AbortSignal.timeout(PREPARATION_MS);
    const limited = signal === undefined ? limit : AbortSignal.any([signal, limit]);
    try {
      if (!(await this.#authorizer.hasUnusedLogin(repository, limited))) {
        this.#withoutLogin.set(repository, true);
        return;
      }
      await this.#learnFromRoot({ ...request, persistence: 'once' }, repository, limited);
    } catch (thrown) {
      if (signal?.aborted === true || thrown instanceof NotTls) throw thrown;
    }
    this.#isPrepared = true;
  }

  /**
   * Whether a reply refuses a request, or is a web page with a login, to which the request may have been redirected. A
   * challenge in it was not answered.
   */
  #mayLackLogin({ status, headers, url }: Reply): boolean {
    return status < 300 ? isWebPage(headers['content-type']) : isRefused(status) && this.owns(url);
  }

  /**
   * Whether `/v2/` sends a challenge for which there is an authorization. Docker always requests it first, so some
   * registries send no other challenge (distribution spec 1.1, "Determining Support").
   */
  async #learnFromRoot(request: HttpRequest, repository: string, signal: AbortSignal | undefined): Promise<boolean> {
    if (!this.#authorizer.mayGuess(repository)) return false;
    const root = await this.#askRoot(request, signal);
    // The challenge of another host could name a token service of that host, which must not get this login.
    if (root === undefined || !this.owns(root.url) || !isChallenge(root)) return false;
    const challenge = { url: root.url, header: root.headers['www-authenticate'], sent: undefined };
    return this.#authorizer.guess(repository, challenge, signal);
  }

  #askRoot(request: HttpRequest, signal: AbortSignal | undefined): Promise<RootReply | undefined> {
    const { operation, url, persistence } = request;
    const { wire, isInsecure } = this.#options;
    const send = async (root: HttpRequest, abort: AbortSignal): Promise<Reply> => {
      const follow = (next: HttpRequest): Promise<Reply> =>
        this.owns(next.url) ? this.#sendHome(next, abort) : wire.send(next, abort);
      const first = await this.#sendHome(root, abort);
      try {
        return await followRedirects(first, root, { isInsecure, send: follow });
      } catch (thrown) {
        // A redirect that cannot be followed is not a challenge.
        if (thrown instanceof Failure && thrown.remedy === 'never') return first;
        throw thrown;
      }
    };
    return this.#root.ask({ operation, url: new URL('/v2/', url), persistence }, send, signal);
  }

  /** The endpoint refused requests for another reason than a rate limit. */
  resetPace(): void {
    for (const origin of this.#origins) this.#options.wire.resetPace(origin);
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
   * Whether the endpoint implements the v2 protocol: it has served content, or `/v2/` exists, even if it responds with a
   * 401 (end-1).
   */
  async speaksV2({ operation, persistence }: EndpointRequest, signal?: AbortSignal): Promise<boolean> {
    const { home } = this;
    if (home === undefined || this.#hasServed) return true;
    const root = await this.#askRoot({ operation, method: 'GET', url: home, headers: {}, persistence }, signal);
    return root?.status !== 404;
  }
}

/** Registries send content with many types, and never with these. */
function isWebPage(type: string | string[] | undefined): boolean {
  return typeof type === 'string' && /^text\/html$|^application\/xhtml\+xml$/.test(essence(type));
}
