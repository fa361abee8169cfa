import { Failure, type FailureCode } from '../core/failure.ts';
import { foldsTo, isRecord, JsonFault, readJson } from '../core/json.ts';
import { own } from '../core/own.ts';
import { digestFault, type Digest } from './digest.ts';
import { printable, show, showKey } from './show.ts';

/**
 * RFC 6838, section 4.2 (the OCI image spec's `mediaType`), with optional parameters. Media types end up in HTTP
 * headers, so only printable ASCII is accepted.
 */
const MEDIA_TYPE = /^[A-Za-z0-9][\w!#$&^.+-]{0,126}\/[A-Za-z0-9][\w!#$&^.+-]{0,126}(?: *;[ -~]{0,255})?$/;

/**
 * A place in a parsed JSON document. It knows its path, so that every error names it.
 *
 * `null` counts as missing: Go's encoders, which made nearly all of these documents, write it for fields that are not
 * set.
 */
export class Place {
  readonly #operation: string;
  readonly #name: string | number;
  readonly #value: unknown;
  readonly #parent: Place | undefined;
  #keys: readonly string[] | undefined;

  /** @param name the path of a root, the key of a value in an object, or its index in an array */
  constructor(operation: string, name: string | number, value: unknown, parent?: Place) {
    this.#operation = operation;
    this.#name = name;
    this.#value = value;
    this.#parent = parent;
  }

  /**
   * The root of a JSON text in UTF-8 (RFC 8259, section 8.1: no other encoding, no byte order mark).
   *
   * @param maxValues the limit for its keys and values
   */
  static ofBytes(operation: string, bytes: Uint8Array, path = '', maxValues?: number): Place {
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw new Place(operation, path, bytes).fail('is not UTF-8');
    }
    return new Place(operation, path, text).json(maxValues);
  }

  /**
   * The root of a document of an image. As in Go, bytes that are not UTF-8 become U+FFFD: the digest covers the bytes,
   * and other tools copy such documents.
   */
  static ofContent(operation: string, bytes: Uint8Array): Place {
    return new Place(operation, '', new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)).json();
  }

  /** `config.layers[2].size`; empty for a root without a path. */
  get path(): string {
    const name = this.#name;
    if (this.#parent === undefined) return String(name);
    const parent = this.#parent.path;
    if (typeof name === 'number') return `${parent}[${name}]`;
    return parent === '' ? showKey(name) : `${parent}.${showKey(name)}`;
  }

  get given(): boolean {
    return this.#value !== undefined && this.#value !== null;
  }

  get isList(): boolean {
    return Array.isArray(this.#value);
  }

  is(value: string): boolean {
    return this.#value === value;
  }

  optional<T>(read: (place: Place) => T): T | undefined {
    return this.given ? read(this) : undefined;
  }

  fail(detail: string, code: FailureCode = 'invalid'): Failure {
    const path = this.path;
    const where = path === '' ? detail : `${path}: ${detail}`;
    return new Failure({ operation: this.#operation, side: 'input', code, detail: where });
  }

  /**
   * The field `key`; if this object lacks it, a place without a value. Go's decoder treats keys that differ only in
   * case as the same field, and the last one wins. An object with such a key has two meanings, and is refused.
   */
  at(key: string): Place {
    this.#keys ??= Object.keys(this.object());
    for (const other of this.#keys)
      if (other !== key && foldsTo(other, key))
        throw this.entry(other).fail(
          `is taken for ${show(key)} by readers that ignore case; only ${show(key)} may stand here`,
        );
    return this.entry(key);
  }

  /**
   * An object with only these fields, whose keys may be written in another case, as Go's decoder reads them. An object
   * that has a field twice is refused.
   */
  inAnyCase(fields: readonly string[]): Place {
    this.refuseFolded(fields);
    const keys = Object.keys(this.object());
    const given = fields.map((field) => {
      const key = keys.find((name) => foldsTo(name, field)) ?? field;
      return [field, this.entry(key).#value] as const;
    });
    return new Place(this.#operation, this.#name, Object.fromEntries(given), this.#parent);
  }

  /** Refuses an object that has two keys for one of the fields. Unlike `at`, it accepts a single key in another case. */
  refuseFolded(fields: readonly string[]): void {
    if (!isRecord(this.#value)) return;
    const keys = Object.keys(this.#value);
    for (const field of fields) {
      const [first, second] = keys.filter((key) => foldsTo(key, field));
      if (first !== undefined && second !== undefined)
        throw this.entry(second).fail(
          `is taken for ${show(first)} by readers that ignore case; only one may stand here`,
        );
    }
  }

  /** The value of a key that is a name and not a field, such as an annotation's or a host's. */
  entry(key: string): Place {
    return new Place(this.#operation, key, own(this.object(), key), this);
  }

  object(): Record<string, unknown> {
    if (!isRecord(this.#value)) throw this.#expected('an object');
    return this.#value;
  }

  /** The elements of an array; `null` is an empty one, as Go writes a nil slice. */
  list(limit: number): Place[] {
    if (this.#value === null) return [];
    if (!Array.isArray(this.#value)) throw this.#expected('an array');
    if (this.#value.length > limit)
      throw this.fail(`expected at most ${limit} elements, got ${this.#value.length}`, 'too-large');
    return this.#value.map((value: unknown, index) => new Place(this.#operation, index, value, this));
  }

  /** The first elements of an array; the others are ignored. */
  optionalFirst(limit: number): Place[] | undefined {
    const value = Array.isArray(this.#value) ? this.#value.slice(0, limit) : this.#value;
    return new Place(this.#operation, this.#name, value, this.#parent).optionalList(limit);
  }

  optionalList(limit: number): Place[] | undefined {
    return this.given ? this.list(limit) : undefined;
  }

  text(): string {
    if (typeof this.#value !== 'string') throw this.#expected('a string');
    return this.#value;
  }

  /** A string that is not empty; an empty one counts as missing. */
  optionalText(): string | undefined {
    return this.given && this.text() !== '' ? this.text() : undefined;
  }

  mediaType(): string {
    const text = this.text();
    if (!MEDIA_TYPE.test(text)) throw this.#expected('a media type, such as application/json');
    return text;
  }

  digest(): Digest {
    const text = this.text();
    const fault = digestFault(text);
    if (fault !== undefined) throw this.fail(`${show(text)} ${fault}`);
    return text as Digest;
  }

  /** A size in bytes. */
  size(): number {
    if (!Number.isSafeInteger(this.#value) || (this.#value as number) < 0)
      throw this.#expected(`a whole number of bytes from 0 to ${Number.MAX_SAFE_INTEGER}`);
    return this.#value as number;
  }

  integer(): number {
    if (!Number.isSafeInteger(this.#value)) throw this.#expected('a whole number');
    return this.#value as number;
  }

  optionalFlag(): boolean {
    if (this.given && typeof this.#value !== 'boolean') throw this.#expected('true or false');
    return this.#value === true;
  }

  /**
   * RFC 7515, section 2: base64url without padding. Node's decoder skips characters that it cannot read, so they are
   * refused here.
   */
  base64url(): Buffer {
    const text = this.text();
    if (!/^[\w-]*={0,2}$/.test(text)) throw this.#expected('base64url');
    return Buffer.from(text, 'base64url');
  }

  /** An object whose values are strings, such as annotations. A null value counts as missing. */
  texts(): Record<string, string> {
    const object = this.object();
    if (Object.values(object).every((value) => typeof value === 'string')) return object as Record<string, string>;
    const given = Object.entries(object).filter(([, value]) => value !== null);
    return Object.fromEntries(given.map(([name]) => [name, this.entry(name).text()]));
  }

  optionalTexts(): Record<string, string> | undefined {
    return this.given ? this.texts() : undefined;
  }

  /** The document that is embedded here as a JSON text. */
  json(maxValues?: number): Place {
    const text = this.text();
    let value: unknown;
    try {
      value = readJson(text, maxValues);
    } catch (fault) {
      if (fault instanceof JsonFault) throw this.fail(printable(fault.message), fault.code);
      throw fault;
    }
    return new Place(this.#operation, this.path, value);
  }

  /** The document that is embedded here as base64url. */
  embedded(): Place {
    return Place.ofBytes(this.#operation, this.base64url(), this.path);
  }

  #expected(what: string): Failure {
    return this.fail(
      this.#value === undefined ? `is missing; it must be ${what}` : `must be ${what}, not ${show(this.#value)}`,
    );
  }
}
