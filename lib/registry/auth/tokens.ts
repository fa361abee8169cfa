import { Failure } from '../../core/failure.ts';
import { parseDate } from '../../core/http/time.ts';
import { readFields } from '../../core/json.ts';
import { Lru } from '../../core/lru.ts';
import { basicAuthorization, type TokenRequest } from './challenge.ts';
import type { Credential } from './credentials.ts';
import { refusal } from '../errors.ts';
import { type RealmRules, type UsableCredential, usableAt } from './realms.ts';
import { remember, rememberToken } from '../../core/redact.ts';
import { SharedWork } from '../../core/shared-work.ts';
import { readExcerpt, readWhole } from '../http/short.ts';
import type { HttpRequest, Reply } from '../http/message.ts';

export interface Token {
  readonly value: string;
  /** The time at which the token is renewed, on the clock of `now`. */
  readonly expiresAt: number;
  /** The reason why it was requested without the existing credentials. */
  readonly withheld?: string;
}

export interface TokensOptions {
  readonly send: (request: HttpRequest, signal?: AbortSignal) => Promise<Reply>;
  readonly now: () => number;
  readonly rules: RealmRules;
}

/** The specification's default for a token without `expires_in`. */
const DEFAULT_LIFE_MS = 60_000;
/** A token is renewed this long before it expires, or a tenth of its lifetime before if that is shorter. */
const MARGIN_MS = 10_000;

/** The limit for a token; it is sent in a header, and servers accept 8 to 64 KiB of headers. */
const TOKEN_BYTES = 64 * 1024;
/** The number of cached tokens; registries determine how many there are. */
const TOKENS = 1_000;
const CLIENT_ID = 'mirror-sync';

/**
 * Tokens from the token services in Bearer challenges (distribution's "Token Authentication" and "OAuth2 Token
 * Authentication" specifications), cached by realm, service, scope and user until they expire or a registry refuses them.
 */
export class Tokens {
  readonly #options: TokensOptions;
  readonly #kept = new Lru<string, Token>(TOKENS);
  readonly #fetching = new SharedWork<Token>();

  constructor(options: TokensOptions) {
    this.#options = options;
  }

  /** A token, and whether it is fresh; after the refusal of a fresh token, another one does not help. */
  async get(
    wanted: TokenRequest,
    credential: Credential | undefined,
    signal?: AbortSignal,
  ): Promise<{ readonly token: Token; readonly fresh: boolean }> {
    const usable = usableAt(wanted, credential, this.#options.rules);
    const key = keyOf(wanted, credential);
    const kept = this.#kept.get(key);
    if (kept !== undefined && this.#options.now() < kept.expiresAt) return { token: kept, fresh: false };
    const fetch = async (abort: AbortSignal): Promise<Token> => {
      const token = await this.#fetch(wanted, usable, abort);
      rememberToken(token.value);
      const { withheld } = usable;
      const fetched = withheld === undefined ? token : { ...token, withheld };
      this.#kept.set(key, fetched);
      return fetched;
    };
    return { token: await this.#fetching.join(key, fetch, signal), fresh: true };
  }

  /** Drops a token that a registry refused, unless another token has replaced it. */
  forget(wanted: TokenRequest, credential: Credential | undefined, refused: Token): void {
    const key = keyOf(wanted, credential);
    if (this.#kept.get(key) === refused) this.#kept.delete(key);
  }

  /** After refused credentials, requests a token without credentials, because the image may be public. */
  async #fetch(wanted: TokenRequest, usable: UsableCredential, signal: AbortSignal): Promise<Token> {
    try {
      return await this.#ask(wanted, usable, signal);
    } catch (refused) {
      const { credential } = usable;
      if (credential === undefined || !(refused instanceof Failure) || refused.status !== 401) throw refused;
      const { host } = new URL(wanted.realm);
      const withheld = `${host} refused the credentials from ${credential.from} with 401`;
      const token = await this.#ask(wanted, { credential: undefined, withheld }, signal).catch(() => undefined);
      if (token === undefined) throw refused;
      return { ...token, withheld };
    }
  }

  async #ask(wanted: TokenRequest, { credential, withheld }: UsableCredential, signal: AbortSignal): Promise<Token> {
    const operation = `get token from ${new URL(wanted.realm).origin}`;
    const { send } = this.#options;
    remember(
      credential?.password,
      credential?.encoded,
      credential?.identityToken,
      credential && `${credential.username}:${credential.password ?? ''}`,
    );
    const hint =
      withheld ?? (credential === undefined ? 'without credentials' : `with the credentials from ${credential.from}`);
    const form = oauthForm(wanted, credential);
    if (credential?.identityToken !== undefined)
      return this.#read(await send(post(operation, wanted, form), signal), operation, hint);
    const reply = await send(get(operation, wanted, credential), signal);
    // Some services support only the OAuth 2 form.
    const refused = reply.status === 400 || reply.status === 404 || reply.status === 405;
    if (!refused || credential?.password === undefined) return this.#read(reply, operation, hint);
    reply.body.cancel();
    return this.#read(await send(post(operation, wanted, form), signal), operation, hint);
  }

  async #read(reply: Reply, operation: string, hint: string): Promise<Token> {
    const { status, headers, url } = reply;
    const now = this.#options.now();
    if (status < 200 || status > 299) {
      const body = await readExcerpt(reply);
      throw refusal({ status, headers, body }, { operation, host: url.host, subject: 'token', now, hint });
    }
    const bytes = await readWhole(reply, operation, TOKEN_BYTES);
    const token = bytes && parseToken(Buffer.from(bytes).toString('utf8'), now, parseDate(headers['date']));
    if (token !== undefined) return token;
    const detail = `${url.host} answered ${status} without a valid token`;
    throw new Failure({ operation, side: 'source', code: 'invalid', detail, status });
  }
}

function keyOf({ realm, service, scope, registry }: TokenRequest, credential: Credential | undefined): string {
  return JSON.stringify([registry, realm, service, scope, credential?.username ?? '', credential?.from ?? '']);
}

function get(operation: string, wanted: TokenRequest, credential: Credential | undefined): HttpRequest {
  const url = new URL(wanted.realm);
  if (wanted.service !== '') url.searchParams.set('service', wanted.service);
  url.searchParams.set('scope', wanted.scope);
  const headers: Record<string, string> = { accept: 'application/json' };
  if (credential?.password !== undefined) {
    url.searchParams.set('account', credential.username);
    headers['authorization'] = basicAuthorization(credential);
  }
  return { operation, method: 'GET', url, headers, namedBy: wanted.namedBy };
}

function post(operation: string, wanted: TokenRequest, form: URLSearchParams): HttpRequest {
  const headers = { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' };
  const url = new URL(wanted.realm);
  return { operation, method: 'POST', url, headers, body: form.toString(), namedBy: wanted.namedBy };
}

function oauthForm(wanted: TokenRequest, credential: Credential | undefined): URLSearchParams {
  const form = new URLSearchParams({ client_id: CLIENT_ID, service: wanted.service, scope: wanted.scope });
  if (credential?.identityToken !== undefined) {
    form.set('grant_type', 'refresh_token');
    form.set('refresh_token', credential.identityToken);
  } else if (credential?.password !== undefined) {
    form.set('grant_type', 'password');
    form.set('username', credential.username);
    form.set('password', credential.password);
  }
  return form;
}

/** Parses the response of a token service. `issued_at` is on the service's clock, so it is compared with the response's `Date`. */
export function parseToken(body: string, now: number, date = Number.NaN): Token | undefined {
  const fields = readFields(body);
  if (fields === undefined) return undefined;
  const value = [fields.get('token'), fields.get('access_token')]
    .map((each) => (typeof each === 'string' ? each.trim() : ''))
    .find((each) => each !== '');
  // A token must be valid in a header; some contain spaces.
  if (value === undefined || !/^[\x20-\x7e]+$/.test(value)) return undefined;
  const seconds = fields.get('expires_in');
  const life = typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : DEFAULT_LIFE_MS;
  const issuedAt = fields.get('issued_at');
  const issued = typeof issuedAt === 'string' ? Date.parse(issuedAt) : Number.NaN;
  // Go writes the year 1 for an unset time, so an `issued_at` that is too old counts as unset.
  const age = date - issued > 0 && date - issued < life ? date - issued : 0;
  return { value, expiresAt: now + life - age - Math.min(MARGIN_MS, life / 10) };
}
