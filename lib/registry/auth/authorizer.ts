import { Failure } from '../../core/failure.ts';
import { parseChallenges } from '../../core/http/challenge.ts';
import { Lru } from '../../core/lru.ts';
import { quote } from '../../oci/show.ts';
import {
  basicAuthorization,
  offersBasic,
  pullScope,
  requestedToken,
  unusableRealm,
  type TokenRequest,
} from './challenge.ts';
import type { Credential, Credentials } from './credentials.ts';
import { remember } from '../../core/redact.ts';
import type { Token, Tokens } from './tokens.ts';

/** The Authorization header of one request, with its token. */
export interface Authorization {
  readonly authorization: string;
  /** Whether this repository has not used it yet, while others of the registry have. */
  readonly guessed?: true;
  readonly token?: { readonly wanted: TokenRequest; readonly token: Token; readonly fresh: boolean };
}

/** A response that asks for an authorization. */
export interface Challenged {
  /** The URL that sent it. */
  readonly url: URL;
  /** Its WWW-Authenticate. */
  readonly header: string | string[] | undefined;
  /** The authorization of the request. */
  readonly sent: Authorization | undefined;
}

/** The authorization that a registry requires for a repository; a guess until the registry has accepted it. */
type AuthMethod = { readonly guessed?: true } & (
  | { readonly kind: 'none' }
  /** The registry has refused a guess, and nothing else is guessed. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'fixed'; readonly authorization: string; readonly from: string }
  | { readonly kind: 'token'; readonly wanted: TokenRequest; readonly credential: Credential | undefined }
);

export interface AuthorizerOptions {
  /** The registry's name in credentials. */
  readonly host: string;
  readonly credentials: Credentials;
  readonly tokens: Tokens;
}

/** The number of repositories whose method is remembered. */
const REPOSITORIES = 10_000;

/** Authorization at one registry endpoint. It is sent once a challenge is known, and then with every later request. */
export class Authorizer {
  readonly #options: AuthorizerOptions;
  readonly #methods = new Lru<string, AuthMethod>(REPOSITORIES);
  /** The credentials last used for each repository, for error messages. */
  readonly #hints = new Lru<string, string>(REPOSITORIES);
  /** The last challenge; most registries send the same one for every repository. */
  #usual: Omit<TokenRequest, 'scope'> | 'basic' | undefined;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /** The authorization for a request, if one is known or can be guessed. */
  async authorize(repository: string, signal?: AbortSignal): Promise<Authorization | undefined> {
    const method = this.#methods.get(repository);
    return method === undefined ? this.#guess(repository, signal) : this.#use(repository, method, signal);
  }

  /** Keeps a guessed method that was accepted; after a refusal, requests are sent without authorization. */
  settleGuess(repository: string, isAccepted: boolean): void {
    const method = this.#methods.get(repository);
    if (method?.guessed !== true) return;
    const { guessed: _, ...proven } = method;
    this.#methods.set(repository, isAccepted ? proven : { kind: 'refused' });
  }

  /** The authorization for the next try after a challenge; undefined if all were tried. */
  async challenged(
    repository: string,
    { url, header, sent }: Challenged,
    signal?: AbortSignal,
  ): Promise<Authorization | undefined> {
    const { host, credentials, tokens } = this.#options;
    const challenges = parseChallenges(header);
    const credential = await credentials.find(host, repository, { signal });
    // Where only `/v2/` sends a challenge, the refusal of a token has none.
    const named = challenges.length === 0 ? sent?.token?.wanted : requestedToken(challenges);
    const wanted = named && { ...named, registry: host, namedBy: url, scope: pullScope(repository) };
    const unusable = unusableRealm(challenges);
    if (unusable !== undefined)
      this.#hints.set(repository, `${url.host} names a token service with an invalid URL "${quote(unusable)}"`);
    const basic = offersBasic(challenges) ? basicMethod(credential) : undefined;
    const isSent = (method: AuthMethod | undefined): boolean =>
      method?.kind === 'fixed' && sent?.authorization === method.authorization;
    const fixed = registryTokenMethod(credential);
    if (fixed !== undefined && (wanted !== undefined || basic === undefined))
      return isSent(fixed) ? undefined : this.#use(repository, fixed, signal);
    if (wanted !== undefined) {
      const before = sent?.token;
      const isRefused = before?.fresh === true && sameToken(before.wanted, wanted);
      if (before !== undefined) tokens.forget(before.wanted, credential, before.token);
      if (!isRefused) {
        try {
          const authorization = await this.#use(repository, { kind: 'token', wanted, credential }, signal);
          const { scope: _, ...usual } = wanted;
          this.#usual = usual;
          return authorization;
        } catch (thrown) {
          // If the token service does not work, Basic is tried.
          if (basic === undefined || signal?.aborted === true) throw thrown;
        }
      }
    }
    if (basic === undefined || isSent(basic)) return undefined;
    if (wanted === undefined) this.#usual = 'basic';
    return this.#use(repository, basic, signal);
  }

  /** Whether there is a login for a repository, and no challenge is known yet that asks for it. */
  async hasUnusedLogin(repository: string, signal: AbortSignal | undefined): Promise<boolean> {
    if (this.#usual !== undefined || this.#methods.get(repository) !== undefined) return false;
    const { host, credentials } = this.#options;
    return (await credentials.find(host, repository, { signal })) !== undefined;
  }

  /** Whether an authorization may be guessed for a repository after a refusal without a challenge. */
  mayGuess(repository: string): boolean {
    return this.#methods.get(repository)?.kind !== 'refused';
  }

  /** Guesses the authorization for a repository from the challenge of another URL. Resolves to whether there is one. */
  async guess(repository: string, challenge: Challenged, signal?: AbortSignal): Promise<boolean> {
    // Another request has found it.
    if ((this.#methods.get(repository)?.kind ?? 'none') !== 'none') return true;
    try {
      if ((await this.challenged(repository, challenge, signal)) === undefined) return false;
    } catch (thrown) {
      const { host, credentials } = this.#options;
      const isDenial = thrown instanceof Failure && thrown.remedy === 'never';
      // The registry may serve all that it has without a token.
      if (isDenial && (await credentials.find(host, repository, { signal })) === undefined) return false;
      throw thrown;
    }
    const method = this.#methods.get(repository);
    if (method !== undefined) this.#methods.set(repository, { ...method, guessed: true });
    return true;
  }

  /** The credentials that were used, for the error message of a denial. */
  async hint(repository: string, signal?: AbortSignal): Promise<string> {
    const known = this.#hints.get(repository);
    if (known !== undefined) return known;
    const { host, credentials } = this.#options;
    const credential = await credentials.find(host, repository, { signal }).catch(() => undefined);
    if (credential !== undefined)
      return `the credentials from ${credential.from} were not sent, because the registry did not request any`;
    const places = credentials.explain?.(host);
    return `there are no credentials for ${host}${places === undefined ? '' : ` (${places})`}`;
  }

  /** If the guess fails, the request is sent without authorization, and the registry responds with its challenge. */
  async #guess(repository: string, signal: AbortSignal | undefined): Promise<Authorization | undefined> {
    const usual = this.#usual;
    if (usual === undefined) return undefined;
    try {
      const credential = await this.#options.credentials.find(this.#options.host, repository, { signal });
      const method =
        usual === 'basic'
          ? basicMethod(credential)
          : (registryTokenMethod(credential) ?? {
              kind: 'token' as const,
              wanted: { ...usual, scope: pullScope(repository) },
              credential,
            });
      return method && (await this.#use(repository, { ...method, guessed: true }, signal));
    } catch (thrown) {
      if (!(thrown instanceof Failure) || signal?.aborted === true) throw thrown;
      this.#usual = undefined;
      this.#methods.set(repository, { kind: 'none' });
      return undefined;
    }
  }

  /** Creates the authorization, and then remembers the method. */
  async #use(
    repository: string,
    method: AuthMethod,
    signal: AbortSignal | undefined,
  ): Promise<Authorization | undefined> {
    if (method.kind === 'none' || method.kind === 'refused') return undefined;
    const guessed = method.guessed === true ? { guessed: method.guessed } : {};
    if (method.kind === 'fixed') {
      this.#methods.set(repository, method);
      this.#hints.set(repository, `with the credentials from ${method.from}`);
      return { authorization: method.authorization, ...guessed };
    }
    const { wanted, credential } = method;
    const { token, fresh } = await this.#options.tokens.get(wanted, credential, signal);
    this.#methods.set(repository, method);
    const { withheld } = token;
    const hint = credential && (withheld ?? `with the credentials from ${credential.from}`);
    if (hint !== undefined) this.#hints.set(repository, hint);
    return { authorization: `Bearer ${token.value}`, token: { wanted, token, fresh }, ...guessed };
  }
}

/** A token for the registry itself, which needs no token service. */
function registryTokenMethod(credential: Credential | undefined): AuthMethod | undefined {
  if (credential?.registryToken === undefined) return undefined;
  remember(credential.registryToken);
  return { kind: 'fixed', authorization: `Bearer ${credential.registryToken}`, from: credential.from };
}

function basicMethod(credential: Credential | undefined): AuthMethod | undefined {
  if (credential?.password === undefined) return undefined;
  const { username, password, encoded, from } = credential;
  remember(password, `${username}:${password}`, encoded);
  return { kind: 'fixed', authorization: basicAuthorization(credential), from };
}

function sameToken(one: TokenRequest, other: TokenRequest): boolean {
  return one.realm === other.realm && one.service === other.service && one.scope === other.scope;
}
