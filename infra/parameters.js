/** The parameters of serverless.yml and their valid values. */
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
/** The ARN of a resource, which must be in the deployment's region if the ARN has a region. */
const arn = (service, resource, expected) => {
  const pattern = new RegExp(`^arn:aws(?:-[a-z]+)*:${service}:([a-z0-9-]+):\\d{12}:${resource}$`);
  return { expected, fits: (text) => pattern.test(text), regionOf: (text) => pattern.exec(text)?.[1] };
};

// "Bucket naming rules" of the Amazon S3 user guide.
const BUCKET = matching(
  /^(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/,
  'the name of a bucket, without s3:// and without a slash',
);

const ATTEST_KEYS = [arn('kms', 'key/[\\w-]+', ''), arn('secretsmanager', 'secret:[\\w/+=.@-]+-[A-Za-z0-9]{6}', '')];

/** @type {Record<string, { expected: string, fits: (text: string) => boolean, regionOf?: (text: string) => string | undefined, empty?: string }>} */
export const PARAMETERS = {
  bucket: optional(BUCKET),
  existingBucket: optional(BUCKET),
  bucketOwner: optional(matching(/^\d{12}$/, 'the 12 digits of an account')),
  prefix: optional(matching(/^([A-Za-z0-9._-]+\/)+$/, 'a path that ends with a slash, such as mirror/')),
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
    expected:
      'the ARN of a KMS key (arn:aws:kms:…:key/…), or the complete ARN of a secret, including its last six characters',
    fits: (text) => ATTEST_KEYS.some(({ fits }) => fits(text)),
    regionOf: (text) => ATTEST_KEYS.map(({ regionOf }) => regionOf(text)).find((region) => region !== undefined),
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
  registryDefaultHost: optional(matching(/^[a-z0-9.-]+(:\d+)?$/, 'the host of a registry, such as docker.io')),
  registryFill: choice('on', 'off'),
  registryConcurrency: orOff(number(1, 1000)),
  registryMemory: number(128, 10_240),
  registryVpc: optional(matching(/^vpc-[0-9a-f]+$/, 'the id of a VPC')),
  registrySubnets: optional(
    matching(/^subnet-[0-9a-f]+(,subnet-[0-9a-f]+)+$/, 'the ids of two or more subnets, separated by commas'),
  ),
  registryCertificate: optional(arn('acm', 'certificate/[\\w-]+', 'the ARN of a certificate in ACM')),
  registryDomain: optional(matching(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/, 'a domain name in lower case')),
  registryScheme: choice('internal', 'internet-facing'),
  registryClients: matching(
    /^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}(,\d{1,3}(\.\d{1,3}){3}\/\d{1,2})*$/,
    'ranges of IPv4 addresses, separated by commas, such as 10.0.0.0/8',
  ),
  // A FIFO topic is not a target of EventBridge without a group of its own.
  runTopic: optional(arn('sns', '[\\w-]{1,256}', 'the ARN of an SNS topic (standard, not FIFO)')),
  runWebhook: optional(matching(/^https:\/\/[^\s/]+(\/\S*)?$/, 'a URL that begins with https://')),
  eventBus: matching(/^(?!aws\.)[\w./-]{1,256}$/, 'the name of an event bus in this account and region (not an ARN)'),

  lanes: number(1, 64),
  // ScalingConfig of AWS::Lambda::EventSourceMapping.
  resolverConcurrency: number(2, 1000),
  layerConcurrency: number(2, 1000),
  finalizerConcurrency: number(2, 1000),
  // With 1 delivery, a single interruption would end a message. The maximum of SQS is 1,000.
  maxReceives: number(2, 1000),

  resolverMemory: number(128, 10_240),
  layerMemory: number(128, 10_240),
  finalizerMemory: number(128, 10_240),
  resolverTimeout: number(1, 900),
  layerTimeout: number(1, 900),
  finalizerTimeout: number(1, 900),

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
  const values = {};
  for (const [name, { expected, fits, regionOf, empty }] of Object.entries(PARAMETERS)) {
    const value = String(await resolveVariable(`param:${name}`));
    const elsewhere = value === '' ? undefined : regionOf?.(value);
    if (!fits(value)) problems.push(`${name}: expected ${expected}, got '${value}'`);
    else if (elsewhere !== undefined && elsewhere !== region)
      problems.push(`${name}: expected the region ${region}, which is deployed to, got '${value}'`);
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
