import { Failure } from '../base/failure.ts';
import { quote } from '../oci/show.ts';
import { Authorizer } from './authorizer.ts';
import type { Credentials } from './credentials.ts';
import { ERROR_BODY_BYTES } from './errors.ts';
import { credentialHost, isLoopback, isOffLimits, originsOf } from './hosts.ts';
import type { Tokens } from './tokens.ts';
import { readExcerpt, type HttpRequest, type Reply, type Wire } from './wire.ts';

/** A request to a registry, wherever that is. */
export interface Ask {
  readonly operation: string;
  /** The repository's path, which decides the scope of its authorization. */
  readonly repository: string;
  readonly method: 'GET' | 'HEAD';
  /** Below the endpoint's origin, with its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface EndpointOptions {
  /** A host, or a URL's origin. */
  readonly name: string;
  readonly wire: Wire;
  readonly credentials: Credentials;
  readonly tokens: Tokens;
  readonly isInsecure: (host: string) => boolean;
}

const MAX_REDIRECTS = 5;
/** Enough for a challenge, a token that has expired, and a scope other than the usual one. */
const MAX_CHALLENGES = 3;

/** One place where a registry can be reached. */
export class Endpoint {
  readonly name: string;
  readonly #options: EndpointOptions;
  readonly #authorizer: Authorizer;
  #origins: readonly URL[];
  #speaksV2: boolean | undefined;

  /** It refuses HEAD on manifests, and is asked with GET at once. */
  refusesHead = false;
  /** It was not well lately: until then, others are asked before it. */
  restsUntil = 0;

  constructor(options: EndpointOptions) {
    const { name, credentials, tokens } = options;
    this.name = name;
    this.#options = options;
    this.#origins = originsOf(name, options.isInsecure);
    this.#authorizer = new Authorizer({ host: credentialHost(name), credentials, tokens });
  }

  /** Asks, with authorization where it is wanted, and follows redirects. Any other status is a reply. */
  async send(ask: Ask, signal?: AbortSignal): Promise<Reply> {
    for (const [index, origin] of this.#origins.entries()) {
      try {
        const reply = await this.#sendTo(origin, ask, signal);
        this.#settle(origin, reply.status);
        return reply;
      } catch (thrown) {
        const unreachable = thrown instanceof Failure && thrown.status === undefined && thrown.code !== 'aborted';
        if (index === this.#origins.length - 1 || !unreachable) throw thrown;
      }
    }
    throw new Error(`no origin for ${this.name}`);
  }

  /** Of an insecure host: what it speaks, once that is known. A 400 is what TLS servers say to plain HTTP. */
  #settle(origin: URL, status: number): void {
    if (this.#origins.length > 1 && (origin.protocol === 'https:' || status !== 400)) this.#origins = [origin];
  }

  async #sendTo(origin: URL, ask: Ask, signal: AbortSignal | undefined): Promise<Reply> {
    const url = new URL(ask.path, origin);
    const request = { operation: ask.operation, method: ask.method, url, headers: ask.headers ?? {} };
    const reply = await this.#authorized(request, ask.repository, signal);
    // Authorization is for this origin alone, and is not picked up again by coming back.
    let away = false;
    return followRedirects(reply, request, this.#options.isInsecure, (next) => {
      away ||= next.url.origin !== origin.origin;
      return away ? this.#options.wire.send(next, signal) : this.#authorized(next, ask.repository, signal);
    });
  }

  async #authorized(request: HttpRequest, repository: string, signal: AbortSignal | undefined): Promise<Reply> {
    let sent = await this.#authorizer.grant(repository, signal);
    for (let challenges = 0; ; challenges += 1) {
      const headers = sent === undefined ? request.headers : { ...request.headers, authorization: sent.authorization };
      const reply = await this.#options.wire.send({ ...request, headers }, signal);
      if (reply.status !== 401 || challenges === MAX_CHALLENGES) return reply;
      try {
        const challenge = { url: request.url, header: reply.headers['www-authenticate'], sent };
        sent = await this.#authorizer.challenged(repository, challenge, signal);
      } catch (thrown) {
        reply.body.cancel();
        throw thrown;
      }
      if (sent === undefined) return reply;
      await readExcerpt(reply.body, ERROR_BODY_BYTES);
    }
  }

  /** Whether a URL is this endpoint's own, and not one that it redirected to. */
  owns(url: URL): boolean {
    return this.#origins.some(({ origin }) => origin === url.origin);
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
      await readExcerpt(reply.body, ERROR_BODY_BYTES);
      this.#speaksV2 = reply.status !== 404;
    }
    return this.#speaksV2;
  }
}

/** Goes where replies point, five times at most, and never from TLS to the clear. */
export async function followRedirects(
  first: Reply,
  request: HttpRequest,
  isInsecure: (host: string) => boolean,
  send: (request: HttpRequest) => Promise<Reply>,
): Promise<Reply> {
  let reply = first;
  for (let count = 1; isRedirect(reply); count += 1) {
    await readExcerpt(reply.body, ERROR_BODY_BYTES);
    const { operation } = request;
    const location = reply.headers['location'];
    const refuse = (detail: string): Failure =>
      new Failure({
        operation,
        side: 'source',
        code: 'invalid',
        detail: `${reply.url.host} ${detail}`,
        status: reply.status,
      });
    if (count > MAX_REDIRECTS) throw refuse(`redirected more than ${MAX_REDIRECTS} times`);
    if (typeof location !== 'string' || !URL.canParse(location, reply.url.href)) throw refuse('redirected to nowhere');
    const url = new URL(location, reply.url);
    if (url.protocol !== 'http:' && url.protocol !== 'https:') throw refuse(`redirected to ${quote(url.protocol)}`);
    if (isOffLimits(url, reply.url))
      throw refuse(`redirected to ${url.host}, an address within this machine or network`);
    if (
      reply.url.protocol === 'https:' &&
      url.protocol === 'http:' &&
      !isLoopback(url.hostname) &&
      !isInsecure(url.host)
    )
      throw refuse(`redirected from TLS to plain HTTP at ${url.host}; --insecure-registry ${url.host} allows it`);
    reply = await send({ ...request, url });
  }
  return reply;
}

function isRedirect({ status }: Reply): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}
