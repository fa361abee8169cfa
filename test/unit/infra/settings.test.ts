import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

const ROOT = join(import.meta.dirname, '../../..');

type Sections = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

interface Osls {
  readonly options: { readonly param: readonly string[] | null };
  readonly resolveVariable: (name: string) => Promise<unknown>;
  readonly resolveConfigurationProperty: (path: readonly string[]) => Promise<Sections>;
}

interface Settings {
  readonly heartbeat: { readonly period?: number; readonly periods?: number };
  readonly runPeriod: number;
  readonly guard: { readonly droppedSecrets: readonly string[] };
}

const { settings } = (await import(join(ROOT, 'infra/settings.js'))) as {
  settings: (osls: Osls) => Promise<Settings>;
};
const { PARAMETERS } = (await import(join(ROOT, 'infra/parameters.js'))) as { PARAMETERS: object };

const { params } = parse(await readFile(join(ROOT, 'serverless.yml'), 'utf8'), { logLevel: 'silent' }) as {
  params: { default: Readonly<Record<string, unknown>> };
};

interface Place {
  readonly sections: Sections;
  readonly region: string;
  readonly stage: string;
}

/** The settings as osls reads them, with these parameters on the command line. */
function settingsOf(
  given: Readonly<Record<string, string>>,
  { sections = params, region = 'eu-central-1', stage = 'prod' }: Partial<Place> = {},
): Promise<Settings> {
  const values: Record<string, unknown> = { ...params.default, ...given };
  return settings({
    options: { param: Object.entries(given).map(([name, value]) => `${name}=${value}`) },
    resolveVariable: (name) =>
      Promise.resolve(
        { 'self:provider.region': region, 'sls:stage': stage }[name] ?? values[name.replace('param:', '')],
      ),
    resolveConfigurationProperty: () => Promise.resolve(sections),
  });
}

describe('a parameter', () => {
  test('has a pattern, without exception', () => {
    expect(Object.keys(PARAMETERS).toSorted()).toEqual(Object.keys(params.default).toSorted());
  });

  test('has a default that its pattern accepts', async () => {
    await expect(settingsOf({})).resolves.toBeDefined();
  });

  const BUCKET =
    'expected the name of a general purpose bucket (not of an access point), without s3:// and without a slash, or nothing';
  const PREFIX = 'expected a path of at most 300 characters that ends with a slash, such as mirror/, or nothing';
  const SECRET = 'expected the complete ARN of a secret, including its last six characters, or nothing';
  const TOPIC = 'expected the ARN of an SNS topic (standard, not FIFO), or nothing';
  const BUS = 'expected the name of an event bus in this account and region (not an ARN)';
  const SCHEDULE = 'expected rate(6 hours), cron(0 3 * * ? *) or at(2026-01-31T03:00:00)';
  const ZONE = 'expected a time zone, such as Europe/Berlin';
  const ON = 'expected one of on, off';
  const CONCURRENCY = 'expected a whole number from 2 to 1000';
  const SUBNETS = 'expected the ids of two or more different subnets, separated by commas, or nothing';
  const CLIENTS = 'expected different ranges of IPv4 addresses, separated by commas, such as 10.0.0.0/8';
  const TIMEOUT = 'expected a whole number from 30 to 900';
  const KEY = 'expected the ARN of a KMS key (arn:aws:kms:…:key/…, not an alias), or nothing';

  test.for([
    ['bucket', 's3://x', BUCKET],
    ['bucket', 'Upper', BUCKET],
    ['bucket', 'ab', BUCKET],
    ['bucket', '10.0.0.1', BUCKET],
    ['bucket', 'xn--abc', BUCKET],
    ['bucket', 'abc-s3alias', BUCKET],
    ['existingBucket', 's3://x', BUCKET],
    ['existingBucket', 'a-bucket/prefix', BUCKET],
    ['existingBucket', 'arn:aws:s3:::a-bucket', BUCKET],
    ...['mine-abc-s3alias', 'mine--ol-s3', 'mine.mrap', 'mine--euc1-az1--x-s3', 'mine--table-s3'].map(
      (bucket) => ['existingBucket', bucket, BUCKET] as const,
    ),
    ...['mirror', '/mirror/', 'a b/', '../', './', 'a/../b/', 'a/./', `${'a'.repeat(300)}/`].map(
      (prefix) => ['prefix', prefix, PREFIX] as const,
    ),
    ['blobStorage', 'GLACIER', 'expected one of STANDARD, INTELLIGENT_TIERING'],
    ['oldVersionDays', '-1', 'expected a whole number from 0 to 3650'],
    ['unfinishedUploadDays', 'x', 'expected a whole number from 1 to 3650'],
    ['runReportDays', '0', 'expected a whole number from 1 to 3650'],
    ['config', 'here', 'expected one of bucket, bundled'],
    ['credentialsSecret', 'my-secret', SECRET],
    ['credentialsSecret', 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:mine', SECRET],
    ['deleteSecrets', 'yes', 'expected one of off, on'],
    ['ecrPull', 'yes', ON],
    ['kmsKey', 'alias/mine', KEY],
    ['kmsKey', 'arn:aws:kms:eu-central-1:123456789012:alias/mine', KEY],
    ['permissionsBoundary', 'boundary', 'expected the ARN of an IAM policy, or nothing'],
    ['schedule', 'hourly', SCHEDULE],
    ['schedule', 'every hour', SCHEDULE],
    ['schedule', 'rate(0 hours)', SCHEDULE],
    ['schedule', 'at(2026-02-30T00:00:00)', SCHEDULE],
    ['timezone', 'Mars', ZONE],
    ['timezone', '+01:00', ZONE],
    ['timezone', 'europe/berlin', ZONE],
    ['scheduleState', 'off', 'expected one of ENABLED, DISABLED'],
    ['webhooks', 'maybe', ON],
    ['webhookConcurrency', '0', 'expected a whole number from 1 to 1000, or off'],
    ['registry', 'yes', 'expected one of off, on, alb'],
    ['registryAccess', 'off', 'expected one of tokens, public'],
    ...['https://docker.io', '..', '-', 'docker.io:0', 'docker.io:65536', `${'a'.repeat(64)}.io`].map(
      (host) =>
        ['registryDefaultHost', host, 'expected the host of a registry, such as docker.io, or nothing'] as const,
    ),
    ['registryFill', 'yes', ON],
    ['registryConcurrency', '0', 'expected a whole number from 1 to 1000, or off'],
    ['registryMemory', '128', 'expected a whole number from 256 to 10240'],
    ['registryVpc', 'main', 'expected the id of a VPC, or nothing'],
    ['registryVpc', 'vpc-1', 'expected the id of a VPC, or nothing'],
    ['registrySubnets', 'subnet-0123456a', SUBNETS],
    ['registrySubnets', 'subnet-0123456a,subnet-0123456a', SUBNETS],
    ['registrySubnets', 'subnet-1,subnet-2', SUBNETS],
    ['registryCertificate', 'mine', 'expected the ARN of a certificate in ACM, or nothing'],
    ...['https://registry.example.com', '-a.-b', '1.2.3.4', `${'a'.repeat(64)}.com`, `${'a.'.repeat(63)}com`].map(
      (domain) =>
        [
          'registryDomain',
          domain,
          'expected a domain name of at most 128 characters in lower case, or nothing',
        ] as const,
    ),
    ['registryScheme', 'public', 'expected one of internal, internet-facing'],
    ...['', '10.0.0.0', '999.1.1.1/8', '10.0.0.0/33', '10.0.0.0/8/8', '10.0.0.0/8,', '10.0.0.0/8,10.0.0.0/8'].map(
      (clients) => ['registryClients', clients, CLIENTS] as const,
    ),
    ['runTopic', 'x', TOPIC],
    ['eventBus', '', BUS],
    ['eventBus', 'arn:aws:events:eu-central-1:123456789012:event-bus/x', BUS],
    ['lanes', '65', 'expected a whole number from 1 to 64'],
    ['lanes', '1.5', 'expected a whole number from 1 to 64'],
    ['lanes', '', 'expected a whole number from 1 to 64'],
    ['resolverConcurrency', '1', CONCURRENCY],
    ['layerConcurrency', '1001', CONCURRENCY],
    ['finalizerConcurrency', 'many', CONCURRENCY],
    ['maxReceives', '1', 'expected a whole number from 2 to 1000'],
    ['resolverMemory', '128', 'expected a whole number from 256 to 10240'],
    ['layerMemory', '256', 'expected a whole number from 512 to 10240'],
    ['finalizerMemory', '128', 'expected a whole number from 256 to 10240'],
    ['resolverTimeout', '1', TIMEOUT],
    ['layerTimeout', '901', TIMEOUT],
    ['layerTimeout', '1e2', TIMEOUT],
    ['finalizerTimeout', '29', TIMEOUT],
    ['alarmTopic', 'on-call', TOPIC],
    ['alarmTopic', 'arn:aws:sns:eu-central-1:123456789012:on-call.fifo', TOPIC],
    ['oldestMessageSeconds', '10', 'expected a whole number from 60 to 1209600'],
    ['heartbeatHours', '169', 'expected a whole number from 0 to 168, or nothing'],
    ['logRetention', '31', 'expected one of 1, 3, 5, 7, 14, 30,'],
    ['logLevel', 'loud', 'expected one of DEBUG, INFO, WARN, ERROR'],
  ] as const)('%s with the value %o is refused before anything is deployed', async ([name, value, message]) => {
    await expect(settingsOf({ [name]: value })).rejects.toThrow(`read parameter ${name}: ${message}`);
    await expect(settingsOf({ [name]: value })).rejects.toThrow(`got '${value}'`);
  });

  test.for([
    ['alarmTopic', 'arn:aws:sns:us-east-1:123456789012:on-call'],
    ['kmsKey', 'arn:aws:kms:us-east-1:123456789012:key/1234abcd'],
    ['registryCertificate', 'arn:aws:acm:us-east-1:123456789012:certificate/1234abcd'],
    ['credentialsSecret', 'arn:aws:secretsmanager:us-east-1:123456789012:secret:mine-AbCdEf'],
    ['attestKey', 'arn:aws:secretsmanager:us-east-1:123456789012:secret:mine-AbCdEf'],
  ] as const)('%s in another region is refused', async ([name, value]) => {
    await expect(settingsOf({ [name]: value })).rejects.toThrow(
      `read parameter ${name}: expected the region eu-central-1, which is deployed to, got '${value}'`,
    );
  });

  test.for([
    ['us-gov-west-1', 'aws-us-gov', 'alarmTopic', 'arn:aws:sns:us-gov-west-1:123456789012:on-call'],
    ['cn-north-1', 'aws-cn', 'permissionsBoundary', 'arn:aws:iam::123456789012:policy/boundary'],
    ['eu-central-1', 'aws', 'kmsKey', 'arn:aws-cn:kms:eu-central-1:123456789012:key/1234abcd'],
  ] as const)('in another partition than %s is refused', async ([region, partition, name, value]) => {
    await expect(settingsOf({ [name]: value }, { region })).rejects.toThrow(
      `read parameter ${name}: expected the partition ${partition} of ${region}, which is deployed to, got '${value}'`,
    );
    const own = value.replace(/^arn:[\w-]+/, `arn:${partition}`);
    await expect(settingsOf({ [name]: own }, { region })).resolves.toBeDefined();
  });

  test('may name limits of AWS exactly, and a KMS key of attestations in another region', async () => {
    const given = {
      existingBucket: 'xn--mine',
      registryDefaultHost: `${'a'.repeat(63)}.io:65535`,
      registryDomain: `${'a.'.repeat(62)}x.io`,
      runWebhook: `https://hooks.example/${'x'.repeat(2048 - 22)}`,
      attestKey: 'arn:aws:kms:us-east-1:123456789012:key/1234abcd',
    };
    await expect(settingsOf(given)).resolves.toBeDefined();
  });

  test.for([
    'http://x.example/hook?token=hidden',
    `https://x.example/hidden${'x'.repeat(2048)}`,
    'https://hidden:hidden@x.example/',
    'https://hidden@x.example/',
    'https://[1::2::3]/hidden',
    'https://x.example:99999/hidden',
  ])('runWebhook with the value %s is refused without the value, which may contain a secret', async (value) => {
    const refused = settingsOf({ runWebhook: value });
    await expect(refused).rejects.toThrow(
      'read parameter runWebhook: expected a valid URL of at most 2048 characters that begins with https:// and has no user name, or nothing, got ' +
        'another value, which may contain a secret',
    );
    await expect(refused).rejects.not.toThrow('hidden');
  });

  test('stage is refused if the names of the functions were too long', async () => {
    await expect(settingsOf({}, { stage: 'a'.repeat(39) })).resolves.toBeDefined();
    await expect(settingsOf({}, { stage: 'a'.repeat(40) })).rejects.toThrow(
      `read parameter stage: expected at most 39 letters, digits and hyphens, got '${'a'.repeat(40)}'`,
    );
  });

  test('that depends on another one, or excludes it, is refused', async () => {
    await expect(settingsOf({ bucket: 'bucket-a', existingBucket: 'bucket-b' })).rejects.toThrow(
      'read parameter bucket and existingBucket: expected at most one of them',
    );
    await expect(settingsOf({ bucketOwner: '123456789012' })).rejects.toThrow(
      'read parameter bucketOwner: expected existingBucket beside it',
    );
    await expect(settingsOf({ registry: 'alb', registryVpc: 'vpc-0123456a' })).rejects.toThrow(
      'read parameter registry: alb needs registryVpc, registrySubnets, registryCertificate and registryDomain',
    );
  });

  test('with an unknown name on the command line is refused with the most similar one', async () => {
    await expect(settingsOf({ shedule: 'rate(1 hour)' })).rejects.toThrow(
      'read parameter shedule: unknown parameter; did you mean schedule?',
    );
    await expect(settingsOf({ x: '1' })).rejects.toThrow('read parameter x: unknown parameter; available: bucket, ');
  });

  test('with an unknown name in the section of any stage is refused', async () => {
    const sections = { ...params, test: { alarmTopics: 'x' } };
    await expect(settingsOf({}, { sections })).rejects.toThrow(
      'read parameter alarmTopics: unknown parameter; did you mean alarmTopic?',
    );
  });

  test('is refused together with every other invalid one', async () => {
    const refused = settingsOf({ lanes: '0', timezone: 'Mars', shedule: 'x' });
    await expect(refused).rejects.toThrow(/shedule.*\n.*timezone.*\n.*lanes/);
  });

  test('config=bundled without a mirror.yaml is refused', async () => {
    await expect(settingsOf({ config: 'bundled' })).rejects.toThrow(
      /read parameter config: bundled, but .*mirror\.yaml does not exist; create it/,
    );
  });
});

describe('the heartbeat alarm', () => {
  test.for([
    [{}, { periods: 2, period: 21_600 }],
    [{ schedule: 'rate(1 hour)' }, { periods: 2, period: 3600 }],
    [{ schedule: 'rate(5 minutes)' }, { periods: 2, period: 900 }],
    [{ schedule: 'rate(3 days)' }, { periods: 6, period: 86_400 }],
    [{ schedule: 'rate(4 days)' }, { periods: 7, period: 86_400 }],
    [{ schedule: 'rate(6 days)' }, { periods: 7, period: 86_400 }],
    [{ schedule: 'cron(0 3 * * ? *)' }, { periods: 2, period: 86_400 }],
    [
      { schedule: 'cron(0 3 ? * MON *)', heartbeatHours: '168' },
      { periods: 7, period: 86_400 },
    ],
    [{ heartbeatHours: '25' }, { periods: 2, period: 45_000 }],
  ] as const)('with %o covers %o', async ([given, expected]) => {
    expect((await settingsOf(given)).heartbeat).toEqual(expected);
  });

  test.for([
    { heartbeatHours: '0' },
    { scheduleState: 'DISABLED' },
    { scheduleState: 'DISABLED', heartbeatHours: '24' },
    // A weekly and a single run: CloudWatch evaluates at most seven days.
    { schedule: 'cron(0 3 ? * MON *)' },
    { schedule: 'rate(7 days)' },
    { schedule: 'at(2026-01-31T03:00:00)' },
  ])('with %o does not exist', async (given) => {
    expect((await settingsOf(given)).heartbeat).toEqual({});
  });
});

describe('the deployment guard compares', () => {
  test.for([
    [{}, ['RegistryTokens', 'RunWebhookSecret']],
    [{ registry: 'on', runWebhook: 'https://hooks.example/' }, []],
    [{ registry: 'on', registryAccess: 'public' }, ['RegistryTokens', 'RunWebhookSecret']],
    [
      { credentialsSecret: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:mine-AbCdEf' },
      ['CredentialsSecret', 'RegistryTokens', 'RunWebhookSecret'],
    ],
  ] as const)('with %o the secrets %o, which the template does not have', async ([given, secrets]) => {
    expect((await settingsOf(given)).guard.droppedSecrets).toEqual(secrets);
  });
});

test('failed images are counted over the time between two runs', async () => {
  expect((await settingsOf({ schedule: 'rate(1 minute)' })).runPeriod).toBe(300);
  expect((await settingsOf({ schedule: 'rate(12 hours)' })).runPeriod).toBe(43_200);
  expect((await settingsOf({ schedule: 'rate(2 days)' })).runPeriod).toBe(86_400);
  expect((await settingsOf({ schedule: 'cron(0 3 ? * MON *)' })).runPeriod).toBe(86_400);
});
