import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

type Ask = (client: string, command: string, request: object) => Promise<unknown>;

const { refuseOtherArchive, refuseDroppedSecrets, refuseBucket, refuseReservations } = (await import(
  join(import.meta.dirname, '../../../infra/deployment-guard.js')
)) as {
  refuseOtherArchive: (ask: Ask, stack: string, guard: object) => Promise<void>;
  refuseDroppedSecrets: (ask: Ask, stack: string, guard: object) => Promise<void>;
  refuseBucket: (ask: Ask, region: string, guard: object) => Promise<void>;
  refuseReservations: (ask: Ask, nameOf: (id: string) => string, guard: object) => Promise<void>;
};

/** The responses of AWS by command. A command without a response fails, as without the permission. */
function aws(answers: Readonly<Record<string, unknown>>): Ask {
  return (_, command) => {
    const answer = answers[command];
    if (answer instanceof Error) return Promise.reject(answer);
    return answer === undefined ? Promise.reject(new Error('AccessDenied')) : Promise.resolve(answer);
  };
}

describe('the archive of an existing deployment', () => {
  const AUTO = 'mirror-sync-prod-archivebucket-1a2b3c4d5e6f';

  /** @param bucket the bucket that the stack created, where it did */
  const deployed = (archive: string, bucket?: string): Ask =>
    aws({
      DescribeStacks: { Stacks: [{ Outputs: [{ OutputKey: 'Archive', OutputValue: archive }] }] },
      ...(bucket === undefined
        ? {}
        : { DescribeStackResource: { StackResourceDetail: { PhysicalResourceId: bucket } } }),
    });
  const check = (ask: Ask, given: object): Promise<void> =>
    refuseOtherArchive(ask, 'mirror-sync-prod', { bucket: '', existingBucket: '', prefix: '', ...given });

  test.for([
    [deployed(`s3://${AUTO}/`, AUTO), {}],
    [deployed(`s3://${AUTO}/a/`, AUTO), { prefix: 'a/' }],
    [deployed('s3://named/', 'named'), { bucket: 'named' }],
    [deployed('s3://theirs/'), { existingBucket: 'theirs' }],
    // The operator takes over the bucket that a stack created.
    [deployed(`s3://${AUTO}/`, AUTO), { existingBucket: AUTO }],
  ] as const)('may be deployed again without a change (%#)', async ([ask, given]) => {
    await expect(check(ask, given)).resolves.toBeUndefined();
  });

  test.for([
    ['another bucket', deployed(`s3://${AUTO}/`, AUTO), { bucket: 'named' }, 's3://named/'],
    ['another prefix', deployed(`s3://${AUTO}/`, AUTO), { prefix: 'a/' }, `s3://${AUTO}/a/`],
    ['no prefix any more', deployed(`s3://${AUTO}/a/`, AUTO), {}, `s3://${AUTO}/`],
    ['a forgotten bucket', deployed('s3://named/', 'named'), {}, 's3://(a new bucket)/'],
    ['a forgotten existing bucket', deployed('s3://theirs/'), {}, 's3://(a new bucket)/'],
    ['a forgotten existing bucket with a name from AWS', deployed(`s3://${AUTO}/`), {}, 's3://(a new bucket)/'],
    ['another existing bucket', deployed('s3://theirs/'), { existingBucket: 'others' }, 's3://others/'],
  ] as const)('cannot change to %s, because the functions would start over', async ([, ask, given, wanted]) => {
    await expect(check(ask, given)).rejects.toThrow(`which mirror-sync-prod has, got ${wanted}; `);
  });

  test('is not compared before a first deployment, or after a failed one', async () => {
    await expect(check(aws({}), { bucket: 'named' })).resolves.toBeUndefined();
    await expect(check(aws({ DescribeStacks: { Stacks: [{}] } }), { bucket: 'named' })).resolves.toBeUndefined();
  });
});

describe('a secret of an existing deployment', () => {
  const CREDENTIALS = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:mirror-sync-prod-credentials-AbCdEf';
  const TOKENS = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:mirror-sync-prod-registry-tokens-AbCdEf';
  const OTHER = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:other-AbCdEf';

  /** @param deployed the ARNs of deployed secrets by their logical ids */
  const check = (
    deployed: Readonly<Record<string, string>>,
    given: object,
    status = 'CREATE_COMPLETE',
  ): Promise<void> =>
    refuseDroppedSecrets(
      (_, __, request) => {
        const { LogicalResourceId } = request as { readonly LogicalResourceId: string };
        const PhysicalResourceId = deployed[LogicalResourceId];
        return PhysicalResourceId === undefined
          ? Promise.reject(new Error('ValidationError'))
          : Promise.resolve({
              StackResourceDetail: { LogicalResourceId, PhysicalResourceId, ResourceStatus: status },
            });
      },
      'mirror-sync-prod',
      { credentialsSecret: '', droppedSecrets: [], deleteSecrets: false, ...given },
    );

  test('stays, and one that was never deployed or is deleted already may be missing', async () => {
    await expect(check({ RegistryTokens: TOKENS }, {})).resolves.toBeUndefined();
    const dropped = { droppedSecrets: ['RegistryTokens'] };
    await expect(check({}, dropped)).resolves.toBeUndefined();
    await expect(check({ RegistryTokens: TOKENS }, dropped, 'DELETE_COMPLETE')).resolves.toBeUndefined();
  });

  test('is not deleted with what is stored in it, unless the deployer asks for it', async () => {
    const deployed = { CredentialsSecret: CREDENTIALS, RegistryTokens: TOKENS };
    const dropped = {
      credentialsSecret: OTHER,
      droppedSecrets: ['CredentialsSecret', 'RegistryTokens', 'RunWebhookSecret'],
    };
    await expect(check(deployed, dropped)).rejects.toThrow(
      'deploy secrets: mirror-sync-prod has CredentialsSecret and RegistryTokens, which this deployment would delete with the ' +
        `stored text (${CREDENTIALS}, ${TOKENS}); give credentialsSecret, registry and registryAccess as in the last deployment ` +
        '(which keeps no --param), or add --param deleteSecrets=on',
    );
    await expect(check(deployed, { ...dropped, deleteSecrets: true })).resolves.toBeUndefined();
  });

  test('is not accepted as credentialsSecret, because the same deployment would delete it', async () => {
    const given = { credentialsSecret: CREDENTIALS, droppedSecrets: ['CredentialsSecret'], deleteSecrets: true };
    await expect(check({ CredentialsSecret: CREDENTIALS }, given)).rejects.toThrow(
      'deploy secrets: credentialsSecret is the secret that mirror-sync-prod has created (this deployment would delete it); ' +
        'leave credentialsSecret empty',
    );
  });
});

describe('an existing bucket', () => {
  const check = (answer: unknown): Promise<void> =>
    refuseBucket(aws({ HeadBucket: answer }), 'eu-central-1', { existingBucket: 'theirs' });
  const failure = (httpStatusCode: number, region?: string): Error =>
    Object.assign(new Error('no'), {
      $metadata: { httpStatusCode },
      $response: { headers: region === undefined ? {} : { 'x-amz-bucket-region': region } },
    });

  test('is accepted in the region of the deployment', async () => {
    await expect(check({ BucketRegion: 'eu-central-1' })).resolves.toBeUndefined();
    await expect(check(failure(403, 'eu-central-1'))).resolves.toBeUndefined();
    await expect(check({})).resolves.toBeUndefined();
  });

  test('is refused if it does not exist', async () => {
    await expect(check(failure(404))).rejects.toThrow('deploy archive: the bucket theirs does not exist; create it');
  });

  test.for([{ BucketRegion: 'us-west-2' }, failure(301, 'us-west-2'), failure(403, 'us-west-2')])(
    'is refused in another region (%#)',
    async (answer) => {
      await expect(check(answer)).rejects.toThrow(
        'expected the bucket theirs in eu-central-1, which is deployed to, but it is in us-west-2',
      );
    },
  );
});

describe('the reserved concurrency', () => {
  const nameOf = (id: string): string => `prod-${id}`;
  const check = (all: number, unreserved: number, own: number, wanted?: number): Promise<void> =>
    refuseReservations(
      aws({
        GetAccountSettings: {
          AccountLimit: { ConcurrentExecutions: all, UnreservedConcurrentExecutions: unreserved },
        },
        GetFunctionConcurrency: { ReservedConcurrentExecutions: own },
      }),
      nameOf,
      { reserved: wanted === undefined ? {} : { webhookConcurrency: wanted } },
    );

  test('is accepted if a hundred remain for other functions', async () => {
    await expect(check(1000, 1000, 0, 5)).resolves.toBeUndefined();
    await expect(check(1000, 105, 0, 5)).resolves.toBeUndefined();
    await expect(check(1000, 100, 5, 5)).resolves.toBeUndefined();
    await expect(check(10, 10, 0, undefined)).resolves.toBeUndefined();
    await expect(refuseReservations(aws({}), nameOf, { reserved: { webhookConcurrency: 5 } })).resolves.toBeUndefined();
  });

  test('is refused if AWS would refuse it, with the remedy', async () => {
    await expect(check(10, 10, 0, 5)).rejects.toThrow(
      'reserve concurrency: expected at most 0 for webhookConcurrency (the account has 10 in this region), got 5; ' +
        'add --param webhookConcurrency=off (nothing is reserved), or raise the quota',
    );
    await expect(check(1000, 102, 0, 5)).rejects.toThrow('expected at most 2');
  });

  test('includes the reservation of the registry, and the existing reservations of both', async () => {
    const own: Readonly<Record<string, number>> = { 'prod-webhook': 5, 'prod-registry': 10 };
    const ask: Ask = (_, command, request) =>
      Promise.resolve(
        command === 'GetAccountSettings'
          ? { AccountLimit: { ConcurrentExecutions: 1_000, UnreservedConcurrentExecutions: 103 } }
          : { ReservedConcurrentExecutions: own[(request as { FunctionName: string }).FunctionName] },
      );
    const of = (registryConcurrency: number): Promise<void> =>
      refuseReservations(ask, nameOf, { reserved: { webhookConcurrency: 5, registryConcurrency } });
    await expect(of(13)).resolves.toBeUndefined();
    await expect(of(14)).rejects.toThrow(
      'expected at most 18 for webhookConcurrency and registryConcurrency (the account has 1000 in this region), got 19; ' +
        'add --param webhookConcurrency=off --param registryConcurrency=off',
    );
  });
});
