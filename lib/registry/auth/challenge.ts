/** One challenge of a WWW-Authenticate header (RFC 9110, section 11.6.1). */
export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly params: ReadonlyMap<string, string>;
}

/** The token that a Bearer challenge requests (distribution's token authentication specification). */
export interface TokenRequest {
  readonly realm: string;
  readonly service: string;
  readonly scope: string;
  /** The registry's name in credentials. */
  readonly registry: string;
  /** The URL that sent the challenge. */
  readonly namedBy: URL;
}

const TOKEN = /[!#$%&'*+\-.^_`|~\w]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
/** An unquoted value; more lenient than the grammar, because some registries do not quote the realm. */
const BARE = /[^\s,"]+/y;
const SPACE = /[\s,]*/y;
const EQUALS = /\s*=\s*/y;
const TOKEN68 = /[\w\-.~+/]+=*(?=\s*(?:,|$))/y;

/** Parses all challenges in order; invalid parts are skipped. */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  const text = typeof header === 'string' ? header : (header ?? []).join(', ');
  const challenges: { scheme: string; params: Map<string, string> }[] = [];
  let at = 0;
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found === null) return undefined;
    at = pattern.lastIndex;
    return found[1] ?? found[0];
  };
  for (;;) {
    match(SPACE);
    const start = at;
    const name = match(TOKEN)?.toLowerCase();
    if (name === undefined) return challenges;
    const current = challenges.at(-1);
    if (current !== undefined && match(EQUALS) !== undefined) {
      const value = match(QUOTED)?.replace(/\\(.)/g, '$1') ?? match(BARE) ?? '';
      // The first of duplicate parameters counts.
      if (!current.params.has(name)) current.params.set(name, value);
    } else {
      challenges.push({ scheme: name, params: new Map() });
      match(/[ \t]*/y);
      // token68 credentials (`Negotiate abc==`) are not supported, and are skipped.
      if (peekParameter(text, at)) continue;
      match(TOKEN68);
    }
    if (at === start) return challenges;
  }
}

function peekParameter(text: string, at: number): boolean {
  const parameter = /[!#$%&'*+\-.^_`|~\w]+\s*=\s*(?:"|[^\s=,])/y;
  parameter.lastIndex = at;
  return parameter.test(text);
}

/** The Bearer token that the challenges request. */
export function requestedToken(challenges: readonly Challenge[]): Pick<TokenRequest, 'realm' | 'service'> | undefined {
  const params = challenges.find(({ scheme }) => scheme === 'bearer')?.params;
  const realm = params?.get('realm');
  if (realm === undefined || !isHttp(realm)) return undefined;
  return { realm, service: params?.get('service') ?? '' };
}

/** The realm of a Bearer challenge, if it is not an HTTP URL. */
export function unusableRealm(challenges: readonly Challenge[]): string | undefined {
  const realm = challenges.find(({ scheme }) => scheme === 'bearer')?.params.get('realm');
  return realm === undefined || isHttp(realm) ? undefined : realm;
}

function isHttp(realm: string): boolean {
  return URL.canParse(realm) && /^https?:$/.test(new URL(realm).protocol);
}

export function offersBasic(challenges: readonly Challenge[]): boolean {
  return challenges.some(({ scheme }) => scheme === 'basic');
}

export function basicAuthorization(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}

/** The only scope that is ever requested; a challenge could name another repository, or more than pull. */
export function pullScope(repository: string): string {
  return `repository:${repository}:pull`;
}
