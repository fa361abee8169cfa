import { randomUUID } from 'node:crypto';
import { type Answer, json } from './answer.ts';
import { errorBody } from './misbehave.ts';

export interface BasicAuth {
  readonly kind: 'basic';
  readonly user: string;
  readonly password: string;
}

/** The distribution token protocol. Without `user`, any client gets a token, as on Docker Hub. */
export interface BearerAuth {
  readonly kind: 'bearer';
  readonly user?: string;
  readonly password?: string;
  /** The identity token of Docker's `config.json`, which the POST form accepts. */
  readonly refreshToken?: string;
  /** The number of requests for which a token is valid, as if it were revoked early. */
  readonly expiresAfterRequests?: number;
  /** The value of `expires_in`; 300 by default, and `null` omits it (then it is 60 by Docker's token specification). */
  readonly ttlSeconds?: number | null;
  /** GET with a query and Basic (Docker Hub, GHCR), or OAuth2's POST of a form (ACR, Docker's own with an identity token). */
  readonly form?: 'get' | 'post';
  /** The field of the response with the token; both are in use, and some services send both. */
  readonly field?: 'token' | 'access_token' | 'both';
}

export type Auth = BasicAuth | BearerAuth;

/** The part of a request that the guard needs. */
export interface Asking {
  readonly method: string;
  readonly url: URL;
  readonly authorization: string | undefined;
  readonly repository?: string | undefined;
}

export interface Guard {
  /** The response that refuses the request, or `undefined` to let it pass. */
  check(request: Asking): Answer | undefined;
  /** The response of the token endpoint. */
  token(request: Asking, form: URLSearchParams): Answer;
}

const SERVICE = 'test-registry';

export function guard(auth: Auth | undefined, host: string): Guard {
  if (auth === undefined) return { check: () => undefined, token: () => json(404, {}) };
  return auth.kind === 'basic' ? basic(auth) : bearer(auth, host);
}

function basic(auth: BasicAuth): Guard {
  return {
    check: ({ authorization }) =>
      authorization === basicHeader(auth.user, auth.password) ? undefined : unauthorized('Basic realm="test registry"'),
    token: () => json(404, {}),
  };
}

function basicHeader(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

function bearer(auth: BearerAuth, host: string): Guard {
  const issued = new Map<string, { readonly scopes: readonly string[]; left: number }>();

  const refuse = (scope: string | undefined, error?: string): Answer =>
    unauthorized(
      [`Bearer realm="http://${host}/token"`, `service="${SERVICE}"`]
        .concat(scope === undefined ? [] : [`scope="${scope}"`], error === undefined ? [] : [`error="${error}"`])
        .join(','),
    );

  const issue = (scopes: readonly string[]): Answer => {
    const token = `token-${randomUUID()}`;
    issued.set(token, { scopes, left: auth.expiresAfterRequests ?? Infinity });
    const { field = 'both', ttlSeconds = 300 } = auth;
    return json(200, {
      ...(field === 'access_token' ? {} : { token }),
      ...(field === 'token' ? {} : { access_token: token }),
      ...(ttlSeconds === null ? {} : { expires_in: ttlSeconds }),
      issued_at: new Date().toISOString(),
    });
  };

  return {
    check: ({ authorization, repository }) => {
      const scope = repository === undefined ? undefined : `repository:${repository}:pull`;
      const token = issued.get(/^Bearer (.+)$/.exec(authorization ?? '')?.[1] ?? '');
      if (token === undefined) return refuse(scope, authorization === undefined ? undefined : 'invalid_token');
      if (token.left <= 0) return refuse(scope, 'invalid_token');
      if (scope !== undefined && !token.scopes.includes(scope)) return refuse(scope, 'insufficient_scope');
      token.left -= 1;
      return undefined;
    },

    token: ({ method, url, authorization }, form) => {
      const { user, password, refreshToken } = auth;
      const wanted = (auth.form ?? 'get') === 'get' ? 'GET' : 'POST';
      if (method !== wanted) return json(405, errorBody('UNSUPPORTED', `the token endpoint takes ${wanted}`));
      const fields = method === 'GET' ? url.searchParams : form;
      if (fields.get('service') !== SERVICE) return json(400, errorBody('DENIED', 'unknown service'));
      const known =
        method === 'GET'
          ? user === undefined
            ? authorization === undefined
            : authorization === basicHeader(user, password ?? '')
          : form.get('grant_type') === 'refresh_token'
            ? refreshToken !== undefined && form.get('refresh_token') === refreshToken
            : form.get('grant_type') === 'password' &&
              form.get('username') === user &&
              form.get('password') === password;
      if (!known) return json(401, errorBody('UNAUTHORIZED', 'incorrect username or password'));
      return issue(fields.getAll('scope').flatMap((scope) => scope.split(' ')));
    },
  };
}

function unauthorized(challenge: string): Answer {
  return json(401, errorBody('UNAUTHORIZED', 'authentication required'), { 'www-authenticate': challenge });
}
