import { type Failure, invalid } from '../core/failure.ts';
import { show } from './show.ts';

/** The kind of text that a pattern matches. */
interface Kind {
  readonly plural: string;
  /** Tests a character that such a text may contain. */
  readonly character: RegExp;
  /** The maximum length of a text, and so of its pattern, in characters. */
  readonly maxLength: number;
}

/** OCI distribution spec 1.1: a tag has at most 128 characters. */
const TAG: Kind = { plural: 'tags', character: /^[\w.-]$/, maxLength: 128 };

/** The URI or address of a signer, or the URL of its issuer. */
const IDENTITY: Kind = { plural: 'identities', character: /^[!-~]$/, maxLength: 1024 };

/** A part of a pattern: any run of characters (`*`), or the test of one character. */
type Token = 'run' | ((character: string) => boolean);

/**
 * A tag pattern, compiled: `*` is any number of characters, `?` is one, `[a-f0-9]` one of these and `[!a-f]` one of the
 * others; any other character is itself. Regular expressions are refused, because a careless one can block the process.
 *
 * @throws {Failure} `invalid` where the pattern is broken, or has a character that no tag has
 */
export function parseGlob(pattern: string): readonly Token[] {
  return parse(pattern, TAG);
}

/**
 * The same for the identity of a signer, or for its issuer. `*` also matches slashes.
 *
 * @throws {Failure} `invalid`
 */
export function parseIdentityGlob(pattern: string): readonly Token[] {
  return parse(pattern, IDENTITY);
}

function parse(pattern: string, kind: Kind): readonly Token[] {
  const wrong = (detail: string): Failure => invalid(`parse pattern ${show(pattern)}`, detail);
  if (pattern === '') throw wrong('it is empty');
  if (pattern.length > kind.maxLength)
    throw wrong(`expected at most ${kind.maxLength} characters, got ${pattern.length}`);
  const tokens: Token[] = [];
  for (let at = 0; at < pattern.length; at += 1) {
    const character = pattern.charAt(at);
    if (character === '*') {
      if (tokens.at(-1) !== 'run') tokens.push('run');
    } else if (character === '?') tokens.push(() => true);
    else if (character === '[') {
      const end = pattern.indexOf(']', at + 1);
      if (end < 0) throw wrong('a "[" is not closed');
      tokens.push(parseClass(pattern.slice(at + 1, end), kind, wrong));
      at = end;
    } else if (kind.character.test(character)) tokens.push((other) => other === character);
    else
      throw wrong(
        `${kind.plural} cannot contain ${show(character)}; a pattern may contain the characters of ${kind.plural} and *, ?, [a-z], [!a-z] (a pattern is not a regular expression)`,
      );
  }
  return tokens;
}

function parseClass(text: string, kind: Kind, wrong: (detail: string) => Failure): Token {
  const negated = text.startsWith('!');
  const members = negated ? text.slice(1) : text;
  const ranges: (readonly [first: string, last: string])[] = [];
  for (let at = 0; at < members.length; at += 1) {
    const first = members.charAt(at);
    const isRange = members[at + 1] === '-' && at + 2 < members.length;
    const last = isRange ? members.charAt(at + 2) : first;
    if (!kind.character.test(first) || !kind.character.test(last))
      throw wrong(`[${text}] has a character that ${kind.plural} cannot contain`);
    if (first > last) throw wrong(`[${text}] has the range ${first}-${last}, which is empty`);
    if (isRange) at += 2;
    ranges.push([first, last]);
  }
  if (ranges.length === 0) throw wrong(`[${text}] is empty`);
  return (character) => ranges.some(([first, last]) => first <= character && character <= last) !== negated;
}

/** Whether a pattern has no wildcards, and so matches only itself. */
export function isLiteral(pattern: string): boolean {
  return !/[*?[]/.test(pattern);
}

/**
 * Whether all of `text` matches. A match takes at most length × length steps, because only the last `*` is retried.
 */
export function matchesGlob(tokens: readonly Token[], text: string): boolean {
  let token = 0;
  let at = 0;
  let retry: { readonly token: number; at: number } | undefined;
  while (at < text.length) {
    const next = tokens[token];
    if (next === 'run') {
      token += 1;
      retry = { token, at };
    } else if (next?.(text.charAt(at)) === true) {
      token += 1;
      at += 1;
    } else if (retry === undefined) return false;
    else {
      // The last `*` matches one more character.
      retry.at += 1;
      at = retry.at;
      token = retry.token;
    }
  }
  while (tokens[token] === 'run') token += 1;
  return token === tokens.length;
}
