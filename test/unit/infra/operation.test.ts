import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEAD_LETTERS, packaged, type Packaged, type Properties, QUEUES } from '../../kit/packaged.ts';

const TOPIC = 'arn:aws:sns:eu-central-1:123456789012:on-call';

let template: Packaged;

beforeAll(async () => {
  template = await packaged({ alarmTopic: TOPIC });
});

afterAll(() => template[Symbol.asyncDispose]());

const arn = (id: string): object => ({ 'Fn::GetAtt': [id, 'Arn'] });
const ref = (id: string): object => ({ Ref: id });
const sub = (text: string): object => ({ 'Fn::Sub': text });

describe('the bucket', () => {
  test('is encrypted, private, versioned and cleaned by lifecycle rules, and outlives the stack', () => {
    const enabled = { Status: 'Enabled' };
    expect(template.resources['ArchiveBucket']).toEqual({
      Type: 'AWS::S3::Bucket',
      // A first deployment that is rolled back leaves no bucket, so the next one can use its name.
      DeletionPolicy: 'RetainExceptOnCreate',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        BucketName: ref('AWS::NoValue'),
        BucketEncryption: {
          ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }],
        },
        PublicAccessBlockConfiguration: {
          BlockPublicAcls: true,
          BlockPublicPolicy: true,
          IgnorePublicAcls: true,
          RestrictPublicBuckets: true,
        },
        OwnershipControls: { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
        VersioningConfiguration: { Status: 'Enabled' },
        LifecycleConfiguration: {
          Rules: [
            {
              Id: 'unfinished-uploads',
              ...enabled,
              Prefix: 'blobs/',
              AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 },
              Transitions: ref('AWS::NoValue'),
            },
            { Id: 'run-reports', ...enabled, Prefix: '.mirror/runs/', ExpirationInDays: 90 },
            {
              Id: 'old-references',
              ...enabled,
              Prefix: 'repositories/',
              NoncurrentVersionExpiration: { NoncurrentDays: 30 },
            },
            {
              Id: 'old-configuration',
              ...enabled,
              Prefix: 'config/',
              NoncurrentVersionExpiration: { NoncurrentDays: 30 },
            },
            {
              Id: 'old-content',
              ...enabled,
              Prefix: 'blobs/',
              NoncurrentVersionExpiration: { NoncurrentDays: 1 },
              ExpiredObjectDeleteMarker: true,
            },
            {
              Id: 'old-receipts-and-reports',
              ...enabled,
              Prefix: '.mirror/',
              NoncurrentVersionExpiration: { NoncurrentDays: 1 },
              ExpiredObjectDeleteMarker: true,
            },
          ],
        },
      },
    });
  });

  test('denies every request without TLS, to itself and to its objects', () => {
    expect(template.resources['ArchiveBucketPolicy']).toEqual({
      Type: 'AWS::S3::BucketPolicy',
      DeletionPolicy: 'RetainExceptOnCreate',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        Bucket: ref('ArchiveBucket'),
        PolicyDocument: {
          Version: '2012-10-17',
          Statement: [
            {
              Sid: 'TlsOnly',
              Effect: 'Deny',
              Principal: '*',
              Action: 's3:*',
              Resource: [arn('ArchiveBucket'), sub('${ArchiveBucket.Arn}/*')],
              Condition: { Bool: { 'aws:SecureTransport': 'false' } },
            },
          ],
        },
      },
    });
  });
});

describe('the stack', () => {
  // A parameter with another bucket would move the archive to an empty one.
  test('refuses to replace resources that hold data, and no others', () => {
    const everything = { Effect: 'Allow', Principal: '*', Action: ['Update:*'], Resource: '*' };
    expect(template.provider['stackPolicy']).toEqual([
      everything,
      { ...everything, Effect: 'Deny', Action: ['Update:Replace'], Resource: expect.any(Array) },
    ]);
    expect(template.protected).toEqual(template.withData);
  });

  test('has a tag on every resource, so that the bill can be split by deployment', () => {
    expect(template.provider['stackTags']).toEqual({ service: 'mirror-sync-prod' });
    expect(template.provider['tags']).toEqual({ service: 'mirror-sync-prod' });
  });
});

describe('the secrets', () => {
  test('start with 48 generated letters and digits for webhooks, and without credentials', () => {
    const KmsKeyId = ref('AWS::NoValue');
    expect(template.properties('WebhookSecret')).toEqual({
      Name: 'mirror-sync-prod-webhooks',
      Description: 'Verifies webhooks to mirror-sync-prod',
      KmsKeyId,
      GenerateSecretString: { PasswordLength: 48, ExcludePunctuation: true },
    });
    expect(template.properties('CredentialsSecret')).toEqual({
      Name: 'mirror-sync-prod-credentials',
      Description: 'Logins of mirror-sync-prod to registries, as a Docker config.json',
      KmsKeyId,
      SecretString: '{}',
    });
  });
});

describe('the triggers of runs', () => {
  // A repeated attempt of Scheduler has the same input, and the resolver starts one run for both.
  test('include a schedule that names its execution, keeps a failed start, and may start nothing else', () => {
    expect(template.properties('Schedule')).toEqual({
      Name: 'mirror-sync-prod',
      Description: 'Mirrors everything that mirror.yaml names',
      ScheduleExpression: 'rate(6 hours)',
      ScheduleExpressionTimezone: 'UTC',
      State: 'ENABLED',
      FlexibleTimeWindow: { Mode: 'OFF' },
      Target: {
        Arn: arn('ResolverLambdaFunction'),
        RoleArn: arn('ScheduleRole'),
        Input: '{"schedule":{"arn":"<aws.scheduler.schedule-arn>","time":"<aws.scheduler.scheduled-time>"}}',
        RetryPolicy: { MaximumRetryAttempts: 5, MaximumEventAgeInSeconds: 3600 },
        DeadLetterConfig: { Arn: arn('Undelivered') },
      },
    });
    expect(template.statements('ScheduleRole')).toEqual([
      { Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: arn('ResolverLambdaFunction') },
      { Effect: 'Allow', Action: 'sqs:SendMessage', Resource: arn('Undelivered') },
    ]);
  });

  test('include pushes to ECR in this account, and failed ones are kept', () => {
    const [[, rule] = []] = template.ofType('AWS::Events::Rule').filter(([id]) => id.startsWith('Mirrorsync'));
    expect(rule).toMatchObject({
      EventPattern: {
        source: ['aws.ecr'],
        'detail-type': ['ECR Image Action'],
        detail: { 'action-type': ['PUSH'], result: ['SUCCESS'] },
      },
      State: 'ENABLED',
      Targets: [{ Arn: arn('WebhookLambdaFunction'), DeadLetterConfig: { Arn: arn('Undelivered') } }],
    });
    expect(Object.keys(rule?.['EventPattern'] as object)).toEqual(['source', 'detail-type', 'detail']);
  });

  test('include the public URL with its own reserved concurrency', () => {
    expect(template.functions.get('webhook')?.['ReservedConcurrentExecutions']).toBe(5);
    const reserved = [...template.functions.values()].filter((each) => 'ReservedConcurrentExecutions' in each);
    expect(reserved).toHaveLength(1);
  });
});

const ACTIONS = { AlarmActions: [TOPIC], OKActions: [TOPIC] };

/** An alarm on one metric. */
function alarm(name: string, expected: Properties): Properties {
  return {
    AlarmName: `mirror-sync-prod-${name}`,
    AlarmDescription: expect.any(String),
    ...ACTIONS,
    EvaluationPeriods: 1,
    TreatMissingData: 'notBreaching',
    ...expected,
  };
}

const above = (Threshold: number): Properties => ({ ComparisonOperator: 'GreaterThanThreshold', Threshold });
const from = (Threshold: number): Properties => ({ ComparisonOperator: 'GreaterThanOrEqualToThreshold', Threshold });

function queueMetric(MetricName: string, id: string): Properties {
  const Dimensions = [{ Name: 'QueueName', Value: { 'Fn::GetAtt': [id, 'QueueName'] } }];
  return { Namespace: 'AWS/SQS', MetricName, Dimensions };
}

function lambdaMetric(MetricName: string, id: string): Properties {
  return { Namespace: 'AWS/Lambda', MetricName, Dimensions: [{ Name: 'FunctionName', Value: ref(id) }] };
}

function ownMetric(MetricName: string): Properties {
  return { Namespace: 'MirrorSync', MetricName, Dimensions: [{ Name: 'service', Value: 'mirror-sync-prod' }] };
}

/** A metric of an expression. */
function term(Id: string, Metric: Properties, Period: number): Properties {
  return { Id, ReturnData: false, MetricStat: { Stat: 'Sum', Period, Metric } };
}

const FUNCTION_IDS = {
  resolver: 'ResolverLambdaFunction',
  layer: 'LayerLambdaFunction',
  finalizer: 'FinalizerLambdaFunction',
  webhook: 'WebhookLambdaFunction',
  deadLetters: 'DeadDashlettersLambdaFunction',
  runs: 'RunsLambdaFunction',
};

describe('the alarms', () => {
  const sum = (Period: number): Properties => ({ Statistic: 'Sum', Period });
  const max = { Statistic: 'Maximum', Period: 300 };
  const terms = (metric: string, period: number): Properties[] =>
    Object.entries(FUNCTION_IDS).map(([id, logical]) => term(id, lambdaMetric(metric, logical), period));
  const received = (prefix: string, id: string, metric: string): Properties =>
    term(prefix, queueMetric(metric, id), 86_400);

  const EXPECTED: Readonly<Record<string, Properties>> = {
    ImagesFailedAlarm: alarm('images-failed', { ...ownMetric('ImagesFailed'), ...sum(21_600), ...from(1) }),
    MessagesFailedAlarm: alarm('messages-failed', { ...ownMetric('MessagesFailed'), ...sum(900), ...from(20) }),
    ConfigurationRefusedAlarm: alarm('configuration-refused', {
      ...ownMetric('ConfigurationRefused'),
      ...sum(300),
      ...above(0),
    }),
    NotAttestedAlarm: alarm('not-attested', { ...ownMetric('ImagesNotAttested'), ...sum(900), ...above(0) }),
    ...Object.fromEntries(
      ['Resolve', 'Layer', 'Finalize'].flatMap((name) => {
        const word = name.toLowerCase();
        const dead = `${name}DeadLetters`;
        return [
          [
            `${name}DeadLettersAlarm`,
            alarm(`${word}-dead-letters`, {
              ...queueMetric('NumberOfMessagesReceived', dead),
              ...sum(300),
              ...above(0),
            }),
          ],
          [
            `${name}DeadLettersAgeAlarm`,
            alarm(`${word}-dead-letters-age`, {
              ...queueMetric('ApproximateAgeOfOldestMessage', dead),
              ...max,
              ...above(900),
            }),
          ],
          [
            `${name}AgeAlarm`,
            alarm(`${word}-age`, {
              ...queueMetric('ApproximateAgeOfOldestMessage', `${name}Queue`),
              ...max,
              ...above(21_600),
            }),
          ],
        ];
      }),
    ),
    MessageAgeAlarm: alarm('message-age', {
      ...ownMetric('MessageAge'),
      Statistic: 'Maximum',
      Period: 3_600,
      ...above(21_600),
    }),
    UndeliveredAlarm: alarm('undelivered', {
      ...queueMetric('ApproximateNumberOfMessagesVisible', 'Undelivered'),
      ...max,
      ...above(0),
    }),
    ...Object.fromEntries(
      Object.values(FUNCTION_IDS).map((id) => {
        const name = id.replace('LambdaFunction', '').replace('Dashl', 'L');
        const word = name === 'DeadLetters' ? 'dead-letters' : name.toLowerCase();
        const threshold = name === 'DeadLetters' ? 1 : 3;
        return [
          `${name}ErrorsAlarm`,
          alarm(`${word}-errors`, { ...lambdaMetric('Errors', id), ...sum(900), ...from(threshold) }),
        ];
      }),
    ),
    RunsIncompleteAlarm: alarm('runs-incomplete', { ...ownMetric('RunsIncomplete'), ...sum(300), ...above(0) }),
    WebhookUrlAlarm: alarm('webhook-url', {
      ...lambdaMetric('Url5xxCount', 'WebhookLambdaFunction'),
      ...sum(900),
      ...from(3),
    }),
    HeartbeatAlarm: alarm('no-run', {
      ...ownMetric('RunsStarted'),
      ...sum(21_600),
      EvaluationPeriods: 2,
      ComparisonOperator: 'LessThanThreshold',
      Threshold: 1,
      TreatMissingData: 'breaching',
    }),
    ThrottlesAlarm: alarm('throttles', {
      Metrics: [
        {
          Id: 'throttles',
          Label: 'throttled invocations',
          Expression:
            'FILL(resolver, 0) + FILL(layer, 0) + FILL(finalizer, 0) + FILL(webhook, 0) + FILL(deadLetters, 0) + FILL(runs, 0)',
        },
        ...terms('Throttles', 300),
      ],
      EvaluationPeriods: 3,
      ...above(0),
    }),
    LambdaBudgetAlarm: alarm('lambda-budget', {
      Metrics: [
        {
          Id: 'gbSeconds',
          Label: 'GB-seconds',
          Expression:
            '(FILL(resolver, 0) * 512 + FILL(layer, 0) * 1769 + FILL(finalizer, 0) * 512 + ' +
            'FILL(webhook, 0) * 256 + FILL(deadLetters, 0) * 256 + FILL(runs, 0) * 256) / 1024000',
        },
        ...terms('Duration', 86_400),
      ],
      ...above(100_000),
    }),
    SqsBudgetAlarm: alarm('sqs-budget', {
      Metrics: [
        {
          Id: 'requests',
          Label: 'requests',
          Expression:
            '3 * (FILL(resolveReceived, 0) + FILL(layerReceived, 0) + FILL(finalizeReceived, 0)) + ' +
            'FILL(resolveEmpty, 0) + FILL(layerEmpty, 0) + FILL(finalizeEmpty, 0)',
        },
        received('resolveReceived', 'ResolveQueue', 'NumberOfMessagesReceived'),
        received('layerReceived', 'LayerQueue', 'NumberOfMessagesReceived'),
        received('finalizeReceived', 'FinalizeQueue', 'NumberOfMessagesReceived'),
        received('resolveEmpty', 'ResolveQueue', 'NumberOfEmptyReceives'),
        received('layerEmpty', 'LayerQueue', 'NumberOfEmptyReceives'),
        received('finalizeEmpty', 'FinalizeQueue', 'NumberOfEmptyReceives'),
      ],
      ...above(3_000_000),
    }),
  };

  test('are exactly the listed ones', () => {
    const alarms = template.ofType('AWS::CloudWatch::Alarm').map(([id]) => id);
    expect(alarms.toSorted()).toEqual(Object.keys(EXPECTED).toSorted());
  });

  test.for(Object.keys(EXPECTED))('have their metric, statistic, period, threshold and actions: %s', (id) => {
    expect(template.properties(id)).toEqual(EXPECTED[id]);
  });

  test('include a message for each failed image, with its reference, code, reason and run', () => {
    expect(template.properties('ImageFailedRule')).toEqual({
      Name: 'mirror-sync-prod-image-failed',
      Description: 'Sends each failed image of mirror-sync-prod to the alarm topic',
      EventBusName: 'default',
      EventPattern: {
        source: ['mirror-sync'],
        'detail-type': ['Image Failed'],
        detail: { service: ['mirror-sync-prod'] },
      },
      Targets: [
        {
          Id: 'alarm-topic',
          Arn: TOPIC,
          InputTransformer: {
            InputPathsMap: {
              reference: '$.detail.reference',
              code: '$.detail.code',
              reason: '$.detail.reason',
              run: '$.detail.run',
            },
            InputTemplate: '"<reference> failed (<code>): <reason> - run <run>"',
          },
          RetryPolicy: { MaximumRetryAttempts: 20, MaximumEventAgeInSeconds: 3600 },
          DeadLetterConfig: { Arn: arn('Undelivered') },
        },
      ],
    });
  });
});

describe('the receivers of summaries', () => {
  test('are a topic and a signed URL, if they are given', async () => {
    await using given = await packaged({ runTopic: TOPIC, runWebhook: 'https://hooks.example/run?x=1' });
    expect(given.properties('RunFinishedRule')).toMatchObject({
      EventPattern: {
        source: ['mirror-sync'],
        'detail-type': ['Run Finished'],
        detail: { service: ['mirror-sync-prod'], notable: [true] },
      },
      Targets: [{ Arn: TOPIC, InputPath: '$.detail', DeadLetterConfig: { Arn: arn('Undelivered') } }],
    });
    expect(given.variables('runs')).toMatchObject({
      MIRROR_SYNC_RUN_WEBHOOK: 'https://hooks.example/run?x=1',
      MIRROR_SYNC_RUN_WEBHOOK_SECRET: ref('RunWebhookSecret'),
    });
    expect(given.permissions('runs')).toContain('secretsmanager:GetSecretValue RunWebhookSecret');
    expect(given.protected).toEqual(given.withData);
    expect(template.resources).not.toHaveProperty('RunFinishedRule');
    expect(template.resources).not.toHaveProperty('RunWebhookSecret');
  });

  test('get the summary from a check every five minutes', () => {
    const rules = template.ofType('AWS::Events::Rule').filter(([, rule]) => 'ScheduleExpression' in rule);
    expect(rules.map(([, rule]) => rule)).toMatchObject([
      { ScheduleExpression: 'rate(5 minutes)', State: 'ENABLED', Targets: [{ Arn: arn('RunsLambdaFunction') }] },
    ]);
  });
});

describe('the dashboard', () => {
  test('has the region in its name, because dashboards are global in an account', () => {
    expect(template.properties('Dashboard')['DashboardName']).toEqual(sub('mirror-sync-prod-${AWS::Region}'));
  });

  test('shows every alarm, and the waiting and in-flight messages of every queue', () => {
    const { 'Fn::Sub': body } = template.properties('Dashboard')['DashboardBody'] as { 'Fn::Sub': string };
    const names = [...body.matchAll(/\$\{(\w+)[.}]/g)].map(([, name]) => name);
    for (const name of names) expect(template.resources).toHaveProperty(name!);
    const { widgets } = JSON.parse(body) as { widgets: { type: string; properties: Properties }[] };
    const alarms = template.ofType('AWS::CloudWatch::Alarm').map(([id]) => `\${${id}.Arn}`);
    const shown = widgets.find(({ type }) => type === 'alarm')?.properties['alarms'] as string[];
    expect(shown.toSorted()).toEqual(alarms.toSorted());
    for (const metric of ['ApproximateNumberOfMessagesVisible', 'ApproximateNumberOfMessagesNotVisible'])
      expect(body).toContain(metric);
    for (const queue of [...QUEUES, ...DEAD_LETTERS]) expect(body).toContain(`\${${queue}.QueueName}`);
  });
});

describe('the saved log queries', () => {
  test('cover failures by code, one run, the slowest blobs, retries by registry and the cost by run', () => {
    const queries = template.ofType('AWS::Logs::QueryDefinition').map(([, properties]) => properties);
    expect(queries.map(({ Name }) => Name)).toEqual([
      'mirror-sync-prod/failures by code',
      'mirror-sync-prod/one run',
      'mirror-sync-prod/slowest blobs',
      'mirror-sync-prod/retries by registry',
      'mirror-sync-prod/cost by run',
    ]);
    const working = ['ResolverLogGroup', 'LayerLogGroup', 'FinalizerLogGroup', 'DeadDashlettersLogGroup'].map(ref);
    expect(queries.map(({ LogGroupNames }) => LogGroupNames)).toEqual([
      working,
      // The webhook starts a run, and the function of finished runs ends it.
      [...working, ref('WebhookLogGroup'), ref('RunsLogGroup')],
      [ref('LayerLogGroup')],
      working,
      working,
    ]);
  });
});
