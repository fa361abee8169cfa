import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { plain, readParameters } from './parameters.js';
import { longestGap } from './schedule-expression.js';

const ROOT = join(import.meta.dirname, '..');
const NONE = { Ref: 'AWS::NoValue' };

/** CloudWatch's maximum period and maximum evaluation range of an alarm, in seconds. */
const MAX_PERIOD = 86_400;
const MAX_LOOK_BACK = 7 * 86_400;

/** The default region: an error, because osls would use us-east-1. */
export function region() {
  throw plain(
    'read region: no region is set (the profile in ~/.aws/config is not read); set AWS_REGION, or use --region',
  );
}

/**
 * Derives shared values from the parameters in serverless.yml, and refuses invalid values before anything is deployed. osls calls
 * it: `${file(infra/settings.js):settings}`.
 *
 * @param {import('./parameters.js').Osls} osls
 */
export async function settings(osls) {
  const given = await readParameters(osls);
  const { bucket, existingBucket, prefix, credentialsSecret, alarmTopic, kmsKey, schedule } = given;

  const name = existingBucket === '' ? '${ArchiveBucket}' : existingBucket;
  const url = (path) =>
    existingBucket === '' ? { 'Fn::Sub': `s3://${name}/${prefix}${path}` } : `s3://${name}/${prefix}${path}`;
  const objects = (path) => ({ 'Fn::Sub': `arn:\${AWS::Partition}:s3:::${name}/${prefix}${path}` });
  const file = (path, wanted) => (wanted ? `\${file(infra/${path})}` : {});

  const timeouts = {
    resolver: Number(given.resolverTimeout),
    layer: Number(given.layerTimeout),
    finalizer: Number(given.finalizerTimeout),
  };
  const webhooks = given.webhooks === 'on';
  const reserved = webhooks && given.webhookConcurrency !== '' ? Number(given.webhookConcurrency) : NONE;
  const registry = registryOf(given);
  const config = given.config === 'bucket' ? url('config/mirror.yaml') : 'mirror.yaml';
  const heartbeat = heartbeatOf(given);
  if (given.config === 'bundled') await readBundled();

  return {
    // Files of this folder; empty if their resources already exist or are disabled.
    resources: {
      bucket: file('bucket.yml', existingBucket === ''),
      credentials: file('credentials.yml', credentialsSecret === ''),
      ecr: file('ecr.yml', given.ecrPull === 'on'),
      encryption: file('encryption.yml', kmsKey !== ''),
      webhookUrl: file('webhook-url.yml', webhooks),
      heartbeat: file('heartbeat.yml', heartbeat !== undefined),
      lambdaBudget: file('budget-lambda.yml', given.lambdaGbSecondsPerDay !== ''),
      sqsBudget: file('budget-sqs.yml', given.sqsRequestsPerDay !== ''),
      notifications: file('notifications.yml', alarmTopic !== ''),
      registry: file('registry.yml', registry.isOn),
      registryTokens: file('registry-tokens.yml', registry.isOn && registry.hasTokens),
      registryBalancer: file('registry-alb.yml', given.registry === 'alb'),
      registryFill: file('registry-fill.yml', registry.isOn && given.registryFill === 'on'),
      registryEncryption: file('registry-encryption.yml', registry.isOn && kmsKey !== ''),
    },
    protectedResources: protectedResources(existingBucket, credentialsSecret, registry.isOn && registry.hasTokens),
    // deployment-guard.js compares these with AWS.
    guard: {
      bucket,
      existingBucket,
      prefix,
      reserved: {
        ...(typeof reserved === 'number' ? { webhookConcurrency: reserved } : {}),
        ...(typeof registry.reserved === 'number' ? { registryConcurrency: registry.reserved } : {}),
      },
    },
    bucketName: bucket === '' ? NONE : bucket,
    bucketArn: { 'Fn::Sub': `arn:\${AWS::Partition}:s3:::${name}` },
    // The roles reach only this account's bucket, because another account may reuse the name of a deleted bucket.
    bucketOwner: given.bucketOwner === '' ? { Ref: 'AWS::AccountId' } : given.bucketOwner,
    bucketEncryption:
      kmsKey === ''
        ? { ServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }
        : {
            ServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: kmsKey },
            BucketKeyEnabled: true,
          },
    versioning: given.oldVersionDays === '0' ? 'Suspended' : 'Enabled',
    // S3 keeps a version that was replaced for a day at least.
    oldVersionDays: Math.max(1, Number(given.oldVersionDays)),
    blobTransitions:
      given.blobStorage === 'STANDARD' ? NONE : [{ StorageClass: given.blobStorage, TransitionInDays: 0 }],
    archive: url(''),
    config,
    // The variables of the registry function for `registryFill`.
    registryFill:
      given.registryFill === 'on'
        ? { isOn: 'on', config, queue: { Ref: 'ResolveQueue' }, keyActions: ['kms:Decrypt', 'kms:GenerateDataKey'] }
        : { isOn: 'off', config: NONE, queue: NONE, keyActions: ['kms:Decrypt'] },
    objects: {
      config: objects('config/mirror.yaml'),
      blobs: objects('blobs/*'),
      receipts: objects('.mirror/receipts/*'),
      runs: objects('.mirror/runs/*'),
      repositories: objects('repositories/*'),
      members: objects('.mirror/members/*'),
    },
    credentialsSecret: credentialsSecret === '' ? { Ref: 'CredentialsSecret' } : credentialsSecret,
    kmsKey: kmsKey === '' ? NONE : kmsKey,
    queueKeyReuse: kmsKey === '' ? NONE : 3600,
    sqsManagedKey: kmsKey === '',
    permissionsBoundary: given.permissionsBoundary === '' ? NONE : given.permissionsBoundary,
    alarmActions: alarmTopic === '' ? [] : [alarmTopic],
    webhookUrl: webhooks,
    webhookConcurrency: reserved,
    // Null leaves the function out.
    registryFunction: registry.isOn ? '${file(infra/registry-function.yml)}' : null,
    registry,
    // Images are counted over as long as passes between two runs.
    runPeriod: Math.min(Math.max(longestGap(schedule) ?? MAX_PERIOD, 300), MAX_PERIOD),
    heartbeat: heartbeat ?? {},
    // Parts of the dashboard's text: the alarms that not every deployment has.
    optionalAlarms: [
      ...(webhooks ? ['WebhookUrlAlarm'] : []),
      ...(heartbeat === undefined ? [] : ['HeartbeatAlarm']),
      ...(given.lambdaGbSecondsPerDay === '' ? [] : ['LambdaBudgetAlarm']),
      ...(given.sqsRequestsPerDay === '' ? [] : ['SqsBudgetAlarm']),
    ]
      .map((id) => `, "\${${id}.Arn}"`)
      .join(''),
    timeouts,
    // How long a message is out of sight after it was handed out, in seconds: what it waits for behind a sandbox that was
    // killed (one that failed is put off by its handler). AWS advises six times the function's timeout, for invocations
    // that Lambda throttles and tries again meanwhile. Not so for layers: that would be 90 minutes for a lane behind one
    // sandbox that ran out of memory. There a batch is one message, the function stops itself before its timeout, and
    // maximumConcurrency keeps Lambda from taking messages that it cannot start: five minutes are left for throttling,
    // and two functions at one blob would be waste, not damage.
    visibility: {
      resolve: 6 * timeouts.resolver,
      layer: timeouts.layer + 300,
      finalize: 6 * timeouts.finalizer,
    },
  };
}

/**
 * The resources that hold data, as the stack policy names them. CloudFormation refuses a policy that names a resource that the
 * template does not have.
 */
function protectedResources(existingBucket, credentialsSecret, hasTokens) {
  return [
    ...(existingBucket === '' ? ['ArchiveBucket'] : []),
    ...(credentialsSecret === '' ? ['CredentialsSecret'] : []),
    ...(hasTokens ? ['RegistryTokens'] : []),
    'WebhookSecret',
    ...['Resolve', 'Layer', 'Finalize'].flatMap((name) => [`${name}Queue`, `${name}DeadLetters`]),
    'Undelivered',
  ].map((id) => `LogicalResourceId/${id}`);
}

/** Everything that follows from the parameters of the registry. */
function registryOf({
  registry,
  registryAccess,
  registryConcurrency,
  registryDefaultHost,
  registrySubnets,
  registryClients,
}) {
  const hasTokens = registryAccess === 'tokens';
  return {
    isOn: registry !== 'off',
    hasUrl: registry === 'on',
    hasTokens,
    tokens: hasTokens ? { Ref: 'RegistryTokens' } : 'public',
    reserved: registry !== 'off' && registryConcurrency !== '' ? Number(registryConcurrency) : NONE,
    defaultHost: registryDefaultHost,
    subnets: registrySubnets.split(','),
    ingress: registryClients
      .split(',')
      .map((CidrIp) => ({ IpProtocol: 'tcp', FromPort: 443, ToPort: 443, CidrIp, Description: 'Registry clients' })),
  };
}

/**
 * After how long without a run the heartbeat alarm rings: two periods of the schedule, or what `heartbeatHours` says.
 * Nothing where no run is expected, or where CloudWatch cannot look back far enough.
 */
function heartbeatOf({ heartbeatHours, schedule, scheduleState }) {
  const gap = longestGap(schedule);
  const seconds = heartbeatHours === '' ? 2 * (gap ?? 0) : Number(heartbeatHours) * 3600;
  if (scheduleState !== 'ENABLED' || seconds === 0 || seconds > MAX_LOOK_BACK) return undefined;
  // Shorter than half an hour, and one run that Lambda tries again would look like none.
  const looked = Math.max(seconds, 1800);
  const periods = Math.max(2, Math.ceil(looked / MAX_PERIOD));
  return { periods, period: Math.ceil(looked / periods / 60) * 60 };
}

/** Without this the first run would find a bundle without a configuration, or with one that the functions refuse. */
async function readBundled() {
  const path = join(ROOT, 'mirror.yaml');
  const text = await readFile(path, 'utf8').catch(() => {
    throw plain(
      `read parameter config: bundled, but there is no ${path}; docs/configuration.md says what may stand in it`,
    );
  });
  const { parseConfig } = await import('../lib/config/config.ts');
  try {
    parseConfig(text, 'mirror.yaml');
  } catch (error) {
    throw plain(error.message);
  }
}
