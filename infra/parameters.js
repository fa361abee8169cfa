/** The parameters of serverless.yml and their valid values. */
import { isIPv4 } from 'node:net';
import { isSchedule } from './schedule-expression.js';

/** The retention periods of CloudWatch Logs, in days (PutRetentionPolicy). */
const RETENTION = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

const number = (min, max) => ({
  expected: `a whole number from ${min} to ${max}`,
  fits: (text) => /^\d+$/.test(text) && Number(text) >= min && Number(text) <= max,
});
const choice = (...choices) => ({ expected: `one of ${choices.join(', ')}`, fits: (text) => choices.includes(text) });
const matching = (pattern, expected) => ({ expected, fits: (text) => pattern.test(text) });
const optional = ({ expected, fits, ...rest }) => ({
  ...rest,
  expected: `${expected}, or nothing`,
  fits: (text) => text === '' || fits(text),
});
/** Accepts `off` as the empty value, because osls accepts no empty value on the command line. */
const orOff = ({ expected, fits }) => ({
  expected: `${expected}, or off`,
  fits: (text) => text === '' || text === 'off' || fits(text),
  empty: 'off',
});
/** At least `min` different values, separated by commas. */
const list = (fits, expected, min = 1) => ({
  expected,
  fits: (text) => {
    const items = text.split(',');
    return items.length >= min && new Set(items).size === items.length && items.every(fits);
  },
});
/** The ARN of a resource. `readParameters` compares the partition and the region of each ARN with the deployment's. */
const arn = (service, resource, expected) =>
  matching(new RegExp(`^arn:aws(?:-[a-z]+)*:${service}:[a-z0-9-]+:\\d{12}:${resource}$`), expected);

// "Bucket naming rules" of the Amazon S3 user guide. The endings are those of access points and of buckets of other kinds, whose ARNs
// and permissions differ.
const BUCKET = matching(
  /^(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)(?!.*(-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/,
  'the name of a general purpose bucket (not of an access point), without s3:// and without a slash',
);

/** AWS keeps these for itself. */
const RESERVED = /^(xn--|sthree-|amzn-s3-demo-)/;

/** A part of a domain name. */
const LABEL = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
const HOST = new RegExp(`^${LABEL}(\\.${LABEL})*(:\\d{1,5})?$`);

const ATTEST_KEYS = [arn('kms', 'key/[\\w-]+', ''), arn('secretsmanager', 'secret:[\\w/+=.@-]+-[A-Za-z0-9]{6}', '')];

/** The variables of a function have at most 4 KB. */
const MAX_URL = 2048;

/**
 * @type {Record<string, {
 *   expected: string,
 *   fits: (text: string) => boolean,
 *   empty?: string,
 *   isSecret?: boolean,
 *   isElsewhere?: (text: string) => boolean,
 * }>}
 */
export const PARAMETERS = {
  bucket: optional({ ...BUCKET, fits: (text) => BUCKET.fits(text) && !RESERVED.test(text) }),
  existingBucket: optional(BUCKET),
  bucketOwner: optional(matching(/^\d{12}$/, 'the 12 digits of an account')),
  // The URL of an archive has no component `.` or `..`, and S3 limits a key to 1,024 bytes.
  prefix: optional(
    matching(
      /^(?!.{301})((?!\.\.?\/)[A-Za-z0-9._-]+\/)+$/,
      'a path of at most 300 characters that ends with a slash, such as mirror/',
    ),
  ),
  blobStorage: choice('STANDARD', 'INTELLIGENT_TIERING'),
  oldVersionDays: number(0, 3650),
  unfinishedUploadDays: number(1, 3650),
  runReportDays: number(1, 3650),

  config: choice('bucket', 'bundled'),
  // The roles contain this ARN, and AWS compares it with the complete one, which has a suffix of six random characters.
  credentialsSecret: optional(
    arn(
      'secretsmanager',
      'secret:[\\w/+=.@-]+-[A-Za-z0-9]{6}',
      'the complete ARN of a secret, including its last six characters',
    ),
  ),
  deleteSecrets: choice('off', 'on'),
  ecrPull: choice('on', 'off'),
  // The roles need a key, and an alias can change to another key.
  kmsKey: optional(arn('kms', 'key/[\\w-]+', 'the ARN of a KMS key (arn:aws:kms:…:key/…, not an alias)')),
  attestKey: optional({
    isElsewhere: (text) => text.includes(':kms:'),
    expected:
      'the ARN of a KMS key (arn:aws:kms:…:key/…), or the complete ARN of a secret, including its last six characters',
    fits: (text) => ATTEST_KEYS.some(({ fits }) => fits(text)),
  }),
  permissionsBoundary: optional(
    matching(/^arn:aws(-[a-z]+)*:iam::(\d{12}|aws):policy\/[\w+=,.@/-]+$/, 'the ARN of an IAM policy'),
  ),

  schedule: {
    expected: 'rate(6 hours), cron(0 3 * * ? *) or at(2026-01-31T03:00:00)',
    fits: isSchedule,
  },
  timezone: { expected: 'a time zone, such as Europe/Berlin', fits: isTimezone },
  scheduleState: choice('ENABLED', 'DISABLED'),
  webhooks: choice('on', 'off'),
  webhookConcurrency: orOff(number(1, 1000)),
  registry: choice('off', 'on', 'alb'),
  registryAccess: choice('tokens', 'public'),
  registryDefaultHost: optional({ expected: 'the host of a registry, such as docker.io', fits: isRegistryHost }),
  registryFill: choice('on', 'off'),
  registryConcurrency: orOff(number(1, 1000)),
  registryMemory: number(256, 10_240),
  registryVpc: optional(matching(/^vpc-([0-9a-f]{8}|[0-9a-f]{17})$/, 'the id of a VPC')),
  registrySubnets: optional(
    list(
      (text) => /^subnet-([0-9a-f]{8}|[0-9a-f]{17})$/.test(text),
      'the ids of two or more different subnets, separated by commas',
      2,
    ),
  ),
  registryCertificate: optional(arn('acm', 'certificate/[\\w-]+', 'the ARN of a certificate in ACM')),
  // The host condition of a listener's rule has at most 128 characters.
  registryDomain: optional(
    matching(
      new RegExp(`^(?!.{129})(?!.*\\.\\d+$)${LABEL}(\\.${LABEL})+$`),
      'a domain name of at most 128 characters in lower case',
    ),
  ),
  registryScheme: choice('internal', 'internet-facing'),
  registryClients: list(isRange, 'different ranges of IPv4 addresses, separated by commas, such as 10.0.0.0/8'),
  // A FIFO topic is not a target of EventBridge without a group of its own.
  runTopic: optional(arn('sns', '[\\w-]{1,256}', 'the ARN of an SNS topic (standard, not FIFO)')),
  runWebhook: optional({
    expected: `a valid URL of at most ${MAX_URL} characters that begins with https:// and has no user name`,
    fits: isReceiver,
    isSecret: true,
  }),
  eventBus: matching(/^(?!aws\.)[\w./-]{1,256}$/, 'the name of an event bus in this account and region (not an ARN)'),

  lanes: number(1, 64),
  // ScalingConfig of AWS::Lambda::EventSourceMapping.
  resolverConcurrency: number(2, 1000),
  layerConcurrency: number(2, 1000),
  finalizerConcurrency: number(2, 1000),
  // With 1 delivery, a single interruption would end a message. The maximum of SQS is 1,000.
  maxReceives: number(2, 1000),

  // With less memory, Node.js and the buffers of a layer do not fit; with less time, the work ends before it has begun.
  resolverMemory: number(256, 10_240),
  layerMemory: number(512, 10_240),
  finalizerMemory: number(256, 10_240),
  resolverTimeout: number(30, 900),
  layerTimeout: number(30, 900),
  finalizerTimeout: number(30, 900),

  // CloudWatch does not support FIFO topics.
  alarmTopic: optional(arn('sns', '[\\w-]{1,256}', 'the ARN of an SNS topic (standard, not FIFO)')),
  oldestMessageSeconds: number(60, 1_209_600),
  errorsIn15Minutes: number(1, 1_000_000),
  imagesFailed: number(1, 1_000_000),
  messagesFailedIn15Minutes: number(1, 1_000_000),
  heartbeatHours: optional(number(0, 168)),
  lambdaGbSecondsPerDay: orOff(number(1, 1_000_000_000)),
  sqsRequestsPerDay: orOff(number(1, 1_000_000_000)),
  logRetention: {
    expected: `one of ${RETENTION.join(', ')} (days)`,
    fits: (text) => RETENTION.map(String).includes(text),
  },
  logLevel: choice('DEBUG', 'INFO', 'WARN', 'ERROR'),
};

/** The partitions of regions outside `aws`, which begin the ARNs of their resources. */
const PARTITIONS = [
  [/^us-gov-/, 'aws-us-gov'],
  [/^cn-/, 'aws-cn'],
  [/^us-iso-/, 'aws-iso'],
  [/^us-isob-/, 'aws-iso-b'],
  [/^us-isof-/, 'aws-iso-f'],
  [/^eu-isoe-/, 'aws-iso-e'],
  [/^eusc-/, 'aws-eusc'],
];

/** The name of a function has at most 64 characters; the longest is `mirror-sync-STAGE-dead-letters`. */
const STAGE = matching(/^[A-Za-z0-9-]{1,39}$/, 'at most 39 letters, digits and hyphens');

/** Parameters that exclude or require each other. */
const TOGETHER = [
  {
    holds: ({ bucket, existingBucket }) => bucket === '' || existingBucket === '',
    problem: 'bucket and existingBucket: expected at most one of them (a bucket is either created or exists)',
  },
  {
    holds: ({ bucketOwner, existingBucket }) => bucketOwner === '' || existingBucket !== '',
    problem: 'bucketOwner: expected existingBucket beside it (a bucket that is created belongs to this account)',
  },
  {
    holds: ({ registry, registryVpc, registrySubnets, registryCertificate, registryDomain }) =>
      registry !== 'alb' || ![registryVpc, registrySubnets, registryCertificate, registryDomain].includes(''),
    problem:
      'registry: alb needs registryVpc, registrySubnets, registryCertificate and registryDomain (a load balancer is in a VPC, and speaks TLS)',
  },
];

/**
 * Reads all parameters, and reports all problems at once before anything is deployed.
 *
 * @param {Osls} osls the argument that osls passes to a function in a variable
 * @returns {Promise<Record<string, string>>}
 *
 * @typedef {{
 *   options?: { param?: readonly string[] },
 *   resolveVariable: (variable: string) => Promise<unknown>,
 *   resolveConfigurationProperty: (path: readonly string[]) => Promise<unknown>,
 * }} Osls
 */
export async function readParameters({ options = {}, resolveVariable, resolveConfigurationProperty }) {
  const problems = await unknownNames(options, await resolveConfigurationProperty(['params']));
  const region = String(await resolveVariable('self:provider.region'));
  const stage = String(await resolveVariable('sls:stage'));
  if (!STAGE.fits(stage)) problems.push(`stage: expected ${STAGE.expected}, got '${stage}'`);
  const values = {};
  for (const [name, { expected, fits, empty, isSecret, isElsewhere }] of Object.entries(PARAMETERS)) {
    const value = String(await resolveVariable(`param:${name}`));
    const given = isSecret ? 'another value, which may contain a secret' : `'${value}'`;
    if (fits(value))
      problems.push(
        ...elsewhere(value, region, isElsewhere?.(value)).map((place) => `${name}: expected ${place}, got ${given}`),
      );
    else problems.push(`${name}: expected ${expected}, got ${given}`);
    values[name] = value === empty ? '' : value;
  }
  problems.push(...TOGETHER.filter(({ holds }) => !holds(values)).map(({ problem }) => problem));
  if (problems.length > 0) throw plain(problems.map((problem) => `read parameter ${problem}`).join('\n'));
  return values;
}

/** Reports unknown names on the command line and in `params`, which osls would ignore. */
async function unknownNames({ param }, sections) {
  const known = Object.keys(PARAMETERS);
  const given = new Set([
    ...(param ?? []).map((each) => each.split('=', 1)[0]),
    ...Object.values(sections ?? {}).flatMap((section) => Object.keys(section ?? {})),
  ]);
  const unknown = [...given].filter((name) => !known.includes(name));
  if (unknown.length === 0) return [];
  const { closest } = await import('../lib/core/suggest.ts');
  return unknown.map((name) => {
    const meant = closest(name, known);
    const remedy = meant === undefined ? `available: ${known.join(', ')}` : `did you mean ${meant}?`;
    return `${name}: unknown parameter; ${remedy}`;
  });
}

/** The place where the resource of an ARN would have to be; `isElsewhere` if it may be in another region. */
function elsewhere(value, region, isElsewhere = false) {
  const [, partition, where] = /^arn:([^:]+):[^:]+:([^:]*):/.exec(value) ?? [];
  if (partition === undefined) return [];
  const [, own = 'aws'] = PARTITIONS.find(([regions]) => regions.test(region)) ?? [];
  if (partition !== own) return [`the partition ${own} of ${region}, which is deployed to`];
  return where === '' || where === region || isElsewhere ? [] : [`the region ${region}, which is deployed to`];
}

function isRange(text) {
  const [address, length, ...rest] = text.split('/');
  return isIPv4(address) && /^([12]?\d|3[0-2])$/.test(length ?? '') && rest.length === 0;
}

function isRegistryHost(text) {
  const [, port = '443'] = text.split(':');
  return HOST.test(text) && Number(port) >= 1 && Number(port) <= 65_535;
}

function isReceiver(text) {
  if (text.length > MAX_URL || !/^https:\/\/[^\s/]+(\/\S*)?$/.test(text) || !URL.canParse(text)) return false;
  const { username, password } = new URL(text);
  return username === '' && password === '';
}

function isTimezone(text) {
  // Node.js also accepts offsets and other capitals; Scheduler accepts only the names of the time zone database.
  if (!/^[A-Z][\w+-]*(\/[A-Z][\w+-]*)*$/.test(text)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: text });
    return true;
  } catch {
    return false;
  }
}

/** An error without a stack, because osls would print the stack instead of the message. */
export function plain(message) {
  return Object.assign(new Error(message), { stack: message });
}
