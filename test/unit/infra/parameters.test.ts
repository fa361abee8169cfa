import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CFN_LINT, FUNCTIONS, lint, namesInZip, packaged, type Packaged, type Properties } from '../../kit/packaged.ts';
import { startSigstore } from '../../kit/sigstore.ts';

const CONFIG = 'version: 1\ntrustedRoot: trusted_root.json\nmirrors:\n  - source: alpine\n    tags: [latest]\n';

const { trustedRoot } = await startSigstore();

/** The service with everything that may exist before it. */
let template: Packaged;

beforeAll(async () => {
  const given = {
    existingBucket: 'a-bucket-of-mine',
    bucketOwner: '210987654321',
    prefix: 'mirror/',
    credentialsSecret: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:mine-AbCdEf',
    alarmTopic: 'arn:aws:sns:eu-central-1:123456789012:mine',
    eventBus: 'mine',
    ecrPull: 'on',
    config: 'bundled',
    webhooks: 'off',
    lanes: '8',
    layerMemory: '3008',
    layerTimeout: '600',
    layerConcurrency: '50',
    logRetention: '7',
    schedule: 'cron(0 3 * * ? *)',
    permissionsBoundary: 'arn:aws:iam::123456789012:policy/boundary',
    lambdaGbSecondsPerDay: 'off',
    sqsRequestsPerDay: 'off',
    imagesFailed: '5',
  };
  template = await packaged(given, { 'mirror.yaml': CONFIG, 'trusted_root.json': trustedRoot });
});

afterAll(() => template[Symbol.asyncDispose]());

describe('the parameters', () => {
  test('can name an existing bucket, secret and topic, and then none is created', () => {
    expect(template.resources).not.toHaveProperty('ArchiveBucket');
    expect(template.resources).not.toHaveProperty('ArchiveBucketPolicy');
    expect(template.resources).not.toHaveProperty('CredentialsSecret');
    // CloudFormation refuses a stack policy that names a resource that the template does not have.
    expect(template.protected).toEqual(template.withData);
    expect(template.ofType('AWS::Lambda::Url')).toEqual([]);
    expect(template.outputs['Archive']?.Value).toBe('s3://a-bucket-of-mine/mirror/');
    expect(template.outputs['Config']?.Value).toBe('mirror.yaml');
    expect(template.variables('layer')).toMatchObject({
      MIRROR_SYNC_ARCHIVE: 's3://a-bucket-of-mine/mirror/',
      MIRROR_SYNC_CONFIG: 'mirror.yaml',
      MIRROR_SYNC_CREDENTIALS_SECRET: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:mine-AbCdEf',
      MIRROR_SYNC_LANES: '8',
    });
    const permissions = template.permissions('finalizer');
    const inBucket = JSON.stringify({ StringEquals: { 'aws:ResourceAccount': '210987654321' } });
    expect(permissions).toContain(`s3:PutObject a-bucket-of-mine/mirror/repositories/* if ${inBucket}`);
    const listing = {
      StringEquals: { 'aws:ResourceAccount': '210987654321' },
      StringLikeIfExists: { 's3:prefix': 'mirror/*' },
    };
    expect(permissions).toContain(`s3:ListBucket a-bucket-of-mine if ${JSON.stringify(listing)}`);
    expect(permissions).toContain(
      'events:PutEvents arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/mine',
    );
    const pulls = ['BatchCheckLayerAvailability', 'BatchGetImage', 'GetDownloadUrlForLayer', 'ListImages'].map(
      (action) => `ecr:${action} arn:\${AWS::Partition}:ecr:*:\${AWS::AccountId}:repository/*`,
    );
    for (const name of FUNCTIONS) {
      const allowed = template.permissions(name).filter((one) => one.startsWith('ecr:'));
      const needed = ['resolver', 'layer'].includes(name) ? [...pulls, 'ecr:GetAuthorizationToken *'] : [];
      expect(allowed).toEqual(needed.toSorted());
    }
    for (const [, alarm] of template.ofType('AWS::CloudWatch::Alarm'))
      for (const actions of ['AlarmActions', 'OKActions'])
        expect(alarm[actions]).toEqual(['arn:aws:sns:eu-central-1:123456789012:mine']);
    expect(template.properties('ImageFailedRule')['EventBusName']).toBe('mine');
    for (const id of ['WebhookUrlAlarm', 'LambdaBudgetAlarm', 'SqsBudgetAlarm'])
      expect(template.resources).not.toHaveProperty(id);
    expect(template.properties('ImagesFailedAlarm')).toMatchObject({ Period: 86_400, Threshold: '5' });
    expect(template.properties('HeartbeatAlarm')).toMatchObject({ Period: 86_400, EvaluationPeriods: 2 });
    for (const [, role] of template.ofType('AWS::IAM::Role'))
      expect(role['PermissionsBoundary']).toBe('arn:aws:iam::123456789012:policy/boundary');
    expect(template.functions.get('webhook')).not.toHaveProperty('ReservedConcurrentExecutions');
    expect(template.properties('Schedule')['ScheduleExpression']).toBe('cron(0 3 * * ? *)');
    expect(template.functions.get('layer')).toMatchObject({ MemorySize: 3008, Timeout: 600 });
    expect(template.properties('LayerQueue')['VisibilityTimeout']).toBe(900);
    expect(template.properties('LayerLogGroup')['RetentionInDays']).toBe(7);
  });
});

describe('a bundled configuration', () => {
  test('is in each package, and its trusted root in that of the resolver', async () => {
    for (const name of FUNCTIONS) {
      const names = namesInZip(await template.zip(name));
      expect(names).toContain('mirror.yaml');
      expect(names.includes('trusted_root.json')).toBe(name === 'resolver');
    }
  });

  test.for([
    // The error has line and column.
    [CONFIG.replace('tags', 'tgas'), 'mirror.yaml:5:5: mirrors[0].tgas'],
    [CONFIG, 'read trustedRoot trusted_root.json: no such file'],
    [
      CONFIG.replace('_', '-'),
      'expected trustedRoot: trusted_root.json in the bundled mirror.yaml, got trusted-root.json',
    ],
  ] as const)('is refused before the deployment if the functions would refuse it (%#)', async ([config, reason]) => {
    const refused = packaged({ config: 'bundled' }, { 'mirror.yaml': config, 'trusted-root.json': trustedRoot });
    await expect(refused).rejects.toMatchObject({ stdout: expect.stringContaining(reason) as string });
  });
});

const KEY = 'arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab';

describe('a customer-managed key', () => {
  test('encrypts bucket, queues, secrets, log groups and variables, and every role may use it there', async () => {
    await using encrypted = await packaged({ kmsKey: KEY, bucket: 'an-archive', oldVersionDays: '0' });
    const rule = {
      ServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: KEY },
      BucketKeyEnabled: true,
    };
    for (const bucket of ['ArchiveBucket', 'ServerlessDeploymentBucket'])
      expect(encrypted.properties(bucket)['BucketEncryption']).toEqual({ ServerSideEncryptionConfiguration: [rule] });
    expect(encrypted.properties('ArchiveBucket')['VersioningConfiguration']).toEqual({ Status: 'Suspended' });
    const queues = encrypted.ofType('AWS::SQS::Queue');
    expect(queues).toHaveLength(7);
    for (const [, queue] of queues)
      expect(queue).toMatchObject({
        SqsManagedSseEnabled: false,
        KmsMasterKeyId: KEY,
        KmsDataKeyReusePeriodSeconds: 3600,
      });
    const with_ = {
      'AWS::SecretsManager::Secret': 'KmsKeyId',
      'AWS::Logs::LogGroup': 'KmsKeyId',
      'AWS::Lambda::Function': 'KmsKeyArn',
    };
    for (const [type, property] of Object.entries(with_)) {
      const all = encrypted.ofType(type);
      expect(all.length).toBe(type === 'AWS::SecretsManager::Secret' ? 2 : 6);
      for (const [, each] of all) expect(each[property]).toBe(KEY);
    }
    const roles = encrypted.ofType('AWS::IAM::Role').map(([id]) => id);
    for (const role of roles)
      expect(encrypted.statements(role)).toContainEqual({
        Sid: 'UseKey',
        Effect: 'Allow',
        Action: ['kms:Decrypt', 'kms:GenerateDataKey'],
        Resource: KEY,
        Condition: {
          StringEquals: {
            'kms:ViaService': ['s3', 'sqs', 'secretsmanager', 'lambda'].map((service) => ({
              'Fn::Sub': `${service}.\${AWS::Region}.\${AWS::URLSuffix}`,
            })),
          },
        },
      });
    if (CFN_LINT !== undefined) expect(await lint(encrypted)).toEqual({ stdout: '', stderr: '' });
  });
});

describe('the storage class', () => {
  test('INTELLIGENT_TIERING applies to blobs at once, and to nothing else', async () => {
    await using tiered = await packaged({
      blobStorage: 'INTELLIGENT_TIERING',
      scheduleState: 'DISABLED',
      prefix: 'a/',
    });
    const { Rules } = tiered.properties('ArchiveBucket')['LifecycleConfiguration'] as { Rules: Properties[] };
    const moving = Rules.filter(({ Transitions }) => Array.isArray(Transitions));
    expect(moving).toEqual([
      expect.objectContaining({
        Prefix: 'a/blobs/',
        Transitions: [{ StorageClass: 'INTELLIGENT_TIERING', TransitionInDays: 0 }],
      }),
    ]);
    expect(tiered.outputs['Config']?.Value).toEqual({ 'Fn::Sub': 's3://${ArchiveBucket}/a/config/mirror.yaml' });
    // No run is expected.
    expect(tiered.resources).not.toHaveProperty('HeartbeatAlarm');
    if (CFN_LINT !== undefined) expect(await lint(tiered)).toEqual({ stdout: '', stderr: '' });
  });
});

describe('the region', () => {
  test("is required, because the framework's default may differ from the region of the AWS CLI", async () => {
    const stdout: unknown = expect.stringContaining(
      'read region: no region is set (the profile in ~/.aws/config is not read); set AWS_REGION, or use --region',
    );
    await expect(packaged({}, {}, [])).rejects.toMatchObject({ stdout });
  });
});

describe('cfn-lint', () => {
  test.skipIf(CFN_LINT === undefined)('reports nothing (skipped if it is not installed)', async () => {
    expect(await lint(template)).toEqual({ stdout: '', stderr: '' });
  });
});
