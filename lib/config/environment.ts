import * as z from 'zod/mini';
import { invalid } from '../core/failure.ts';
import { own } from '../core/own.ts';
import { show } from '../oci/show.ts';

/** The place of the configuration: an object in S3, or a file, relative to the function's own folder. */
export type ConfigLocation =
  | { readonly kind: 's3'; readonly bucket: string; readonly key: string }
  | { readonly kind: 'file'; readonly path: string };

/** The default number of connections to a registry, and of its lanes. */
const LANES = 4;

/** The default number of deliveries of a message; the template sets the same. */
const MAX_RECEIVES = 5;

/**
 * The variables of the functions, by their names in the code. The message of each schema completes the sentence "the
 * variable must be …".
 */
const VARIABLES = {
  archive: variable('MIRROR_SYNC_ARCHIVE', text(/^s3:\/\/[^/]+/, 'the archive, as s3://bucket or s3://bucket/prefix')),
  config: variable('MIRROR_SYNC_CONFIG', configLocation()),
  resolveQueue: variable('MIRROR_SYNC_RESOLVE_QUEUE_URL', queueUrl()),
  layerQueue: variable('MIRROR_SYNC_LAYER_QUEUE_URL', queueUrl()),
  finalizeQueue: variable('MIRROR_SYNC_FINALIZE_QUEUE_URL', queueUrl()),
  lanes: variable(
    'MIRROR_SYNC_LANES',
    z._default(
      integer(1, 64, 'the number of layers of one registry that are fetched concurrently, from 1 to 64'),
      LANES,
    ),
  ),
  maxReceives: variable(
    'MIRROR_SYNC_MAX_RECEIVES',
    z._default(integer(1, 1_000, 'the maxReceiveCount of the function’s queue, from 1 to 1000'), MAX_RECEIVES),
  ),
  credentialsSecret: variable(
    'MIRROR_SYNC_CREDENTIALS_SECRET',
    z.optional(secretArn('the ARN of the secret that holds a Docker config.json')),
    'hidden',
  ),
  webhookSecrets: variable(
    'MIRROR_SYNC_WEBHOOK_SECRET',
    secretArn('the ARN of the secret that holds the webhooks’ secrets'),
    'hidden',
  ),
  registryTokens: variable(
    'MIRROR_SYNC_REGISTRY_TOKENS_SECRET',
    text(
      /^public$|^arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:[\w/+=.@-]+$/,
      'the ARN of the secret that holds the hashes of tokens, or public, which lets everyone pull',
    ),
    'hidden',
  ),
  registryDefaultHost: variable(
    'MIRROR_SYNC_REGISTRY_DEFAULT_HOST',
    z.optional(text(/^[a-z0-9.-]+(:\d+)?$/, 'the registry of names without one, such as docker.io')),
  ),
  registryFill: variable(
    'MIRROR_SYNC_REGISTRY_FILL',
    z._default(text(/^(?:on|off)$/, 'on, which mirrors images that clients miss, or off'), 'off'),
  ),
  attestKey: variable(
    'MIRROR_SYNC_ATTEST_KEY',
    z.optional(
      text(
        /^arn:[\w-]+:(?:kms:[\w-]+:\d{12}:key\/[\w-]+|secretsmanager:[\w-]+:\d{12}:secret:[\w/+=.@-]+)$/,
        'the ARN of a KMS key, or of a secret that holds a private key in PEM',
      ),
    ),
    'hidden',
  ),
  runWebhook: variable(
    'MIRROR_SYNC_RUN_WEBHOOK',
    z.optional(text(/^https:\/\/./, 'the URL that gets the summary of each run, as https://…')),
    'hidden',
  ),
  runWebhookSecret: variable(
    'MIRROR_SYNC_RUN_WEBHOOK_SECRET',
    z.optional(secretArn('the ARN of the secret that signs the summaries of runs')),
    'hidden',
  ),
  eventBus: variable('MIRROR_SYNC_EVENT_BUS', z.optional(text(/^[\w.:/-]{1,512}$/, 'the name or ARN of an event bus'))),
};

type Variables = typeof VARIABLES;

/** The values of the variables. */
export type Environment = { readonly [K in keyof Variables]: z.output<Variables[K]['schema']> };

/**
 * Reads the variables that a function needs, and no others, since each function is given only those that it uses.
 *
 * @throws {Failure} `invalid`, naming every variable that is missing or wrong, and its expected value
 */
export function readEnvironment<K extends keyof Environment>(
  env: Readonly<Record<string, string | undefined>>,
  ...wanted: readonly K[]
): Pick<Environment, K> {
  const problems: string[] = [];
  const values: Partial<Record<keyof Environment, unknown>> = {};
  for (const each of wanted) {
    const { name, schema, shown } = VARIABLES[each];
    // A template passes an empty text for a parameter that the user leaves out.
    const given = own(env, name)?.trim() || undefined;
    const { data, error } = z.safeParse(schema, given);
    const what = error?.issues[0]?.message;
    if (what === undefined) values[each] = data;
    else if (given === undefined) problems.push(`${name} is not set; set it to ${what}`);
    else problems.push(`${name} ${shown === 'hidden' ? '' : `is ${show(given)}; it `}must be ${what}`);
  }
  if (problems.length > 0) throw invalid('read environment', problems.join('; '));
  return values as Pick<Environment, K>;
}

interface Variable<S extends z.ZodMiniType> {
  readonly name: string;
  readonly schema: S;
  readonly shown: 'shown' | 'hidden';
}

/** @param shown `hidden` if a user may set the variable to a secret by mistake, so that no error shows the value */
function variable<S extends z.ZodMiniType>(
  name: string,
  schema: S,
  shown: Variable<S>['shown'] = 'shown',
): Variable<S> {
  return { name, schema, shown };
}

function text(pattern: RegExp, what: string): z.ZodMiniType<string, string> {
  return z.string(what).check(z.regex(pattern, what));
}

function integer(min: number, max: number, what: string): z.ZodMiniType<number, string> {
  const digits = text(/^\d{1,4}$/, what).check(z.refine((given) => Number(given) >= min && Number(given) <= max, what));
  return z.pipe(digits, z.transform(Number));
}

function queueUrl(): z.ZodMiniType<string, string> {
  const what = 'the URL of an SQS FIFO queue, as https://sqs.….amazonaws.com/…/….fifo';
  return text(/^https?:\/\/.*\.fifo$/, what).check(z.refine((url) => URL.canParse(url), what));
}

function secretArn(what: string): z.ZodMiniType<string, string> {
  return text(/^arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:[\w/+=.@-]+$/, what);
}

function configLocation(): z.ZodMiniType<ConfigLocation, string> {
  const what = 'the place of the configuration, as s3://bucket/config/mirror.yaml or the name of a bundled file';
  // A bundled file must be inside its bundle.
  const location = text(/^s3:\/\/[^/]+\/.|^(?!\/|.*:\/\/|(?:.*\/)?\.\.(?:\/|$))/, what);
  return z.pipe(
    location,
    z.transform((place): ConfigLocation => {
      const [, bucket, key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(place) ?? [];
      return bucket === undefined || key === undefined ? { kind: 'file', path: place } : { kind: 's3', bucket, key };
    }),
  );
}
