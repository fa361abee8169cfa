import { Failure } from '../base/failure.ts';
import {
  basicAuthorization,
  basicWanted,
  parseChallenges,
  pullScope,
  tokenWanted,
  type Challenge,
  type TokenWanted,
} from './auth.ts';
import type { Credential, Credentials } from './credentials.ts';
import { isLoopback } from './addresses.ts';
import type { Token, Tokens } from './tokens.ts';

/** The Authorization of one request, and what is needed to judge its refusal. */
export interface Grant {
  readonly authorization: string;
  readonly token?: { readonly wanted: TokenWanted; readonly token: Token; readonly fresh: boolean };
}

/** A 401. */
export interface Challenged {
  /** Where it came from. */
  readonly url: URL;
  /** Its WWW-Authenticate. */
  readonly header: string | string[] | undefined;
  /** What the request had brought along. */
  readonly sent: Grant | undefined;
}

/** What a repository's registry has been found to want. */
type Way =
  | { readonly kind: 'fixed'; readonly authorization: string }
  | { readonly kind: 'token'; readonly wanted: TokenWanted; readonly credential: Credential | undefined };

export interface AuthorizerOptions {
  /** The registry's name in credentials. */
  readonly host: string;
  readonly credentials: Credentials;
  readonly tokens: Tokens;
  /** Whether a host may be without TLS. */
  readonly isInsecure: (host: string) => boolean;
}

/**
 * Authorization at one registry endpoint. Nothing is sent before the registry has asked for it; what it asked for is
 * remembered, so that later requests bring it along.
 */
export class Authorizer {
  readonly #options: AuthorizerOptions;
  readonly #ways = new Map<string, Way>();
  /** How the last challenge asked; most registries ask the same way for every repository. */
  #usual: ((repository: string) => TokenWanted) | 'basic' | undefined;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /** What a request for this repository should bring along, as far as is known. */
  async grant(repository: string, signal?: AbortSignal): Promise<Grant | undefined> {
    const way = this.#ways.get(repository) ?? (await this.#guess(repository, signal));
    if (way === undefined) return undefined;
    this.#ways.set(repository, way);
    if (way.kind === 'fixed') return { authorization: way.authorization };
    const { token, fresh } = await this.#options.tokens.get(way.wanted, way.credential, signal);
    return { authorization: `Bearer ${token.value}`, token: { wanted: way.wanted, token, fresh } };
  }

  /** After a 401: what to bring along instead, or nothing where nothing else is left to try. */
  async challenged(
    repository: string,
    { url, header, sent }: Challenged,
    signal?: AbortSignal,
  ): Promise<Grant | undefined> {
    const challenges = parseChallenges(header);
    const credential = await this.#options.credentials.find(this.#options.host, repository, { signal });
    const way = choose(challenges, repository, credential, url);
    if (way === undefined) return undefined;
    if (way.kind === 'fixed') {
      if (sent?.authorization === way.authorization) return undefined;
      if (way.authorization.startsWith('Basic ')) this.#usual = 'basic';
    } else {
      refuseLeak(way, url, this.#options.isInsecure);
      const before = sent?.token;
      if (before !== undefined && sameToken(before.wanted, way.wanted)) {
        if (before.fresh) return undefined;
        this.#options.tokens.forget(before.wanted, credential, before.token);
      }
      const { wanted } = way;
      if (wanted.scope === pullScope(repository)) this.#usual = (other) => ({ ...wanted, scope: pullScope(other) });
    }
    this.#ways.set(repository, way);
    return this.grant(repository, signal);
  }

  /** For an error about a denial: with what, if anything, it was asked. */
  async hint(repository: string, signal?: AbortSignal): Promise<string> {
    const { host, credentials } = this.#options;
    const credential = await credentials.find(host, repository, { signal }).catch(() => undefined);
    return credential === undefined
      ? `there are no credentials for ${host}`
      : `with the credentials from ${credential.from}`;
  }

  async #guess(repository: string, signal: AbortSignal | undefined): Promise<Way | undefined> {
    if (this.#usual === undefined) return undefined;
    const usual = this.#usual;
    const credential = await this.#options.credentials.find(this.#options.host, repository, { signal });
    return usual === 'basic' ? basicWay(credential) : tokenWay(usual(repository), credential);
  }
}

function choose(
  challenges: readonly Challenge[],
  repository: string,
  credential: Credential | undefined,
  namedBy: URL,
): Way | undefined {
  const wanted = tokenWanted(challenges);
  if (wanted !== undefined)
    return tokenWay({ ...wanted, namedBy, scope: wanted.scope || pullScope(repository) }, credential);
  return basicWanted(challenges) ? basicWay(credential) : registryTokenWay(credential);
}

/** A token that is for the registry itself spares the token service. */
function tokenWay(wanted: TokenWanted, credential: Credential | undefined): Way {
  return registryTokenWay(credential) ?? { kind: 'token', wanted, credential };
}

function registryTokenWay(credential: Credential | undefined): Way | undefined {
  if (credential?.registryToken === undefined) return undefined;
  return { kind: 'fixed', authorization: `Bearer ${credential.registryToken}` };
}

function basicWay(credential: Credential | undefined): Way | undefined {
  if (credential?.password === undefined) return undefined;
  return { kind: 'fixed', authorization: basicAuthorization(credential.username, credential.password) };
}

function sameToken(one: TokenWanted, other: TokenWanted): boolean {
  return one.realm === other.realm && one.service === other.service && one.scope === other.scope;
}

/** A registry may not have credentials sent on in the clear, unless the user has named that very host as insecure. */
function refuseLeak(
  { wanted, credential }: Extract<Way, { kind: 'token' }>,
  registry: URL,
  isInsecure: (host: string) => boolean,
): void {
  const realm = new URL(wanted.realm);
  if (realm.protocol === 'https:') return;
  const isPlainAnyway = registry.protocol === 'http:' && registry.hostname === realm.hostname;
  const harmless = credential === undefined || isPlainAnyway || isLoopback(realm.hostname) || isInsecure(realm.host);
  if (realm.protocol === 'http:' && harmless) return;
  throw new Failure({
    operation: `get token from ${realm.origin}`,
    side: 'source',
    code: 'denied',
    detail: `${registry.host} names a token service that is not reached over TLS; credentials are not sent there`,
  });
}
