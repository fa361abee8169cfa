import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Environment, readEnvironment } from '../../../lib/config/environment.ts';
import {
  CFN_LINT,
  DEAD_LETTERS,
  FUNCTIONS,
  lint,
  namesInZip,
  packaged,
  type Packaged,
  QUEUES,
  shortName,
} from '../../kit/packaged.ts';

let template: Packaged;

beforeAll(async () => {
  template = await packaged();
});

afterAll(() => template[Symbol.asyncDispose]());

const arn = (id: string): object => ({ 'Fn::GetAtt': [id, 'Arn'] });
const ref = (id: string): object => ({ Ref: id });
const NONE = ref('AWS::NoValue');
const WORDS = ['resolve', 'layer', 'finalize'];
const ENCRYPTED = { SqsManagedSseEnabled: true, KmsMasterKeyId: NONE, KmsDataKeyReusePeriodSeconds: NONE };
const TLS_ONLY = {
  Sid: 'TlsOnly',
  Effect: 'Deny',
  Principal: '*',
  Action: 'sqs:*',
  Resource: '*',
  Condition: { Bool: { 'aws:SecureTransport': 'false' } },
};

describe('the queues', () => {
  test('are FIFO at high throughput, each with its own dead-letter queue', () => {
    const timeouts = [1080, 1200, 720];
    for (const [index, id] of QUEUES.entries()) {
      const name = `mirror-sync-prod-${WORDS[index]!}`;
      expect(template.properties(id)).toEqual({
        QueueName: `${name}.fifo`,
        FifoQueue: true,
        FifoThroughputLimit: 'perMessageGroupId',
        DeduplicationScope: 'messageGroup',
        VisibilityTimeout: timeouts[index],
        MessageRetentionPeriod: 14 * 24 * 3600,
        ...ENCRYPTED,
        RedrivePolicy: { deadLetterTargetArn: arn(DEAD_LETTERS[index]!), maxReceiveCount: 5 },
      });
      expect(template.properties(DEAD_LETTERS[index]!)).toEqual({
        QueueName: `${name}-dead.fifo`,
        FifoQueue: true,
        RedriveAllowPolicy: {
          redrivePermission: 'byQueue',
          sourceQueueArns: [
            { 'Fn::Sub': `arn:\${AWS::Partition}:sqs:\${AWS::Region}:\${AWS::AccountId}:${name}.fifo` },
          ],
        },
        VisibilityTimeout: 360,
        MessageRetentionPeriod: 14 * 24 * 3600,
        ...ENCRYPTED,
      });
    }
    expect(template.ofType('AWS::SQS::Queue')).toHaveLength(7);
  });

  test('accept no request without TLS', () => {
    expect(template.properties('QueuesPolicy')).toEqual({
      Queues: [...QUEUES, ...DEAD_LETTERS].map(ref),
      PolicyDocument: { Version: '2012-10-17', Statement: [TLS_ONLY] },
    });
    expect(template.ofType('AWS::SQS::QueuePolicy').map(([id]) => id)).toEqual(['QueuesPolicy', 'UndeliveredPolicy']);
  });

  // Scheduler gives up a start, an asynchronous invocation fails on every attempt, or the target of a rule is denied.
  test('keep an undeliverable start, push to ECR or notification for 14 days', () => {
    expect(template.properties('Undelivered')).toEqual({
      QueueName: 'mirror-sync-prod-undelivered',
      RedriveAllowPolicy: { redrivePermission: 'denyAll' },
      MessageRetentionPeriod: 14 * 24 * 3600,
      ...ENCRYPTED,
    });
    const rules = 'arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/*mirror-sync-prod-*';
    expect(template.properties('UndeliveredPolicy')).toEqual({
      Queues: [ref('Undelivered')],
      PolicyDocument: {
        Version: '2012-10-17',
        Statement: [
          TLS_ONLY,
          {
            Sid: 'FromRules',
            Effect: 'Allow',
            Principal: { Service: 'events.amazonaws.com' },
            Action: 'sqs:SendMessage',
            Resource: arn('Undelivered'),
            Condition: { ArnLike: { 'aws:SourceArn': { 'Fn::Sub': rules } } },
          },
        ],
      },
    });
    // A name above 64 characters would be shortened, and the policy would not match it.
    const keeping = template
      .ofType('AWS::Events::Rule')
      .filter(([, rule]) => JSON.stringify(rule).includes('Undelivered'));
    expect(keeping.map(([, { Name }]) => Name)).toEqual(['mirror-sync-prod-ecr']);
    const invocations = template.ofType('AWS::Lambda::EventInvokeConfig').map(([, properties]) => properties);
    expect(invocations).toEqual([
      ...['ResolverLambdaFunction', 'WebhookLambdaFunction'].map((id) => ({
        FunctionName: ref(id),
        Qualifier: '$LATEST',
        DestinationConfig: { OnFailure: { Destination: arn('Undelivered') } },
      })),
      // The next check repeats a failed one.
      { FunctionName: ref('RunsLambdaFunction'), Qualifier: '$LATEST', MaximumRetryAttempts: 0, DestinationConfig: {} },
    ]);
  });

  // Another consumer must not get a message that is being handled (Lambda, "Using Lambda with Amazon SQS").
  test('hide messages for as long as their function may need', () => {
    const mappings = template.ofType('AWS::Lambda::EventSourceMapping').map(([, properties]) => properties);
    const seen = mappings.map((mapping) => {
      const [queue] = (mapping['EventSourceArn'] as { 'Fn::GetAtt': [string] })['Fn::GetAtt'];
      const [target] = (mapping['FunctionName'] as { 'Fn::GetAtt': [string] })['Fn::GetAtt'];
      expect(mapping['FunctionResponseTypes']).toEqual(['ReportBatchItemFailures']);
      expect(mapping['ScalingConfig']).toEqual({ MaximumConcurrency: expect.any(Number) });
      return {
        queue,
        batch: mapping['BatchSize'],
        timeout: Number(template.properties(target)['Timeout']),
        visibility: Number(template.properties(queue)['VisibilityTimeout']),
      };
    });
    expect(seen.map(({ queue }) => queue).toSorted()).toEqual([...QUEUES, ...DEAD_LETTERS].toSorted());
    for (const { queue, batch, timeout, visibility } of seen) {
      if (queue === 'LayerQueue') expect({ batch, visibility }).toEqual({ batch: 1, visibility: timeout + 300 });
      else expect(visibility).toBeGreaterThanOrEqual(6 * timeout);
    }
  });
});

describe('the functions', () => {
  test('run on Node.js 24 on arm64, each with its own bundle and role', () => {
    expect([...template.functions.keys()]).toEqual(FUNCTIONS);
    for (const name of FUNCTIONS) {
      expect(template.functions.get(name)).toMatchObject({
        Runtime: 'nodejs24.x',
        Architectures: ['arm64'],
        Handler: `dist/functions/${name}/index.handler`,
      });
    }
    const roles = FUNCTIONS.map((name) => template.roleOf(name));
    expect(new Set(roles).size).toBe(FUNCTIONS.length);
    expect(Number(template.functions.get('layer')?.['Timeout'])).toBeLessThanOrEqual(900);
  });

  // Lambda would stop a large layer at its sixteenth continuation. The other functions stay protected from loops.
  test('may loop only if they send messages to themselves', () => {
    const allowed = FUNCTIONS.filter((name) => template.functions.get(name)?.['RecursiveLoop'] === 'Allow');
    const looping = FUNCTIONS.filter((name) => {
      const permissions = template.permissions(name);
      return permissions.some(
        (one) =>
          permissions.includes(one.replace('sqs:SendMessage', 'sqs:ReceiveMessage')) &&
          one.startsWith('sqs:SendMessage'),
      );
    });
    expect(allowed).toEqual(looping);
    expect(allowed).toEqual(['resolver', 'layer', 'finalizer']);
  });

  test('have names that the limits of Lambda and EventBridge admit for the longest stage', () => {
    const longest = (type: string, property: string): number => {
      const names = template.ofType(type).map(([, properties]) => String(properties[property]));
      return Math.max(...names.map((name) => name.replace('-prod-', `-${'a'.repeat(39)}-`).length));
    };
    expect(longest('AWS::Lambda::Function', 'FunctionName')).toBe(64);
    expect(longest('AWS::Events::Rule', 'Name')).toBeLessThanOrEqual(64);
  });

  // They contain no source, source map or dependency.
  test('have packages with the bundle and nothing else', async () => {
    for (const name of FUNCTIONS)
      expect(namesInZip(await template.zip(name))).toEqual([`dist/functions/${name}/index.mjs`]);
  });

  test('have variables for exactly the queues and secrets of their roles', () => {
    for (const name of FUNCTIONS) {
      const given = Object.entries(template.variables(name))
        .filter(([variable]) => /_QUEUE_URL$|_SECRET$/.test(variable))
        .map(([, value]) => (value as { Ref: string }).Ref)
        .filter((id) => id !== 'AWS::NoValue');
      const named = template
        .statements(template.roleOf(name))
        .flatMap(({ Resource: resources }) =>
          QUEUES.concat('CredentialsSecret', 'WebhookSecret').filter((id) =>
            JSON.stringify(resources).includes(`"${id}"`),
          ),
        );
      expect({ name, given: new Set(given) }).toEqual({ name, given: new Set(named) });
    }
  });

  test.for(FUNCTIONS)('have exactly the variables that they read: %s', async (name) => {
    const source = await readFile(join(import.meta.dirname, '../../../functions', `${name}.ts`), 'utf8');
    const [, wanted = ''] = /readEnvironment\(\s*process\.env,([^)]*)\)/.exec(source) ?? [];
    const read = new Set<string>();
    // A variable is looked up as an own property.
    const environment = new Proxy({}, { getOwnPropertyDescriptor: (_, variable) => void read.add(String(variable)) });
    const names = [...wanted.matchAll(/'(\w+)'/g)].map(([, key]) => key as keyof Environment);
    expect(() => readEnvironment(environment, ...names)).toThrow('is not set');
    const given = Object.keys(template.variables(name)).filter((variable) => variable.startsWith('MIRROR_SYNC_'));
    expect(new Set(given)).toEqual(read);
  });

  test('keep logs for as long as the parameter says', () => {
    const groups = template.ofType('AWS::Logs::LogGroup').map(([, properties]) => properties);
    expect(groups.map(({ LogGroupName }) => LogGroupName)).toEqual(
      FUNCTIONS.map((name) => `/aws/lambda/mirror-sync-prod-${name}`),
    );
    expect(groups.map(({ RetentionInDays }) => RetentionInDays)).toEqual(FUNCTIONS.map(() => 30));
  });
});

const CONSUME = ['ChangeMessageVisibility', 'DeleteMessage', 'GetQueueAttributes', 'ReceiveMessage'];

/** The archive's bucket, on condition that it belongs to this account. */
const IN_BUCKET = { StringEquals: { 'aws:ResourceAccount': ref('AWS::AccountId') } };
const inBucket = (...permissions: readonly string[]): string[] =>
  permissions.map((one) => `${one} if ${JSON.stringify(IN_BUCKET)}`);
const LIST_ARCHIVE = `s3:ListBucket \${ArchiveBucket} if ${JSON.stringify({ ...IN_BUCKET, StringLikeIfExists: { 's3:prefix': '*' } })}`;

function rights(log: string, rest: readonly string[]): string[] {
  return [`logs:CreateLogStream ${log}`, `logs:PutLogEvents ${log}`, ...rest].toSorted();
}

describe('the roles', () => {
  // This list is complete. A change that adds a permission must add it here.
  test('give each function exactly the permissions that it needs', () => {
    expect(template.permissions('resolver')).toEqual(
      rights('ResolverLogGroup', [
        ...CONSUME.map((action) => `sqs:${action} ResolveQueue`),
        ...[...QUEUES, 'Undelivered'].map((queue) => `sqs:SendMessage ${queue}`),
        ...inBucket(
          's3:GetObject config/mirror.yaml',
          's3:GetObject config/trusted_root.json',
          's3:GetObject blobs/*',
          's3:GetObject .mirror/receipts/*',
          's3:GetObject repositories/*',
          's3:GetObject .mirror/members/*',
          's3:PutObject blobs/*',
          's3:PutObject .mirror/receipts/*',
          's3:GetObject .mirror/runs/*',
          's3:PutObject .mirror/runs/*',
          's3:ListBucketMultipartUploads ${ArchiveBucket}',
        ),
        LIST_ARCHIVE,
        'events:PutEvents arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/default',
        'secretsmanager:GetSecretValue CredentialsSecret',
      ]),
    );
    expect(template.permissions('layer')).toEqual(
      rights('LayerLogGroup', [
        ...CONSUME.map((action) => `sqs:${action} LayerQueue`),
        'sqs:SendMessage LayerQueue',
        'sqs:SendMessage FinalizeQueue',
        ...inBucket(
          's3:GetObject config/mirror.yaml',
          's3:GetObject blobs/*',
          's3:PutObject blobs/*',
          's3:DeleteObject blobs/*',
          's3:AbortMultipartUpload blobs/*',
          's3:ListMultipartUploadParts blobs/*',
          's3:GetObject .mirror/receipts/*',
          's3:PutObject .mirror/receipts/*',
          's3:DeleteObject .mirror/receipts/*',
          's3:ListBucketMultipartUploads ${ArchiveBucket}',
        ),
        LIST_ARCHIVE,
        'secretsmanager:GetSecretValue CredentialsSecret',
      ]),
    );
    expect(template.permissions('finalizer')).toEqual(
      rights('FinalizerLogGroup', [
        ...CONSUME.map((action) => `sqs:${action} FinalizeQueue`),
        'sqs:SendMessage FinalizeQueue',
        ...inBucket(
          's3:GetObject blobs/*',
          's3:GetObject .mirror/receipts/*',
          's3:GetObject repositories/*',
          's3:PutObject repositories/*',
          's3:PutObject .mirror/members/*',
          's3:GetObject .mirror/runs/*',
          's3:PutObject .mirror/runs/*',
        ),
        LIST_ARCHIVE,
        'events:PutEvents arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/default',
      ]),
    );
    expect(template.permissions('webhook')).toEqual(
      rights('WebhookLogGroup', [
        'sqs:SendMessage ResolveQueue',
        'sqs:SendMessage Undelivered',
        ...inBucket('s3:GetObject config/mirror.yaml'),
        LIST_ARCHIVE,
        'secretsmanager:GetSecretValue WebhookSecret',
      ]),
    );
    expect(template.permissions('dead-letters')).toEqual(
      rights('DeadDashlettersLogGroup', [
        ...DEAD_LETTERS.flatMap((queue) => CONSUME.map((action) => `sqs:${action} ${queue}`)),
        'sqs:SendMessage FinalizeQueue',
        ...inBucket('s3:GetObject .mirror/runs/*', 's3:PutObject .mirror/runs/*'),
        LIST_ARCHIVE,
        'events:PutEvents arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/default',
      ]),
    );
  });

  test('let the function of finished runs write summaries, and delete records of open runs only', () => {
    expect(template.permissions('runs')).toEqual(
      rights('RunsLogGroup', [
        'sqs:SendMessage FinalizeQueue',
        ...inBucket(
          's3:GetObject .mirror/runs/*',
          's3:PutObject .mirror/runs/*',
          's3:DeleteObject .mirror/runs/.open/*',
        ),
        LIST_ARCHIVE,
        'events:PutEvents arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/default',
      ]),
    );
  });

  // This includes the roles of the framework: no statement allows every action or every resource.
  test('have no wildcard except for objects below a prefix', () => {
    const roles = template.ofType('AWS::IAM::Role');
    expect(roles).toHaveLength(7);
    for (const [id, role] of roles) {
      expect(role).not.toHaveProperty('ManagedPolicyArns');
      for (const { Effect, Action, Resource } of template.statements(id)) {
        expect(Effect).toBe('Allow');
        expect([Action].flat().filter((action) => action.includes('*'))).toEqual([]);
        for (const one of [Resource].flat().map(shortName))
          expect(one.replace(/(?:blobs|receipts|runs|runs\/\.open|repositories|members)\/\*$/, '')).not.toContain('*');
      }
    }
  });

  test('can be assumed only by their service', () => {
    for (const [id, role] of template.ofType('AWS::IAM::Role')) {
      const assume = (service: string, condition: object = {}): object => ({
        Version: '2012-10-17',
        Statement: [{ Effect: 'Allow', Principal: { Service: service }, Action: 'sts:AssumeRole', ...condition }],
      });
      const ofThisAccount = { Condition: { StringEquals: { 'aws:SourceAccount': ref('AWS::AccountId') } } };
      expect(role['AssumeRolePolicyDocument']).toEqual(
        id === 'ScheduleRole' ? assume('scheduler.amazonaws.com', ofThisAccount) : assume('lambda.amazonaws.com'),
      );
      expect(role['PermissionsBoundary']).toEqual(NONE);
    }
  });
});

describe('cfn-lint', () => {
  test.skipIf(CFN_LINT === undefined)('reports nothing (skipped if it is not installed)', async () => {
    expect(await lint(template)).toEqual({ stdout: '', stderr: '' });
  });
});
