import { invalid } from '../core/failure.ts';
import { own } from '../core/own.ts';
import { show } from '../oci/show.ts';

/** One environment variable: how it is read, and what to do where it cannot be. */
interface Variable<T> {
  readonly name: string;
  /** What it is, with an example, for whoever has to set it. */
  readonly what: string;
  /** The value; `undefined` where the text is none. */
  readonly parse: (text: string) => T | undefined;
  /** The value where it is not set; a variable without it is required. */
  readonly otherwise?: T | undefined;
  readonly isOptional: boolean;
}

/** Where the configuration is: an object in S3, or a file, relative to the function's own folder. */
export type ConfigLocation =
  | { readonly kind: 's3'; readonly bucket: string; readonly key: string }
  | { readonly kind: 'file'; readonly path: string };

/** Connections to a registry, and lanes of it, where neither the environment nor the configuration says how many. */
const LANES = 4;

/** Deliveries of a message; what the template sets unless told. */
const MAX_RECEIVES = 5;

/** What the functions can be told, by the name that the code has for it. */
const VARIABLES = {
  archive: required('MIRROR_SYNC_ARCHIVE', 'the archive, as s3://bucket or s3://bucket/prefix', (text) =>
    /^s3:\/\/[^/]+/.test(text) ? text : undefined,
  ),
  config: required(
    'MIRROR_SYNC_CONFIG',
    'where the configuration is, as s3://bucket/config/mirror.yaml or the name of a bundled file',
    parseLocation,
  ),
  resolveQueue: queue('MIRROR_SYNC_RESOLVE_QUEUE_URL'),
  layerQueue: queue('MIRROR_SYNC_LAYER_QUEUE_URL'),
  finalizeQueue: queue('MIRROR_SYNC_FINALIZE_QUEUE_URL'),
  lanes: optionalWith(
    'MIRROR_SYNC_LANES',
    'how many layers of one registry are fetched at once, from 1 to 64',
    LANES,
    wholeNumber(1, 64),
  ),
  maxReceives: optionalWith(
    'MIRROR_SYNC_MAX_RECEIVES',
    'the maxReceiveCount of the function’s queue, from 1 to 1000',
    MAX_RECEIVES,
    wholeNumber(1, 1_000),
  ),
  credentialsSecret: optional(
    'MIRROR_SYNC_CREDENTIALS_SECRET',
    'the ARN of the secret that holds a Docker config.json',
    secretArn,
  ),
  webhookSecrets: required(
    'MIRROR_SYNC_WEBHOOK_SECRET',
    'the ARN of the secret that holds the webhooks’ secrets',
    secretArn,
  ),
  eventBus: optional('MIRROR_SYNC_EVENT_BUS', 'the name or ARN of an event bus', (text) =>
    /^[\w.:/-]{1,512}$/.test(text) ? text : undefined,
  ),
};

type Variables = typeof VARIABLES;

/** What the functions are told. */
export type Environment = {
  readonly [K in keyof Variables]: Variables[K] extends Variable<infer T> ? T : never;
};

/**
 * The variables that a function needs, and no others: each is given only what it uses.
 *
 * @throws {Failure} `invalid`, naming every variable that is missing or wrong, and what it should be
 */
export function readEnvironment<K extends keyof Environment>(
  env: Readonly<Record<string, string | undefined>>,
  ...wanted: readonly K[]
): Pick<Environment, K> {
  const problems: string[] = [];
  const values: Partial<Record<keyof Environment, unknown>> = {};
  for (const each of wanted) {
    const { name, what, parse, otherwise, isOptional }: Variable<unknown> = VARIABLES[each];
    // Templates set what a user leaves out to an empty text.
    const text = own(env, name)?.trim() ?? '';
    if (text === '' && isOptional) values[each] = otherwise;
    else if (text === '') problems.push(`${name} is not set; set it to ${what}`);
    else {
      const value = parse(text);
      if (value === undefined) problems.push(`${name} is ${show(text)}; it must be ${what}`);
      values[each] = value;
    }
  }
  if (problems.length > 0) throw invalid('read environment', problems.join('; '));
  return values as Pick<Environment, K>;
}

function required<T>(name: string, what: string, parse: Variable<T>['parse']): Variable<T> {
  return { name, what, parse, isOptional: false };
}

function optional<T>(name: string, what: string, parse: Variable<T>['parse']): Variable<T | undefined> {
  return { name, what, parse, isOptional: true };
}

function optionalWith<T>(name: string, what: string, otherwise: T, parse: Variable<T>['parse']): Variable<T> {
  return { name, what, parse, otherwise, isOptional: true };
}

function queue(name: string): Variable<string> {
  return required(name, 'the URL of an SQS FIFO queue, as https://sqs.….amazonaws.com/…/….fifo', (text) =>
    URL.canParse(text) && /^https?:\/\/.*\.fifo$/.test(text) ? text : undefined,
  );
}

function wholeNumber(min: number, max: number): (text: string) => number | undefined {
  return (text) => (/^\d{1,4}$/.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : undefined);
}

function secretArn(text: string): string | undefined {
  return /^arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:[\w/+=.@-]+$/.test(text) ? text : undefined;
}

function parseLocation(text: string): ConfigLocation | undefined {
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(text) ?? [];
  if (bucket !== undefined && key !== undefined) return { kind: 's3', bucket, key };
  // A bundled file does not lie outside its bundle.
  const isInside = !/^\/|:\/\/|(^|\/)\.\.(\/|$)/.test(text);
  return isInside ? { kind: 'file', path: text } : undefined;
}
