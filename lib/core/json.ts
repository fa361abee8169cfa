/**
 * Parses untrusted JSON. `JSON.parse` hides what other readers see differently: of two equal keys it silently keeps the
 * last. One digest would then stand for two documents, as in CVE-2021-41190.
 *
 * The time is linear in the length of the text: one pass over its characters, `JSON.parse`, and one pass over the values.
 */

import { withoutSentSecrets } from './redact.ts';

/** Documents of the OCI and Docker specifications nest at most ten levels; deeper ones only exhaust a stack. */
const MAX_DEPTH = 64;

/**
 * The keys and values of a document. Each takes up to 60 bytes of memory, so that 16 MiB of `{},` would take 700 MB. The
 * largest are lists of tags, which have at most 200,000.
 */
const MAX_VALUES = 250_000;

/** The reason why a text is refused: a clause whose subject is the document. */
export class JsonFault extends Error {
  override readonly name = 'JsonFault';
  readonly code: 'invalid' | 'too-deep' | 'too-large';
  /** The text is not JSON, so other readers refuse it as well. */
  readonly syntax: boolean;

  constructor(message: string, code: JsonFault['code'], syntax = false) {
    super(message);
    this.code = code;
    this.syntax = syntax;
  }
}

/**
 * The value of a JSON text whose objects have no key twice.
 *
 * @param maxValues the limit for its keys and values
 * @throws {JsonFault}
 */
export function readJson(text: string, maxValues = MAX_VALUES): unknown {
  const members = countMembers(text, maxValues);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    throw new JsonFault(`is not JSON (${reasonOf(thrown as Error, text)})`, 'invalid', true);
  }
  if (keysOf(value) < members) throw new JsonFault(`has the key ${repeatedKey(text)} twice in one object`, 'invalid');
  return value;
}

/** V8's message repeats a few characters of the text, which may be a part of a secret. */
function reasonOf({ message }: Error, text: string): string {
  if (text.length > QUOTABLE) return message.replace(/^(Unexpected token).*is not valid JSON$/s, '$1');
  return withoutSentSecrets(text) === text ? message : 'it repeats a secret that was sent';
}

/** A longer text is not searched for secrets, and no part of it is repeated. */
const QUOTABLE = 10_000;

/**
 * Whether a text that is not JSON is an object with something behind it. Readers that decode the first value of a text,
 * such as Go's `json.Decoder`, take that object.
 */
export function beginsWithObject(text: string): boolean {
  if (!/^[ \t\r\n]*\{/.test(text)) return false;
  let depth = 0;
  for (let at = 0; at < text.length; at += 1)
    switch (text.charCodeAt(at)) {
      case 0x22:
        at = endOfString(text, at);
        break;
      case 0x5b:
      case 0x7b:
        depth += 1;
        break;
      case 0x5d:
      case 0x7d:
        depth -= 1;
        if (depth === 0) return isJson(text.slice(0, at + 1));
    }
  return false;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The object of a JSON text; undefined for any other text. */
export function readJsonObject(text: string): Record<string, unknown> | undefined {
  try {
    const value = readJson(text);
    return isRecord(value) ? value : undefined;
  } catch (fault) {
    if (fault instanceof JsonFault) return undefined;
    throw fault;
  }
}

/**
 * The fields of a JSON object under their names in lower case, as Go reads them: the last of repeated keys counts. For an
 * answer of a service or a program, which no digest names; undefined for any other text.
 */
export function readFields(text: string): ReadonlyMap<string, unknown> | undefined {
  try {
    countMembers(text);
    const value: unknown = JSON.parse(text);
    return isRecord(value)
      ? new Map(Object.entries(value).map(([key, field]) => [key.toLowerCase(), field]))
      : undefined;
  } catch (thrown) {
    if (thrown instanceof JsonFault || thrown instanceof SyntaxError) return undefined;
    throw thrown;
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Whether Go takes a key of a document for the field `name`: encoding/json compares them under Unicode simple folding,
 * where ſ (U+017F) is an s and K (U+212A) is a k. `name` is ASCII.
 */
export function foldsTo(key: string, name: string): boolean {
  if (key.length !== name.length) return false;
  for (let at = 0; at < key.length; at += 1)
    if (folded(key.charCodeAt(at)) !== folded(name.charCodeAt(at))) return false;
  return true;
}

function folded(unit: number): number {
  if (unit >= 0x41 && unit <= 0x5a) return unit + 0x20;
  if (unit === 0x17f) return 0x73;
  return unit === 0x212a ? 0x6b : unit;
}

/**
 * The members of all objects of a text, counted by their colons. The result is meaningless if the text is not JSON.
 *
 * @throws {JsonFault} for a text that is too deep or has too many values
 */
function countMembers(text: string, maxValues = MAX_VALUES): number {
  let members = 0;
  let others = 0;
  let depth = 0;
  for (let at = 0; at < text.length; at += 1)
    switch (text.charCodeAt(at)) {
      case 0x22: // "
        at = endOfString(text, at);
        break;
      case 0x3a: // :
        members += 1;
        break;
      case 0x2c: // ,
        others += 1;
        break;
      case 0x5b: // [
      case 0x7b: // {
        others += 1;
        depth += 1;
        if (depth > MAX_DEPTH) throw new JsonFault(`nests deeper than ${MAX_DEPTH} levels`, 'too-deep');
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth -= 1;
    }
  if (members + others > maxValues) throw new JsonFault(`has more than ${maxValues} keys and values`, 'too-large');
  return members;
}

/** The index of the quote that ends the string which starts at `start`. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === 0x5c) backslashes += 1;
    if (backslashes % 2 === 0) return end;
  }
  return text.length;
}

/**
 * The number of keys in all objects of a value. A repeated key makes it smaller than the number of members in the text.
 */
function keysOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  let count = 0;
  if (Array.isArray(value)) for (const element of value) count += keysOf(element);
  else
    for (const member of Object.values(value) as unknown[])
      count += typeof member === 'object' ? 1 + keysOf(member) : 1;
  return count;
}

/** The first repeated key of a JSON text, as it is written there; for error messages only. */
function repeatedKey(text: string): string {
  const objects: Set<string>[] = [];
  let last = '';
  for (let at = 0; at < text.length; at += 1)
    switch (text.charCodeAt(at)) {
      case 0x22: {
        const end = endOfString(text, at);
        const token = text.slice(at, end + 1);
        at = end;
        last = JSON.parse(token) as string;
        break;
      }
      case 0x3a:
        if (objects.at(-1)?.has(last) === true) return JSON.stringify(last.slice(0, 100));
        objects.at(-1)?.add(last);
        break;
      case 0x5b:
      case 0x7b:
        objects.push(new Set());
        break;
      case 0x5d:
      case 0x7d:
        objects.pop();
    }
  return '';
}
