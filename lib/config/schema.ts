/**
 * A small declarative schema: one definition is both the validator of a document and the JSON Schema that editors read.
 * Limits and descriptions stand in it once.
 */
import { Failure } from '../core/failure.ts';
import { show } from '../oci/show.ts';
import type { ConfigNode } from './node.ts';
import { closest } from '../core/suggest.ts';

/** JSON Schema, draft 7: what editors' YAML plug-ins know. */
export type JsonSchema = Readonly<Record<string, unknown>>;

export interface Schema<T> {
  /** What is meant, for an error: `a list of tags`. */
  readonly what: string;
  /** Whether a node is of this form, right or wrong: a choice takes the first one whose form it is. */
  readonly fits: (node: ConfigNode) => boolean;
  /** The value; `undefined` where something is wrong, which the node has been told then. */
  readonly read: (node: ConfigNode) => T | undefined;
  readonly json: JsonSchema;
}

interface Optional<T> {
  readonly optional: Schema<T>;
}

type Fields = Readonly<Record<string, Schema<unknown> | Optional<unknown>>>;

type ObjectOf<F extends Fields> = {
  readonly [K in keyof F as F[K] extends Schema<unknown> ? K : never]: F[K] extends Schema<infer T> ? T : never;
} & {
  readonly [K in keyof F as F[K] extends Optional<unknown> ? K : never]?: F[K] extends Optional<infer T> ? T : never;
};

export function optional<T>(schema: Schema<T>): Optional<T> {
  return { optional: schema };
}

/** The same with a sentence for whoever writes the file. */
export function described<T>(schema: Schema<T>, description: string): Schema<T> {
  return { ...schema, json: { description, ...schema.json } };
}

/** A mapping with these keys and no others. */
export function object<const F extends Fields>(fields: F): Schema<ObjectOf<F>> {
  const names = Object.keys(fields);
  const schemas = new Map(
    Object.entries(fields).map(([name, field]) => [name, 'optional' in field ? field.optional : field]),
  );
  const required = Object.entries(fields).flatMap(([name, field]) => ('optional' in field ? [] : [name]));
  return {
    what: 'a mapping',
    fits: (node) => node.kind === 'map',
    read: (node) => {
      if (!isOf(node, 'map', 'a mapping')) return undefined;
      const values = new Map<string, unknown>();
      let whole = true;
      for (const { key, name, value } of node.entries()) {
        const schema = schemas.get(name);
        if (schema === undefined) {
          key.problem(unknown(name, names));
          whole = false;
          continue;
        }
        const read = schema.read(value);
        if (read === undefined) whole = false;
        values.set(name, read);
      }
      for (const name of required.filter((each) => !values.has(each))) {
        node.problem(`${name} is missing; it is ${schemas.get(name)?.what ?? 'needed'}`);
        whole = false;
      }
      return whole ? (Object.fromEntries(values) as ObjectOf<F>) : undefined;
    },
    json: {
      type: 'object',
      properties: Object.fromEntries([...schemas].map(([name, { json }]) => [name, json])),
      ...(required.length === 0 ? {} : { required }),
      additionalProperties: false,
    },
  };
}

function unknown(name: string, names: readonly string[]): string {
  const meant = closest(name, names);
  return meant === undefined
    ? `there is no setting ${show(name)} here; there are ${names.join(', ')}`
    : `there is no setting ${show(name)} here; did you mean ${meant}?`;
}

/** A mapping whose keys are values too. */
export function map<T>(keys: Schema<string>, values: Schema<T>, limit: number): Schema<ReadonlyMap<string, T>> {
  return {
    what: `a mapping of ${keys.what}`,
    fits: (node) => node.kind === 'map',
    read: (node) => {
      if (!isOf(node, 'map', 'a mapping')) return undefined;
      const entries = node.entries();
      if (!isWithin(node, entries.length, 0, limit)) return undefined;
      const read = new Map<string, T>();
      let whole = true;
      for (const { key, value } of entries) {
        const name = keys.read(key);
        const one = values.read(value);
        if (name === undefined || one === undefined) whole = false;
        else read.set(name, one);
      }
      return whole ? read : undefined;
    },
    json: { type: 'object', propertyNames: keys.json, additionalProperties: values.json, maxProperties: limit },
  };
}

/** A list of `min` to `max` elements. */
export function list<T>(
  what: string,
  element: Schema<T>,
  { min, max }: { readonly min: number; readonly max: number },
): Schema<readonly T[]> {
  return {
    what: `a list of ${what}`,
    fits: (node) => node.kind === 'list',
    read: (node) => {
      if (!isOf(node, 'list', `a list of ${what}`)) return undefined;
      const items = node.items();
      if (!isWithin(node, items.length, min, max)) return undefined;
      const values = items.map((item) => element.read(item));
      return values.includes(undefined) ? undefined : (values as T[]);
    },
    json: { type: 'array', items: element.json, minItems: min, maxItems: max },
  };
}

/** The same with a check of the whole value, which JSON Schema does not express. */
export function checked<T>(schema: Schema<T>, problem: (value: T) => string | undefined): Schema<T> {
  return {
    ...schema,
    read: (node) => {
      const value = schema.read(node);
      const found = value === undefined ? undefined : problem(value);
      if (found === undefined) return value;
      node.problem(found);
      return undefined;
    },
  };
}

export interface TextOptions<T> {
  /** Makes the value, and throws a `Failure` that says what is wrong with the text. */
  readonly parse: (text: string) => T;
  /** What an editor can check: a part of what `parse` does. */
  readonly json?: JsonSchema;
  /** The text often looks like a number, as tags do: an editor takes both. */
  readonly looksNumeric?: boolean;
}

export function text<T>(what: string, options: TextOptions<T>): Schema<T> {
  return {
    what,
    fits: (node) => node.kind === 'text',
    read: (node) => {
      if (!isOf(node, 'text', what)) return undefined;
      if (node.text === '') {
        node.problem(`is empty; it must be ${what}`);
        return undefined;
      }
      try {
        return options.parse(node.text);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        node.problem(`${show(node.text)}: ${error.detail}`);
        return undefined;
      }
    },
    json: { type: options.looksNumeric === true ? ['string', 'number'] : 'string', ...options.json },
  };
}

export function integer(min: number, max: number): Schema<number> {
  const what = `a whole number from ${min} to ${max}`;
  return {
    what,
    fits: (node) => node.kind === 'text',
    read: (node) => {
      const value = Number(node.text);
      if (/^\d{1,15}$/.test(node.text) && value >= min && value <= max) return value;
      node.problem(`must be ${what}, not ${node.describe()}`);
      return undefined;
    },
    json: { type: 'integer', minimum: min, maximum: max },
  };
}

const UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['k', 1e3],
  ['M', 1e6],
  ['G', 1e9],
  ['T', 1e12],
  ['Ki', 2 ** 10],
  ['Mi', 2 ** 20],
  ['Gi', 2 ** 30],
  ['Ti', 2 ** 40],
]);

/** A number of bytes: a whole number, or one with a unit such as 20GB or 512MiB. */
export function bytes(): Schema<number> {
  const what = 'a number of bytes, such as 20GB or 512MiB';
  return {
    what,
    fits: (node) => node.kind === 'text',
    read: (node) => {
      const [, number = '', unit = ''] = /^(\d{1,15}) ?(?:([kMGT]i?)?B)?$/.exec(node.text) ?? [];
      const value = number === '' ? 0 : Number(number) * (UNITS.get(unit) ?? 1);
      if (value > 0 && Number.isSafeInteger(value)) return value;
      node.problem(`must be ${what}, not ${node.describe()}`);
      return undefined;
    },
    json: { type: ['string', 'integer'], pattern: '^\\d{1,15} ?(?:(?:[kMGT]i?)?B)?$', minimum: 1 },
  };
}

export function flag(): Schema<boolean> {
  return {
    what: 'true or false',
    fits: (node) => node.kind === 'text',
    read: (node) => {
      if (node.isPlain && (node.text === 'true' || node.text === 'false')) return node.text === 'true';
      node.problem(`must be true or false, not ${node.describe()}`);
      return undefined;
    },
    json: { type: 'boolean' },
  };
}

/** This value and no other. Scalars are texts, so a number may have quotes; with quotes, `true` and `false` are words. */
export function literal<const T extends string | number | boolean>(value: T): Schema<T> {
  const fits = (node: ConfigNode): boolean =>
    node.kind === 'text' && node.text === String(value) && (typeof value !== 'boolean' || node.isPlain);
  return {
    what: String(value),
    fits,
    read: (node) => {
      if (fits(node)) return value;
      node.problem(`must be ${value}, not ${node.describe()}`);
      return undefined;
    },
    json: { const: value },
  };
}

/** One of several forms. */
export function either<const S extends readonly Schema<unknown>[]>(
  ...schemas: S
): Schema<S[number] extends Schema<infer T> ? T : never> {
  const what = schemas.map((schema) => schema.what).join(', or ');
  return {
    what,
    fits: (node) => schemas.some((schema) => schema.fits(node)),
    read: (node) => {
      const schema = schemas.find(({ fits }) => fits(node));
      if (schema === undefined) {
        node.problem(`must be ${what}, not ${node.describe()}`);
        return undefined;
      }
      return schema.read(node) as (S[number] extends Schema<infer T> ? T : never) | undefined;
    },
    json: { anyOf: schemas.map(({ json }) => json) },
  };
}

/** A value with where it stands, for checks that look at several of them. */
export interface Located<T> {
  readonly value: T;
  readonly node: ConfigNode;
}

export function located<T>(schema: Schema<T>): Schema<Located<T>> {
  return {
    ...schema,
    read: (node) => {
      const value = schema.read(node);
      return value === undefined ? undefined : { value, node };
    },
  };
}

function isOf(node: ConfigNode, kind: ConfigNode['kind'], what: string): boolean {
  if (node.kind === kind) return true;
  node.problem(`must be ${what}, not ${node.describe()}`);
  return false;
}

function isWithin(node: ConfigNode, count: number, min: number, max: number): boolean {
  if (count >= min && count <= max) return true;
  node.problem(count < min ? 'must not be empty' : `has ${count} entries, and ${max} is the limit`);
  return false;
}
