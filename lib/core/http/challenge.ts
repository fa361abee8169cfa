import { type HeaderValue, listValue } from './header.ts';

/** One challenge of a `WWW-Authenticate` header (RFC 9110, section 11.6.1). */
export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly params: ReadonlyMap<string, string>;
}

const TOKEN = /[!#$%&'*+\-.^_`|~\w]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
/** An unquoted value; more lenient than the grammar, because some registries do not quote the realm. */
const BARE = /[^\s,"]+/y;
const SPACE = /[\s,]*/y;
const EQUALS = /\s*=\s*/y;
const TOKEN68 = /[\w\-.~+/]+=*(?=\s*(?:,|$))/y;

/** The challenges of a `WWW-Authenticate` header in order; invalid parts are skipped. */
export function parseChallenges(header: HeaderValue): Challenge[] {
  const text = listValue(header);
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
