/**
 * The schemas of settings. Each one validates the value of a YAML document, and describes it in the JSON Schema for
 * editors. All scalars of the document are texts, so a number may have quotes.
 */
import * as z from 'zod/mini';
import { Failure } from '../core/failure.ts';
import { show } from '../oci/show.ts';

/** JSON Schema, draft 7, which the YAML plug-ins of editors know. */
type JsonSchema = Readonly<Record<string, unknown>>;

/** The input of every scalar. */
const ANYTHING = z.unknown();

type Fields = Readonly<Record<string, z.ZodMiniType>>;

/** A setting that may be missing, with a description for editors. */
export function setting<S extends z.ZodMiniType>(schema: S, description: string): z.ZodMiniExactOptional<S> {
  return described(z.exactOptional(schema), description);
}

/**
 * Adds a description to a schema that has one use. zod's own method would copy the schema, which costs start-up time.
 */
export function described<S extends z.ZodMiniType>(schema: S, description: string): S {
  return annotated(schema, { description });
}

export function annotated<S extends z.ZodMiniType>(schema: S, json: JsonSchema): S {
  z.globalRegistry.add(schema, { ...z.globalRegistry.get(schema), ...json });
  return schema;
}

/** A mapping with these keys and no others. */
export function mapping<F extends Fields>(fields: F): z.ZodMiniObject<F, z.core.$strict> {
  return z.strictObject(fields, {
    error: ({ code }) => (code === 'unrecognized_keys' ? Object.keys(fields).join(', ') : 'a mapping'),
  });
}

/** A list of `min` to `max` elements. */
export function list<S extends z.ZodMiniType>(
  what: string,
  element: S,
  { min, max }: { readonly min: number; readonly max: number },
): z.ZodMiniArray<S> {
  return z.array(element, `a list of ${what}`).check(z.minLength(min), z.maxLength(max));
}

/**
 * A text that is not empty.
 *
 * @param parse throws a `Failure` with the reason why the text is not accepted
 * @param json the part of it that an editor can check
 */
export function text<T>(what: string, parse: (text: string) => T, json?: JsonSchema): z.ZodMiniType<T> {
  return scalar(what, textWith(parse), { type: 'string', ...json });
}

/** As `text`, for a text that no message shows, since a user may write a secret there by mistake. */
export function hiddenText<T>(what: string, parse: (text: string) => T): z.ZodMiniType<T> {
  return scalar(what, textWith(parse), { type: 'string' }, () => 'this text');
}

function textWith<T>(parse: (text: string) => T): (given: string) => T | undefined {
  return (given) => (given === '' ? undefined : parse(given));
}

export function integer(min: number, max: number): z.ZodMiniType<number> {
  return scalar(
    `a whole number from ${min} to ${max}`,
    (given) => (/^\d{1,15}$/.test(given) && Number(given) >= min && Number(given) <= max ? Number(given) : undefined),
    { type: ['integer', 'string'], pattern: '^\\d{1,15}$', minimum: min, maximum: max },
  );
}

const UNITS: ReadonlyMap<string, number> = new Map([
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
export function bytes(): z.ZodMiniType<number> {
  return scalar(
    'a number of bytes, such as 20GB or 512MiB',
    (given) => {
      const [, number = '', unit = ''] = /^(\d{1,15}) ?(?:(k|Ki|[MGT]i?)?B)?$/.exec(given) ?? [];
      const value = number === '' ? 0 : Number(number) * (UNITS.get(unit) ?? 1);
      return value > 0 && Number.isSafeInteger(value) ? value : undefined;
    },
    { type: ['string', 'integer'], pattern: '^\\d{1,15} ?(?:(?:k|Ki|[MGT]i?)?B)?$', minimum: 1 },
  );
}

const DURATIONS: ReadonlyMap<string, number> = new Map([
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** A duration in minutes, hours or days, of at most 10 years; in milliseconds. */
export function duration(): z.ZodMiniType<number> {
  return scalar(
    'a duration, such as 30m, 12h or 7d',
    (given) => {
      const [, number = '', unit = ''] = /^(\d{1,7})([mhd])$/.exec(given) ?? [];
      const ms = Number(number) * (DURATIONS.get(unit) ?? 0);
      return number !== '' && ms <= 3_653 * 86_400_000 ? ms : undefined;
    },
    { type: 'string', pattern: '^\\d{1,7}[mhd]$' },
  );
}

/** This number and no other. */
export function number<const N extends number>(value: N): z.ZodMiniType<N> {
  return scalar(String(value), (given) => (given === String(value) ? value : undefined), {
    enum: [value, String(value)],
  });
}

/** A scalar, read by its text. `read` returns nothing where the text is of another form, or throws a `Failure`. */
function scalar<T>(
  what: string,
  read: (text: string) => T | undefined,
  json: JsonSchema,
  shown: (input: unknown) => string = show,
): z.ZodMiniType<T> {
  const transform = z.transform((input: unknown, { issues }): T => {
    try {
      const value = typeof input === 'string' || typeof input === 'boolean' ? read(String(input)) : undefined;
      if (value !== undefined) return value;
      issues.push({ code: 'invalid_type', expected: 'custom', message: what, input });
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      issues.push({ code: 'custom', message: `${shown(input)}: ${error.detail}`, input });
    }
    return z.NEVER;
  });
  return annotated(z.pipe(ANYTHING, transform), json);
}
