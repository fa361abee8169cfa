import { Failure } from '../../core/failure.ts';
import { Lru } from '../../core/lru.ts';
import { quote } from '../../oci/show.ts';
import {
  basicAuthorization,
  basicWanted,
  parseChallenges,
  pullScope,
  tokenWanted,
  unusableRealm,
  type TokenWanted,
} from './challenge.ts';
import type { Credential, Credentials } from './credentials.ts';
import { remember } from './redact.ts';
import type { Token, Tokens } from './tokens.ts';

/** The Authorization of one request, and what is needed to judge its refusal. */
export interface Grant {
  readonly authorization: string;
  /** The repository was never asked without it: other repositories wanted it. */
  readonly guessed?: true;
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

/** What a registry wants for a repository; a guess until it was accepted there. */
type Way = { readonly guessed?: true } & (
  | { readonly kind: 'none' }
  | { readonly kind: 'fixed'; readonly authorization: string; readonly from: string }
  | { readonly kind: 'token'; readonly wanted: TokenWanted; readonly credential: Credential | undefined }
);

export interface AuthorizerOptions {
  /** The registry's name in credentials. */
  readonly host: string;
  readonly credentials: Credentials;
  readonly tokens: Tokens;
}

/** Repositories whose way is remembered. */
const REPOSITORIES = 10_000;

/**
 * Authorization at one registry endpoint. Nothing is sent before the registry has asked for it; what it asked for is
 * remembered, so that later requests bring it along.
 */
export class Authorizer {
  readonly #options: AuthorizerOptions;
  readonly #ways = new Lru<string, Way>(REPOSITORIES);
  /** With what each repository was asked last, for errors. */
  readonly #hints = new Lru<string, string>(REPOSITORIES);
  /** How the last challenge asked; most registries ask the same way for every repository. */
  #usual: Omit<TokenWanted, 'scope'> | 'basic' | undefined;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /** What a request for this repository should bring along, as far as is known. */
  async grant(repository: string, signal?: AbortSignal): Promise<Grant | undefined> {
    const way = this.#ways.get(repository);
    return way === undefined ? this.#guess(repository, signal) : this.#take(repository, way, signal);
  }

  /** After a reply to a guess: keeps it where it was accepted; a repository that refused it is asked without. */
  judge(repository: string, isAccepted: boolean): void {
    const way = this.#ways.get(repository);
    if (way?.guessed !== true) return;
    const { guessed: _, ...proven } = way;
    this.#ways.set(repository, isAccepted ? proven : { kind: 'none' });
    if (!isAccepted) this.#hints.delete(repository);
  }

  /** After a 401: what to bring along instead, or nothing where nothing else is left to try. */
  async challenged(
    repository: string,
    { url, header, sent }: Challenged,
    signal?: AbortSignal,
  ): Promise<Grant | undefined> {
    const { host, credentials, tokens } = this.#options;
    const challenges = parseChallenges(header);
    const credential = await credentials.find(host, repository, { signal });
    const named = tokenWanted(challenges);
    const wanted = named && { ...named, registry: host, namedBy: url, scope: pullScope(repository) };
    const unusable = unusableRealm(challenges);
    if (unusable !== undefined)
      this.#hints.set(repository, `${url.host} names a token service that is not a URL: "${quote(unusable)}"`);
    const basic = basicWanted(challenges) ? basicWay(credential) : undefined;
    const isSent = (way: Way | undefined): boolean =>
      way?.kind === 'fixed' && sent?.authorization === way.authorization;
    const fixed = registryTokenWay(credential);
    if (fixed !== undefined && (wanted !== undefined || basic === undefined))
      return isSent(fixed) ? undefined : this.#take(repository, fixed, signal);
    if (wanted !== undefined) {
      const before = sent?.token;
      const isRefused = before?.fresh === true && sameToken(before.wanted, wanted);
      if (before !== undefined) tokens.forget(before.wanted, credential, before.token);
      if (!isRefused) {
        try {
          const grant = await this.#take(repository, { kind: 'token', wanted, credential }, signal);
          const { scope: _, ...usual } = wanted;
          this.#usual = usual;
          return grant;
        } catch (thrown) {
          // A registry that offers Basic too may be one whose token service does not work.
          if (basic === undefined || signal?.aborted === true) throw thrown;
        }
      }
    }
    if (basic === undefined || isSent(basic)) return undefined;
    if (wanted === undefined) this.#usual = 'basic';
    return this.#take(repository, basic, signal);
  }

  /** Whether there are credentials that the registry was never sent for this repository. */
  async hasMore(repository: string, signal?: AbortSignal): Promise<boolean> {
    const { host, credentials } = this.#options;
    const isKnown = (this.#ways.get(repository)?.kind ?? 'none') !== 'none';
    return !isKnown && (await credentials.find(host, repository, { signal })) !== undefined;
  }

  /** For an error about a denial: with what, if anything, it was asked. */
  async hint(repository: string, signal?: AbortSignal): Promise<string> {
    const known = this.#hints.get(repository);
    if (known !== undefined) return known;
    const { host, credentials } = this.#options;
    const credential = await credentials.find(host, repository, { signal }).catch(() => undefined);
    if (credential !== undefined) return `the credentials from ${credential.from} were not asked for, and are not sent`;
    const looked = credentials.explain?.(host);
    return `there are no credentials for ${host}${looked === undefined ? '' : ` (${looked})`}`;
  }

  /** A guess that fails says nothing of this repository: it is asked without authorization, and may say what it wants. */
  async #guess(repository: string, signal: AbortSignal | undefined): Promise<Grant | undefined> {
    const usual = this.#usual;
    if (usual === undefined) return undefined;
    try {
      const credential = await this.#options.credentials.find(this.#options.host, repository, { signal });
      const way =
        usual === 'basic'
          ? basicWay(credential)
          : (registryTokenWay(credential) ?? {
              kind: 'token' as const,
              wanted: { ...usual, scope: pullScope(repository) },
              credential,
            });
      return way && (await this.#take(repository, { ...way, guessed: true }, signal));
    } catch (thrown) {
      if (!(thrown instanceof Failure) || signal?.aborted === true) throw thrown;
      this.#usual = undefined;
      this.#ways.set(repository, { kind: 'none' });
      return undefined;
    }
  }

  /** Goes that way, and remembers it once it has led to an authorization. */
  async #take(repository: string, way: Way, signal: AbortSignal | undefined): Promise<Grant | undefined> {
    if (way.kind === 'none') return undefined;
    const guessed = way.guessed === true ? { guessed: way.guessed } : {};
    if (way.kind === 'fixed') {
      this.#ways.set(repository, way);
      this.#hints.set(repository, `with the credentials from ${way.from}`);
      return { authorization: way.authorization, ...guessed };
    }
    const { wanted, credential } = way;
    const { token, fresh } = await this.#options.tokens.get(wanted, credential, signal);
    this.#ways.set(repository, way);
    const { withheld } = token;
    const hint = credential && (withheld ?? `with the credentials from ${credential.from}`);
    if (hint !== undefined) this.#hints.set(repository, hint);
    return { authorization: `Bearer ${token.value}`, token: { wanted, token, fresh }, ...guessed };
  }
}

/** A token that is for the registry itself spares the token service. */
function registryTokenWay(credential: Credential | undefined): Way | undefined {
  if (credential?.registryToken === undefined) return undefined;
  remember(credential.registryToken);
  return { kind: 'fixed', authorization: `Bearer ${credential.registryToken}`, from: credential.from };
}

function basicWay(credential: Credential | undefined): Way | undefined {
  if (credential?.password === undefined) return undefined;
  const { username, password, from } = credential;
  remember(password, `${username}:${password}`);
  return { kind: 'fixed', authorization: basicAuthorization(username, password), from };
}

function sameToken(one: TokenWanted, other: TokenWanted): boolean {
  return one.realm === other.realm && one.service === other.service && one.scope === other.scope;
}
