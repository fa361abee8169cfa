import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CFN_LINT, FUNCTIONS, lint, namesInZip, packaged, type Packaged } from '../../kit/packaged.ts';

const ROOT = join(import.meta.dirname, '../../..');

const CONFIG = 'version: 1\nmirrors:\n  - source: alpine\n    tags: [latest]\n';

/** The service with everything that a user may bring. */
let template: Packaged;

beforeAll(async () => {
  const given = {
    existingBucket: 'a-bucket-of-mine',
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
  };
  template = await packaged(given, CONFIG);
});

afterAll(() => template[Symbol.asyncDispose]());

describe('the parameters', () => {
  // A bucket, a secret and a topic that are there already are used, and none is created.
  test('what a user brings takes the place of what would be created', () => {
    expect(template.resources).not.toHaveProperty('ArchiveBucket');
    expect(template.resources).not.toHaveProperty('ArchiveBucketPolicy');
    expect(template.resources).not.toHaveProperty('CredentialsSecret');
    expect(template.ofType('AWS::Lambda::Url')).toEqual([]);
    expect(template.outputs['Archive']?.Value).toBe('s3://a-bucket-of-mine/mirror/');
    expect(template.variables('layer')).toMatchObject({
      MIRROR_SYNC_ARCHIVE: 's3://a-bucket-of-mine/mirror/',
      MIRROR_SYNC_CONFIG: 'mirror.yaml',
      MIRROR_SYNC_CREDENTIALS_SECRET: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:mine-AbCdEf',
      MIRROR_SYNC_LANES: '8',
    });
    const permissions = template.permissions('finalizer');
    expect(permissions).toContain('s3:PutObject a-bucket-of-mine/mirror/repositories/*');
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
    expect(template.properties('ThrottlesAlarm')['AlarmActions']).toEqual([
      'arn:aws:sns:eu-central-1:123456789012:mine',
    ]);
    expect(template.properties('Schedule')['ScheduleExpression']).toBe('cron(0 3 * * ? *)');
    expect(template.functions.get('layer')).toMatchObject({ MemorySize: 3008, Timeout: 600 });
    expect(template.properties('LayerQueue')['VisibilityTimeout']).toBe(900);
    expect(template.properties('LayerLogGroup')['RetentionInDays']).toBe(7);
  });

  test.for([
    [{ layerTimeout: '901' }, "param layerTimeout: a whole number from 1 to 900, not '901'"],
    [{ layerTimeout: 'long' }, "param layerTimeout: a whole number from 1 to 900, not 'long'"],
    [{ maxReceives: '1' }, "param maxReceives: a whole number from 2 to 1000, not '1'"],
    [{ lanes: '65' }, "param lanes: a whole number from 1 to 64, not '65'"],
    [{ config: 'bundled' }, 'param config: bundled, but there is no '],
    [{ prefix: 'mirror' }, "param prefix: empty, or a path that ends with a slash: mirror/; not 'mirror'"],
    [{ config: 'here' }, "param config: one of bucket, bundled, not 'here'"],
    [{ webhooks: 'maybe' }, "param webhooks: one of on, off, not 'maybe'"],
    [
      { bucket: 'a', existingBucket: 'b' },
      'params bucket and existingBucket: one bucket is either created or there already',
    ],
  ] as const)('what cannot be is refused before anything is deployed: %o', async ([changed, message]) => {
    const module = (await import(join(ROOT, 'infra/settings.js'))) as {
      settings: (osls: { resolveVariable: (name: string) => Promise<string> }) => Promise<unknown>;
    };
    const usual = { bucket: '', existingBucket: '', prefix: '', credentialsSecret: '', alarmTopic: '' };
    const given: Record<string, string> = { ...usual, config: 'bucket', webhooks: 'on', ecrPull: 'off', ...changed };
    const resolveVariable = (name: string): Promise<string> =>
      Promise.resolve(given[name.replace('param:', '')] ?? '60');
    await expect(module.settings({ resolveVariable })).rejects.toThrow(message);
  });
});

describe('a bundled configuration', () => {
  test('is in each package', async () => {
    expect(namesInZip(await template.zip('layer'))).toContain('mirror.yaml');
  });

  // Found out at the desk, with line and column, and not by the first run on AWS.
  test('that the functions would refuse is refused before anything is deployed', async () => {
    const refused = packaged({ config: 'bundled' }, CONFIG.replace('tags', 'tgas'));
    const stdout: unknown = expect.stringMatching(/mirror\.yaml:4:\d+: mirrors\[0\]\.tgas/);
    await expect(refused).rejects.toMatchObject({ stdout });
  });
});

describe('cfn-lint', () => {
  test.skipIf(CFN_LINT === undefined)('has nothing to say (skipped where it is not installed)', async () => {
    expect(await lint(template)).toEqual({ stdout: '', stderr: '' });
  });
});
