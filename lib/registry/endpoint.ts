import { Failure } from '../core/failure.ts';
import { parseChallenges } from '../core/http/challenge.ts';
import { essence } from '../oci/mediatype.ts';
import { Authorizer } from './auth/authorizer.ts';
import { isAnswerable } from './auth/challenge.ts';
import type { Subject } from './errors.ts';
import { credentialHost, originsOf } from './http/hosts.ts';
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
    const { reply, isAuthorized } = await attempt();
    const isRefused = this.#isBareRefusal(reply);
    this.#hasServed ||= reply.status === 200 && !isRefused;
    if (isAuthorized || !isRefused) return reply;
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
   * Whether a reply refuses a request without a challenge. The refusal is an error other than a rate limit, or a web page
   * with a login, to which the request may have been redirected.
   */
  #isBareRefusal({ status, headers, url }: Reply): boolean {
    if (status < 300) return isWebPage(headers['content-type']);
    const isRefusal = status >= 400 && status < 500 && status !== 408 && status !== 416 && status !== 429;
    return isRefusal && this.owns(url) && !isAnswerable(parseChallenges(headers['www-authenticate']));
  }

  /**
   * Whether `/v2/` sends a challenge for which there is an authorization. Docker always requests it first, so some
   * registries send no other challenge (distribution spec 1.1, "Determining Support").
   */
  async #learnFromRoot(request: HttpRequest, repository: string, signal: AbortSignal | undefined): Promise<boolean> {
    if (!this.#authorizer.mayGuess(repository)) return false;
    const root = await this.#askRoot(request, signal);
    if (root?.status !== 401) return false;
    const challenge = { url: root.url, header: root.challenge, sent: undefined };
    return this.#authorizer.guess(repository, challenge, signal);
  }

  #askRoot(request: HttpRequest, signal: AbortSignal | undefined): Promise<RootReply | undefined> {
    const { operation, url, persistence } = request;
    const send = (each: HttpRequest, abort: AbortSignal): Promise<Reply> => this.#sendHome(each, abort);
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
