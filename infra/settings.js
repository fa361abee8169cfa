import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { gbSecondsOf } from './budget-lambda.js';
import { plain, readParameters } from './parameters.js';
import { longestGap } from './schedule-expression.js';

const ROOT = join(import.meta.dirname, '..');
const NONE = { Ref: 'AWS::NoValue' };

/** The name of Sigstore's trusted root, beside mirror.yaml: the package and the role of the resolver have it. */
const TRUSTED_ROOT = 'trusted_root.json';

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
  // By whether the template has them.
  const secrets = {
    CredentialsSecret: credentialsSecret === '',
    RegistryTokens: registry.isOn && registry.hasTokens,
    RunWebhookSecret: given.runWebhook !== '',
    WebhookSecret: true,
  };
  const config = given.config === 'bucket' ? url('config/mirror.yaml') : 'mirror.yaml';
  const heartbeat = heartbeatOf(given);
  if (given.config === 'bundled') await readBundled();

  return {
    // Files of this folder; empty if their resources already exist or are disabled.
    resources: {
      bucket: file('bucket.yml', existingBucket === ''),
      credentials: file('credentials.yml', secrets.CredentialsSecret),
      ecr: file('ecr.yml', given.ecrPull === 'on'),
      encryption: file('encryption.yml', kmsKey !== ''),
      attestation: file('attestation.yml', given.attestKey !== ''),
      webhookUrl: file('webhook-url.yml', webhooks),
      heartbeat: file('heartbeat.yml', heartbeat !== undefined),
      lambdaBudget: file('budget-lambda.yml', given.lambdaGbSecondsPerDay !== ''),
      sqsBudget: file('budget-sqs.yml', given.sqsRequestsPerDay !== ''),
      notifications: file('notifications.yml', alarmTopic !== ''),
      runNotifications: file('run-notifications.yml', given.runTopic !== ''),
      runWebhook: file('run-webhook.yml', secrets.RunWebhookSecret),
      registry: file('registry.yml', registry.isOn),
      registryTokens: file('registry-tokens.yml', secrets.RegistryTokens),
      registryBalancer: file('registry-alb.yml', given.registry === 'alb'),
      registryFill: file('registry-fill.yml', registry.isOn && given.registryFill === 'on'),
      registryEncryption: file('registry-encryption.yml', registry.isOn && kmsKey !== ''),
    },
    protectedResources: protectedResources(existingBucket, secrets),
    // deployment-guard.js compares these with AWS.
    guard: {
      bucket,
      existingBucket,
      prefix,
      credentialsSecret,
      droppedSecrets: Object.keys(secrets).filter((id) => !secrets[id]),
      deleteSecrets: given.deleteSecrets === 'on',
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
      trustedRoot: objects(`config/${TRUSTED_ROOT}`),
      blobs: objects('blobs/*'),
      receipts: objects('.mirror/receipts/*'),
      runs: objects('.mirror/runs/*'),
      openRuns: objects('.mirror/runs/.open/*'),
      repositories: objects('repositories/*'),
      members: objects('.mirror/members/*'),
      attestations: objects('.mirror/attestations/*'),
    },
    attestActions: given.attestKey.includes(':kms:')
      ? ['kms:GetPublicKey', 'kms:Sign']
      : ['secretsmanager:GetSecretValue'],
    credentialsSecret: credentialsSecret === '' ? { Ref: 'CredentialsSecret' } : credentialsSecret,
    kmsKey: kmsKey === '' ? NONE : kmsKey,
    queueKeyReuse: kmsKey === '' ? NONE : 3600,
    sqsManagedKey: kmsKey === '',
    permissionsBoundary: given.permissionsBoundary === '' ? NONE : given.permissionsBoundary,
    alarmActions: alarmTopic === '' ? [] : [alarmTopic],
    webhookUrl: webhooks,
    runWebhook:
      given.runWebhook === ''
        ? { url: NONE, secret: NONE }
        : { url: given.runWebhook, secret: { Ref: 'RunWebhookSecret' } },
    webhookConcurrency: reserved,
    // Null leaves the function out.
    registryFunction: registry.isOn ? '${file(infra/registry-function.yml)}' : null,
    registry,
    // Images are counted over the time between two runs.
    runPeriod: Math.min(Math.max(longestGap(schedule) ?? MAX_PERIOD, 300), MAX_PERIOD),
    heartbeat: heartbeat ?? {},
    gbSeconds: gbSecondsOf(given),
    // The lists of alarms of the dashboards end with those that not every deployment has.
    optionalAlarms: listed([
      ...(webhooks ? ['WebhookUrlAlarm'] : []),
      ...(heartbeat === undefined ? [] : ['HeartbeatAlarm']),
      ...(given.lambdaGbSecondsPerDay === '' ? [] : ['LambdaBudgetAlarm']),
      ...(given.sqsRequestsPerDay === '' ? [] : ['SqsBudgetAlarm']),
    ]),
    optionalRegistryAlarms: listed(given.registry === 'alb' ? ['RegistryBalancerAlarm'] : []),
    timeouts,
    // Visibility timeouts in seconds: a message is delivered again after this time if its sandbox was killed. (A
    // handler that fails sets the time itself.) AWS advises six times the function's timeout, because Lambda retries
    // throttled invocations meanwhile. For layers that would block a lane for 90 minutes after one sandbox ran out of
    // memory. Five minutes more than the timeout suffice for layers: a batch is one message, the function stops before
    // its timeout, and maximumConcurrency keeps Lambda from receiving messages that it cannot start. If two functions
    // copy one blob nevertheless, the result is correct.
    visibility: {
      resolve: 6 * timeouts.resolver,
      layer: timeouts.layer + 300,
      finalize: 6 * timeouts.finalizer,
    },
  };
}

/** The end of a dashboard's list of alarms. */
function listed(alarms) {
  return alarms.map((id) => `, "\${${id}.Arn}"`).join('');
}

/**
 * The resources that hold data, as the stack policy names them. CloudFormation refuses a policy that names a resource that the
 * template does not have.
 */
function protectedResources(existingBucket, secrets) {
  return [
    ...(existingBucket === '' ? ['ArchiveBucket'] : []),
    ...Object.keys(secrets).filter((id) => secrets[id]),
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
 * The time without a run after which the heartbeat alarm fires: two periods of the schedule, or `heartbeatHours`.
 * Undefined if no run is expected, or if one period is longer than CloudWatch can evaluate.
 */
function heartbeatOf({ heartbeatHours, schedule, scheduleState }) {
  const gap = longestGap(schedule) ?? 0;
  const expected = gap < MAX_LOOK_BACK ? Math.min(2 * gap, MAX_LOOK_BACK) : 0;
  const seconds = heartbeatHours === '' ? expected : Number(heartbeatHours) * 3600;
  if (scheduleState !== 'ENABLED' || seconds === 0) return undefined;
  // Within less than half an hour, a run that Lambda retries would count as missing.
  const looked = Math.max(seconds, 1800);
  const periods = Math.max(2, Math.ceil(looked / MAX_PERIOD));
  return { periods, period: Math.ceil(looked / periods / 60) * 60 };
}

/** Otherwise a bundle with a missing or invalid configuration, or trusted root, would be noticed only by its first run. */
async function readBundled() {
  const path = join(ROOT, 'mirror.yaml');
  if (!existsSync(path))
    throw plain(
      `read parameter config: bundled, but ${path} does not exist; create it (docs/configuration.md describes it)`,
    );
  const { readConfig } = await import('../lib/app/config-file.ts');
  const { trustedRoot = TRUSTED_ROOT } = await readConfig(path, {}).catch((error) => {
    throw plain(error.message);
  });
  if (trustedRoot !== TRUSTED_ROOT)
    throw plain(
      `read parameter config: expected trustedRoot: ${TRUSTED_ROOT} in the bundled mirror.yaml, got ${trustedRoot}; rename the file`,
    );
}
