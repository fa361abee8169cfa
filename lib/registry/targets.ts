import { Lru } from '../core/lru.ts';
import { type Authorization, Authorizer } from './auth/authorizer.ts';
import { isChallenge } from './auth/challenge.ts';
import type { Credentials } from './auth/credentials.ts';
import { credentialHost } from './http/hosts.ts';
import { followRedirects } from './http/redirects.ts';
import { readExcerpt, withText } from './http/short.ts';
import type { Tokens } from './auth/tokens.ts';
import type { PacedWire } from './http/paced-wire.ts';
import type { HttpRequest, Reply } from './http/message.ts';

export interface TargetsOptions {
  readonly wire: PacedWire;
  readonly credentials: Credentials;
  readonly tokens: Tokens;
  readonly isInsecure: (host: string) => boolean;
}

/** A request for content of a repository. */
export interface ContentRequest {
  readonly request: HttpRequest;
  /** The repository's path, which determines the scope of the authorization. */
  readonly repository: string;
}

/** The number of remembered origins; a registry can redirect to any number of them. */
const ORIGINS = 64;
/** Enough for a first challenge, an expired token, and an unusual scope. */
const MAX_CHALLENGES = 3;

/** The origins of redirects and foreign layers. Each has its own authorization, and gets only its own credentials. */
export class Targets {
  readonly #options: TargetsOptions;
  readonly #authorizers = new Lru<string, Authorizer>(ORIGINS);

  constructor(options: TargetsOptions) {
    this.#options = options;
  }

  /** Sends a request to an origin other than the registry's, and follows redirects; `home` never gets authorization. */
  async get(content: ContentRequest, home: URL | undefined, signal?: AbortSignal): Promise<Reply> {
    const first = await this.#send(content, signal);
    return this.follow(first, content, { home, left: true }, signal);
  }

  /**
   * Follows the redirects of a reply. A chain that has left its first origin gets no authorization when it returns there.
   *
   * @param from the chain's first origin, whether the chain has left it, and the function that sends requests to it before
   */
  follow(
    first: Reply,
    { request, repository }: ContentRequest,
    from: {
      readonly home: URL | undefined;
      readonly left: boolean;
      readonly send?: (request: HttpRequest) => Promise<Reply>;
    },
    signal?: AbortSignal,
  ): Promise<Reply> {
    const { wire, isInsecure } = this.#options;
    let { left } = from;
    return followRedirects(first, request, {
      isInsecure,
      send: (next) => {
        const isHome = next.url.origin === from.home?.origin;
        left ||= !isHome;
        if (isHome) return left || from.send === undefined ? wire.send(next, signal) : from.send(next);
        return this.#send({ request: next, repository: repositoryIn(next.url) ?? repository }, signal);
      },
    });
  }

  async #send({ request, repository }: ContentRequest, signal: AbortSignal | undefined): Promise<Reply> {
    const send = (each: HttpRequest): Promise<Reply> => this.#options.wire.send(each, signal);
    return (await sendAuthorized(send, this.#authorizerFor(request.url), { request, repository }, signal)).reply;
  }

  #authorizerFor({ origin, host }: URL): Authorizer {
    const known = this.#authorizers.get(origin);
    if (known !== undefined) return known;
    const { credentials, tokens } = this.#options;
    const made = new Authorizer({ host: credentialHost(host), credentials, tokens });
    this.#authorizers.set(origin, made);
    return made;
  }
}

/**
 * Sends a request with the authorization that its origin requires, and answers challenges. Resolves to the reply, and to
 * whether its request had an authorization.
 */
export async function sendAuthorized(
  send: (request: HttpRequest) => Promise<Reply>,
  authorizer: Authorizer,
  { request, repository }: ContentRequest,
  signal: AbortSignal | undefined,
): Promise<{ readonly reply: Reply; readonly isAuthorized: boolean }> {
  let sent = await authorizer.authorize(repository, signal);
  let refused: { readonly sent: Authorization; readonly reply: Reply } | undefined;
  for (let challenges = 0; ; challenges += 1) {
    const headers = sent === undefined ? request.headers : { ...request.headers, authorization: sent.authorization };
    const reply = await send({ ...request, headers });
    if (sent?.guessed === true) {
      const isAccepted = reply.status !== 401 && reply.status !== 403;
      authorizer.settleGuess(repository, isAccepted);
      if (!isAccepted) {
        refused = { sent, reply: withText(reply, await readExcerpt(reply)) };
        sent = undefined;
        continue;
      }
    }
    if (!asksAgain(reply, sent) || challenges === MAX_CHALLENGES) return { reply, isAuthorized: sent !== undefined };
    try {
      const challenge = { url: request.url, header: reply.headers['www-authenticate'], sent: sent ?? refused?.sent };
      const next = await authorizer.challenged(repository, challenge, signal);
      if (next === undefined) {
        if (sent !== undefined || refused === undefined) return { reply, isAuthorized: sent !== undefined };
        reply.body.cancel();
        return { reply: refused.reply, isAuthorized: true };
      }
      sent = next;
    } catch (thrown) {
      reply.body.cancel();
      throw thrown;
    }
    await readExcerpt(reply);
  }
}

/** Whether a response may ask for an authorization. After one was sent, statuses other than 401 and 403 concern the content. */
function asksAgain(reply: Reply, sent: Authorization | undefined): boolean {
  return reply.status === 401 || ((sent === undefined || reply.status === 403) && isChallenge(reply));
}

/** The repository in a registry's URL; a redirect may lead to another repository. */
function repositoryIn({ pathname }: URL): string | undefined {
  return /^\/v2\/(.+)\/(?:manifests|blobs|tags)\/[^/]+$/.exec(pathname)?.[1];
}
