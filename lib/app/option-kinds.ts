/** Checks of what callers pass to the library, because a program in JavaScript has no types. */
import { invalid } from '../core/failure.ts';
import { own } from '../core/own.ts';
import { closest } from '../core/suggest.ts';
import { show } from '../oci/show.ts';

/** The accepted values of an option, and the words for them behind its name. */
export interface Kind {
  readonly words: string;
  readonly accepts: (value: unknown) => boolean;
}

const isText = (value: unknown): boolean => typeof value === 'string' && value !== '';
const isTexts = (value: unknown): value is unknown[] => Array.isArray(value) && value.every(isText);
const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

const text: Kind = { words: 'as a text', accepts: isText };
const texts: Kind = { words: 'as a list of texts', accepts: isTexts };

export const KINDS = {
  text,
  texts,
  someTexts: {
    words: 'as a list of at least one text',
    accepts: (value) => isTexts(value) && value.length > 0,
  },
  flag: { words: 'true or false', accepts: (value) => typeof value === 'boolean' },
  size: { words: 'from 0', accepts: (value) => typeof value === 'number' && value >= 0 },
  callback: { words: 'as a function', accepts: (value) => typeof value === 'function' },
  object: { words: 'as an object', accepts: isObject },
  signal: { words: 'as an AbortSignal', accepts: (value) => value instanceof AbortSignal },
  /** The values that `Archive` and `WeakMap` look up; an unknown object is refused there. */
  archive: {
    words: "as a handle, a folder's path or s3://bucket/prefix",
    accepts: (value) => isText(value) || isObject(value),
  },
  address: {
    words: "as a folder's path, s3://bucket/prefix or an object store",
    accepts: (value) => isText(value) || (isObject(value) && 'get' in value),
  },
} as const satisfies Record<string, Kind>;

export function wholeNumber(min: number, max = Infinity): Kind {
  return {
    words: `from ${min}${max === Infinity ? '' : ` to ${max}`}`,
    accepts: (value) => Number.isInteger(value) && Number(value) >= min && Number(value) <= max,
  };
}

export function oneOf(...choices: readonly string[]): Kind {
  return { words: choices.join(' or '), accepts: (value) => choices.some((choice) => choice === value) };
}

export function checkKind(operation: string, name: string, value: unknown, { words, accepts }: Kind): void {
  if (accepts(value)) return;
  throw invalid(operation, `expected ${name} ${words}, got ${value === undefined ? 'none' : show(value)}`);
}

/** @param kinds the kind of each option; an option that is undefined counts as missing */
export function checkOptions<O extends object>(
  operation: string,
  options: O,
  kinds: Readonly<Record<keyof O & string, Kind>>,
): void {
  checkKind(operation, 'options', options, KINDS.object);
  const known = Object.keys(kinds);
  for (const [name, value] of Object.entries(options)) {
    const kind = own<Kind>(kinds, name);
    if (kind === undefined) {
      const meant = closest(name, known);
      const hint = meant === undefined ? ` (available: ${known.join(', ')})` : `; did you mean ${meant}?`;
      throw invalid(operation, `unknown option ${show(name)}${hint}`);
    }
    if (value !== undefined) checkKind(operation, name, value, kind);
  }
}
