import { describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { readEnvironment } from '../../../lib/config/environment.ts';

const ENV = {
  MIRROR_SYNC_ARCHIVE: 's3://bucket/prefix',
  MIRROR_SYNC_CONFIG: 's3://bucket/prefix/config/mirror.yaml',
  MIRROR_SYNC_RESOLVE_QUEUE_URL: 'https://sqs.eu-central-1.amazonaws.com/123456789012/resolve.fifo',
  MIRROR_SYNC_LAYER_QUEUE_URL: 'http://127.0.0.1:9324/000000000000/layer.fifo',
  MIRROR_SYNC_WEBHOOK_SECRET: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:mirror-sync/webhooks-AbCdEf',
};

function reasonOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof Failure) return error.message;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('the environment', () => {
  test('is read with defaults for optional variables', () => {
    expect(
      readEnvironment(
        ENV,
        'archive',
        'config',
        'resolveQueue',
        'layerQueue',
        'lanes',
        'credentialsSecret',
        'webhookSecrets',
      ),
    ).toEqual({
      archive: 's3://bucket/prefix',
      config: { kind: 's3', bucket: 'bucket', key: 'prefix/config/mirror.yaml' },
      resolveQueue: ENV.MIRROR_SYNC_RESOLVE_QUEUE_URL,
      layerQueue: ENV.MIRROR_SYNC_LAYER_QUEUE_URL,
      lanes: 4,
      credentialsSecret: undefined,
      webhookSecrets: ENV.MIRROR_SYNC_WEBHOOK_SECRET,
    });
    expect(readEnvironment({ MIRROR_SYNC_LANES: ' 16 ', MIRROR_SYNC_EVENT_BUS: '' }, 'lanes', 'eventBus')).toEqual({
      lanes: 16,
      eventBus: undefined,
    });
    expect(readEnvironment({ MIRROR_SYNC_MAX_RECEIVES: '5' }, 'maxReceives')).toEqual({ maxReceives: 5 });
    expect(readEnvironment({ MIRROR_SYNC_CONFIG: 'mirror.yaml' }, 'config')).toEqual({
      config: { kind: 'file', path: 'mirror.yaml' },
    });
  });

  test('does not repeat the URL of a webhook, whose path may be secret', () => {
    const reason = reasonOf(() => readEnvironment({ MIRROR_SYNC_RUN_WEBHOOK: 'http://h/geheim' }, 'runWebhook'));
    expect(reason).toBe(
      'read environment: MIRROR_SYNC_RUN_WEBHOOK must be the URL that gets the summary of each run, as https://…',
    );
  });

  test('needs only the variables that a function uses', () => {
    expect(readEnvironment({ MIRROR_SYNC_ARCHIVE: 's3://bucket' }, 'archive')).toEqual({ archive: 's3://bucket' });
  });

  test('is refused with all missing and invalid variables at once', () => {
    const reason = reasonOf(() =>
      readEnvironment(
        { MIRROR_SYNC_ARCHIVE: '/srv/archive', MIRROR_SYNC_LANES: '0' },
        'archive',
        'resolveQueue',
        'lanes',
      ),
    );
    expect(reason).toMatch(/MIRROR_SYNC_ARCHIVE is "\/srv\/archive"; it must be the archive, as s3:\/\/bucket/);
    expect(reason).toMatch(/MIRROR_SYNC_RESOLVE_QUEUE_URL is not set; set it to the URL of an SQS FIFO queue/);
    expect(reason).toMatch(/MIRROR_SYNC_LANES is "0"; it must be .* from 1 to 64/);
  });

  test.each([
    ['archive', 'MIRROR_SYNC_ARCHIVE', 's3://'],
    ['config', 'MIRROR_SYNC_CONFIG', '../mirror.yaml'],
    ['config', 'MIRROR_SYNC_CONFIG', '/etc/mirror.yaml'],
    ['config', 'MIRROR_SYNC_CONFIG', 'https://example.com/mirror.yaml'],
    ['layerQueue', 'MIRROR_SYNC_LAYER_QUEUE_URL', 'https://sqs.example.com/1/standard'],
    ['layerQueue', 'MIRROR_SYNC_LAYER_QUEUE_URL', 'layer.fifo'],
    ['lanes', 'MIRROR_SYNC_LANES', '65'],
    ['maxReceives', 'MIRROR_SYNC_MAX_RECEIVES', '0'],
    ['maxReceives', 'MIRROR_SYNC_MAX_RECEIVES', '5.5'],
    ['eventBus', 'MIRROR_SYNC_EVENT_BUS', 'a b'],
  ] as const)('is refused for an invalid %s: %s=%s', (key, name, value) => {
    expect(reasonOf(() => readEnvironment({ [name]: value }, key))).toContain(`${name} is "${value}"`);
  });

  test.each([
    ['credentialsSecret', 'MIRROR_SYNC_CREDENTIALS_SECRET'],
    ['webhookSecrets', 'MIRROR_SYNC_WEBHOOK_SECRET'],
    ['registryTokens', 'MIRROR_SYNC_REGISTRY_TOKENS_SECRET'],
    ['attestKey', 'MIRROR_SYNC_ATTEST_KEY'],
    ['runWebhook', 'MIRROR_SYNC_RUN_WEBHOOK'],
    ['runWebhookSecret', 'MIRROR_SYNC_RUN_WEBHOOK_SECRET'],
  ] as const)('is refused for an invalid %s without the value of %s, which may be a secret', (key, name) => {
    const reason = reasonOf(() => readEnvironment({ [name]: 'http://secret' }, key));
    expect(reason).toContain(`${name} must be `);
    expect(reason).not.toContain('http://secret');
  });
});
