/**
 * WWW-Authenticate (RFC 9110, section 11.6.1): what a registry wants to see before it answers.
 */
export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly params: ReadonlyMap<string, string>;
}

/** What a Bearer challenge says about the token that is wanted (distribution's token authentication specification). */
export interface TokenWanted {
  readonly realm: string;
  readonly service: string;
  readonly scope: string;
  /** The registry that wants it, by its name in credentials, */
  readonly registry: string;
  /** and the URL whose challenge it was. */
  readonly namedBy: URL;
}

const TOKEN = /[!#$%&'*+\-.^_`|~\w]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
/** A value without quotes; more than the grammar allows, since some realms are written so. */
const BARE = /[^\s,"]+/y;
const SPACE = /[\s,]*/y;
const EQUALS = /\s*=\s*/y;
const TOKEN68 = /[\w\-.~+/]+=*(?=\s*(?:,|$))/y;

/** All challenges, in order. Never throws: what cannot be understood is left out. */
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
      // A parameter must not occur twice; the first one counts.
      if (!current.params.has(name)) current.params.set(name, value);
    } else {
      challenges.push({ scheme: name, params: new Map() });
      match(/[ \t]*/y);
      // `Negotiate abc==`: credentials in one word, which nobody here can use, are stepped over.
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

/** The Bearer token that the challenges ask for, if they do. */
export function tokenWanted(challenges: readonly Challenge[]): Pick<TokenWanted, 'realm' | 'service'> | undefined {
  const params = challenges.find(({ scheme }) => scheme === 'bearer')?.params;
  const realm = params?.get('realm');
  if (realm === undefined || !isHttp(realm)) return undefined;
  return { realm, service: params?.get('service') ?? '' };
}

/** The realm of a Bearer challenge that cannot be asked for a token. */
export function unusableRealm(challenges: readonly Challenge[]): string | undefined {
  const realm = challenges.find(({ scheme }) => scheme === 'bearer')?.params.get('realm');
  return realm === undefined || isHttp(realm) ? undefined : realm;
}

function isHttp(realm: string): boolean {
  return URL.canParse(realm) && /^https?:$/.test(new URL(realm).protocol);
}

export function basicWanted(challenges: readonly Challenge[]): boolean {
  return challenges.some(({ scheme }) => scheme === 'basic');
}

export function basicAuthorization(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}

/** The only scope that is ever asked for: a challenge can name another repository, or more than pulling. */
export function pullScope(repository: string): string {
  return `repository:${repository}:pull`;
}
