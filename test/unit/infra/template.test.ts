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

describe('the queues', () => {
  // A message that cannot be handled must not hold up its group for ever, and must not be lost.
  test('each is FIFO at high throughput, and has a dead-letter queue of its own', () => {
    for (const [index, id] of QUEUES.entries()) {
      expect(template.properties(id)).toMatchObject({
        QueueName: expect.stringMatching(/\.fifo$/),
        FifoQueue: true,
        FifoThroughputLimit: 'perMessageGroupId',
        DeduplicationScope: 'messageGroup',
        SqsManagedSseEnabled: true,
        RedrivePolicy: { deadLetterTargetArn: { 'Fn::GetAtt': [DEAD_LETTERS[index], 'Arn'] }, maxReceiveCount: 5 },
      });
    }
    for (const id of DEAD_LETTERS) {
      expect(template.properties(id)).toMatchObject({ FifoQueue: true, SqsManagedSseEnabled: true });
      expect(template.properties(id)).not.toHaveProperty('RedrivePolicy');
    }
    const periods = [...QUEUES, ...DEAD_LETTERS].map((id) => template.properties(id)['MessageRetentionPeriod']);
    expect(new Set(periods)).toEqual(new Set([14 * 24 * 3600]));
    expect(template.ofType('AWS::SQS::Queue')).toHaveLength(6);
  });

  // A message must not become visible to others while it is being handled (Lambda, "Using Lambda with Amazon SQS").
  test('messages stay out of sight for as long as their function may need', () => {
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
  test('run on Node.js 24 on arm64, each from its own bundle and in its own role', () => {
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

  // Lambda would stop a large layer at its sixteenth continuation. Whoever sends itself nothing stays guarded.
  test('those that send themselves messages may', () => {
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
    expect(allowed).toEqual(['resolver', 'layer']);
  });

  // What is shipped is what was built: no source, no map, no package.
  test('a package has the bundle and nothing else', async () => {
    for (const name of FUNCTIONS)
      expect(namesInZip(await template.zip(name))).toEqual([`dist/functions/${name}/index.mjs`]);
  });

  // A function is told of nothing that its role cannot reach, and of everything that it can.
  test('the queues and secrets that a function is told of are those that its role names', () => {
    for (const name of FUNCTIONS) {
      const told = Object.entries(template.variables(name))
        .filter(([variable]) => /_QUEUE_URL$|_SECRET$/.test(variable))
        .map(([, value]) => (value as { Ref: string }).Ref);
      const named = template
        .statements(template.roleOf(name))
        .flatMap(({ Resource: resources }) =>
          QUEUES.concat('CredentialsSecret', 'WebhookSecret').filter((id) =>
            JSON.stringify(resources).includes(`"${id}"`),
          ),
        );
      expect({ name, told: new Set(told) }).toEqual({ name, told: new Set(named) });
    }
  });

  // No variable is forgotten, misspelt or left over.
  test.for(FUNCTIONS)('%s is told what it reads, and nothing else', async (name) => {
    const source = await readFile(join(import.meta.dirname, '../../../functions', `${name}.ts`), 'utf8');
    const [, wanted = ''] = /readEnvironment\(\s*process\.env,([^)]*)\)/.exec(source) ?? [];
    const read = new Set<string>();
    const environment = new Proxy({}, { get: (_, variable) => void read.add(String(variable)) });
    const names = [...wanted.matchAll(/'(\w+)'/g)].map(([, key]) => key as keyof Environment);
    expect(() => readEnvironment(environment, ...names)).toThrow('is not set');
    const told = Object.keys(template.variables(name)).filter((variable) => variable.startsWith('MIRROR_SYNC_'));
    expect(new Set(told)).toEqual(read);
  });

  test('logs are kept for as long as the parameter says', () => {
    const groups = template.ofType('AWS::Logs::LogGroup').map(([, properties]) => properties);
    expect(groups.map(({ LogGroupName }) => LogGroupName)).toEqual(
      FUNCTIONS.map((name) => `/aws/lambda/mirror-sync-prod-${name}`),
    );
    expect(groups.map(({ RetentionInDays }) => RetentionInDays)).toEqual(FUNCTIONS.map(() => 30));
  });
});

const CONSUME = ['ChangeMessageVisibility', 'DeleteMessage', 'GetQueueAttributes', 'ReceiveMessage'];

function rights(log: string, rest: readonly string[]): string[] {
  return [`logs:CreateLogStream ${log}`, `logs:PutLogEvents ${log}`, ...rest].toSorted();
}

describe('the roles', () => {
  // The whole of what each function may do. Whoever gives one more has to say so here.
  test('give each function what it needs and no more', () => {
    expect(template.permissions('resolver')).toEqual(
      rights('ResolverLogGroup', [
        ...CONSUME.map((action) => `sqs:${action} ResolveQueue`),
        ...QUEUES.map((queue) => `sqs:SendMessage ${queue}`),
        's3:GetObject config/mirror.yaml',
        's3:GetObject blobs/*',
        's3:GetObject .mirror/receipts/*',
        's3:GetObject repositories/*',
        's3:PutObject blobs/*',
        's3:GetObject .mirror/runs/*',
        's3:PutObject .mirror/runs/*',
        's3:ListBucket ${ArchiveBucket}',
        's3:ListBucketMultipartUploads ${ArchiveBucket}',
        'secretsmanager:GetSecretValue CredentialsSecret',
      ]),
    );
    expect(template.permissions('layer')).toEqual(
      rights('LayerLogGroup', [
        ...CONSUME.map((action) => `sqs:${action} LayerQueue`),
        'sqs:SendMessage LayerQueue',
        'sqs:SendMessage FinalizeQueue',
        's3:GetObject config/mirror.yaml',
        's3:GetObject blobs/*',
        's3:PutObject blobs/*',
        's3:DeleteObject blobs/*',
        's3:AbortMultipartUpload blobs/*',
        's3:ListMultipartUploadParts blobs/*',
        's3:GetObject .mirror/receipts/*',
        's3:PutObject .mirror/receipts/*',
        's3:DeleteObject .mirror/receipts/*',
        's3:ListBucket ${ArchiveBucket}',
        's3:ListBucketMultipartUploads ${ArchiveBucket}',
        'secretsmanager:GetSecretValue CredentialsSecret',
      ]),
    );
    expect(template.permissions('finalizer')).toEqual(
      rights('FinalizerLogGroup', [
        ...CONSUME.map((action) => `sqs:${action} FinalizeQueue`),
        's3:GetObject blobs/*',
        's3:GetObject .mirror/receipts/*',
        's3:GetObject repositories/*',
        's3:PutObject repositories/*',
        's3:GetObject .mirror/runs/*',
        's3:PutObject .mirror/runs/*',
        's3:ListBucket ${ArchiveBucket}',
        'events:PutEvents arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/default',
      ]),
    );
    expect(template.permissions('webhook')).toEqual(
      rights('WebhookLogGroup', [
        'sqs:SendMessage ResolveQueue',
        's3:GetObject config/mirror.yaml',
        's3:ListBucket ${ArchiveBucket}',
        'secretsmanager:GetSecretValue WebhookSecret',
      ]),
    );
    expect(template.permissions('dead-letters')).toEqual(
      rights('DeadDashlettersLogGroup', [
        ...DEAD_LETTERS.flatMap((queue) => CONSUME.map((action) => `sqs:${action} ${queue}`)),
        'sqs:SendMessage FinalizeQueue',
        's3:GetObject .mirror/runs/*',
        's3:PutObject .mirror/runs/*',
        's3:ListBucket ${ArchiveBucket}',
        'events:PutEvents arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/default',
      ]),
    );
  });

  // Also of what the framework adds: nothing is allowed to do everything, or something to everything.
  test('have no wildcard but for what lies under a prefix', () => {
    const roles = template.ofType('AWS::IAM::Role');
    expect(roles).toHaveLength(6);
    for (const [id, role] of roles) {
      expect(role).not.toHaveProperty('ManagedPolicyArns');
      for (const { Effect, Action, Resource } of template.statements(id)) {
        expect(Effect).toBe('Allow');
        expect([Action].flat().filter((action) => action.includes('*'))).toEqual([]);
        for (const one of [Resource].flat().map(shortName))
          expect(one.replace(/(?:blobs|receipts|runs|repositories)\/\*$/, '')).not.toContain('*');
      }
    }
  });

  test('can be taken by nobody but the service that they are for', () => {
    for (const [id, role] of template.ofType('AWS::IAM::Role')) {
      const service = id === 'ScheduleRole' ? 'scheduler.amazonaws.com' : 'lambda.amazonaws.com';
      expect(role['AssumeRolePolicyDocument']).toMatchObject({
        Statement: [{ Effect: 'Allow', Principal: { Service: service }, Action: 'sts:AssumeRole' }],
      });
    }
  });
});

describe('the bucket', () => {
  test('is encrypted, closed, reached by TLS only, tidied up, and outlives the stack', () => {
    expect(template.resources['ArchiveBucket']).toMatchObject({
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        BucketEncryption: {
          ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }],
        },
        PublicAccessBlockConfiguration: {
          BlockPublicAcls: true,
          BlockPublicPolicy: true,
          IgnorePublicAcls: true,
          RestrictPublicBuckets: true,
        },
        LifecycleConfiguration: {
          Rules: [
            { Status: 'Enabled', Prefix: 'blobs/', AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 } },
            { Status: 'Enabled', Prefix: '.mirror/runs/', ExpirationInDays: 90 },
          ],
        },
      },
    });
    expect(template.properties('ArchiveBucket')).not.toHaveProperty('VersioningConfiguration');
    expect(template.properties('ArchiveBucketPolicy')).toMatchObject({
      PolicyDocument: {
        Statement: [{ Effect: 'Deny', Principal: '*', Condition: { Bool: { 'aws:SecureTransport': 'false' } } }],
      },
    });
  });
});

describe('what starts and watches it', () => {
  // A try that Scheduler repeats says the same: the resolver makes no second run of it.
  test('the schedule tells the resolver which execution it is, and may start nothing else', () => {
    const { Target, ScheduleExpression } = template.properties('Schedule') as {
      Target: { Input: string };
      ScheduleExpression: string;
    };
    expect(ScheduleExpression).toBe('rate(6 hours)');
    expect(Target).toMatchObject({
      Arn: { 'Fn::GetAtt': ['ResolverLambdaFunction', 'Arn'] },
      RoleArn: { 'Fn::GetAtt': ['ScheduleRole', 'Arn'] },
    });
    expect(JSON.parse(Target.Input)).toEqual({
      schedule: { arn: '<aws.scheduler.schedule-arn>', time: '<aws.scheduler.scheduled-time>' },
    });
    expect(template.statements('ScheduleRole')).toEqual([
      {
        Effect: 'Allow',
        Action: 'lambda:InvokeFunction',
        Resource: { 'Fn::GetAtt': ['ResolverLambdaFunction', 'Arn'] },
      },
    ]);
  });

  test('alarms watch every dead-letter queue, the age of every queue, the errors of every function, and throttling', () => {
    const watched = template.ofType('AWS::CloudWatch::Alarm').map(([, alarm]) => {
      const [dimension] = (alarm['Dimensions'] ?? []) as { Value: unknown }[];
      return `${String(alarm['MetricName'])} ${dimension === undefined ? 'account' : shortName(dimension.Value)}`;
    });
    expect(watched.toSorted()).toEqual(
      [
        ...DEAD_LETTERS.map((queue) => `NumberOfMessagesReceived ${queue}`),
        ...QUEUES.map((queue) => `ApproximateAgeOfOldestMessage ${queue}`),
        ...template.ofType('AWS::Lambda::Function').map(([id]) => `Errors ${id}`),
        'Throttles account',
      ].toSorted(),
    );
  });

  test('the dashboard is one that CloudWatch can read', () => {
    const { 'Fn::Sub': body } = template.properties('Dashboard')['DashboardBody'] as { 'Fn::Sub': string };
    const names = [...body.matchAll(/\$\{(\w+)[.}]/g)].map(([, name]) => name);
    for (const name of names) expect(template.resources).toHaveProperty(name!);
    expect(JSON.parse(body.replaceAll(/\$\{[^}]+\}/g, 'x'))).toMatchObject({ widgets: expect.any(Array) });
  });
});

describe('cfn-lint', () => {
  test.skipIf(CFN_LINT === undefined)('has nothing to say (skipped where it is not installed)', async () => {
    expect(await lint(template)).toEqual({ stdout: '', stderr: '' });
  });
});
