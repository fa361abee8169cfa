import type { SQSRecord } from 'aws-lambda';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Order, ResolveMessage } from '../../../lib/queue/messages.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import { type Image, makeImage, makeLayer } from '../../kit/images.ts';
import { recordOf } from '../../kit/records.ts';
import { errorBody, startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { contextOf, MAX_RECEIVES, OnMocks } from './on-mocks.ts';

const IMAGE: Image = makeImage({ layers: [makeLayer({ seed: 1, size: 1000 })] });
const LAST = { receiveCount: MAX_RECEIVES };
const LONG_AGO = Date.now() - 5 * 24 * 60 * 60_000;
const SCHEDULE = {
  schedule: { arn: 'arn:aws:scheduler:eu-central-1:1:schedule/default/nightly', time: '2026-01-31T00:00:00Z' },
};

let aws: OnMocks;
let registry: TestRegistry;
let order: Order;
beforeEach(async () => {
  registry = await startRegistry();
  registry.push('library/app', IMAGE, 'v1');
  const source = `${registry.host}/library/app`;
  order = { run: 'run-1', source, repository: source, platforms: 'all' };
  aws = new OnMocks();
  configure("['v*']");
});
afterEach(async () => {
  aws[Symbol.dispose]();
  await registry.close();
});

function configure(include: string, limits = ''): void {
  aws.config = `version: 1\n${limits}\nmirrors: [{ source: '${order.source}', tags: { include: ${include} } }]`;
}

async function invoke(event: object): Promise<unknown> {
  const { handler } = await import('../../../functions/resolver.ts');
  return handler(event, contextOf());
}

async function handle(record: SQSRecord): Promise<(string | undefined)[]> {
  const { batchItemFailures } = (await invoke({ Records: [record] })) as {
    readonly batchItemFailures: readonly { readonly itemIdentifier: string }[];
  };
  return batchItemFailures.map(({ itemIdentifier }) => itemIdentifier);
}

function images(...tags: readonly string[]): ResolveMessage {
  return resolveMessage(order, { kind: 'images', images: tags.map((tag) => ({ tag })) }).message;
}
const list = (): ResolveMessage => resolveMessage(order, { kind: 'list' }).message;

const tagsSent = () =>
  aws.sent('resolve').map(({ message }) => {
    const { what } = message as ResolveMessage;
    return what.kind === 'images' ? what.images.map(({ tag }) => tag) : [];
  });
const logged = () => aws.log.map(({ message }) => message);

function objects(below: string): Record<string, unknown>[] {
  const found = [...aws.s3.objects].filter(([key]) => key.startsWith(`archive/.mirror/runs/${below}`));
  return found.map(([, bytes]) => JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>);
}

function refuse(status: number, code: string): void {
  registry.misbehave({
    match: { kind: 'manifest' },
    do: { status, headers: { 'retry-after': '3600' }, body: errorBody(code, 'later') },
  });
}

describe('a message', () => {
  test('becomes one message per missing layer, a report and a mark of the run', async () => {
    expect(await handle(recordOf(images('v1')))).toEqual([]);
    const digest = IMAGE.layers[0]?.digest;
    expect(aws.sent('layer')).toMatchObject([{ message: { blob: { digest } }, isAbortable: true }]);
    expect(objects('run-1/')).toMatchObject([{ status: 'pending', reference: `${order.source}:v1` }]);
    expect(objects('.queued/')).toMatchObject([{ run: 'run-1' }]);
    expect(logged()).toContain('resolved');
    const runs = aws.s3.requests.filter(({ name }) => name.includes('/.mirror/runs/'));
    expect(runs.filter(({ isAbortable }) => !isAbortable)).toEqual([]);
  });

  test('skips an image that an earlier run has queued, unless a user requests it', async () => {
    await handle(recordOf(images('v1')));
    expect(await handle(recordOf({ ...images('v1'), run: 'run-2' }))).toEqual([]);
    expect(aws.sent('layer')).toHaveLength(1);
    expect(aws.log).toContainEqual(expect.objectContaining({ message: 'queued by an earlier run', images: 1 }));
    expect(await handle(recordOf({ ...images('v1'), run: 'request-1' }))).toEqual([]);
    expect(aws.sent('layer')).toHaveLength(2);
  });

  test('that requests a list becomes messages for the tags that the configuration selects', async () => {
    registry.push('library/app', IMAGE, 'edge');
    expect(await handle(recordOf(list()))).toEqual([]);
    expect(tagsSent()).toEqual([['v1']]);
  });

  test('respects the limits of the configuration', async () => {
    configure("['v*']", 'limits: { imageBytes: 10B }');
    expect(await handle(recordOf(images('v1')))).toEqual([]);
    expect(aws.sent('layer')).toEqual([]);
    expect(aws.sent('finalize')).toMatchObject([{ message: { failure: { code: 'limit-exceeded' } } }]);
  });

  test('of a notification is refused if no mirror names its repository', async () => {
    const message = { ...images('v1'), run: 'webhook-1', repository: 'mirror.example.com/elsewhere' };
    expect(await handle(recordOf(message))).toEqual([]);
    expect(registry.requests).toEqual([]);
    const { run, source, repository } = message;
    expect(aws.log).toContainEqual(
      expect.objectContaining({ level: 'WARN', message: 'message refused', run, source, repository }),
    );
  });

  test('is left to a later delivery after the time that the registry requests', async () => {
    refuse(503, 'UNAVAILABLE');
    const record = recordOf(images('v1'));
    expect(await handle(record)).toEqual([record.messageId]);
    expect(aws.postponed('resolve')).toEqual([[record.receiptHandle, 3600]]);
    expect(logged()).toContain('message failed');
  });

  test('records the failure of its images on the last delivery according to its environment', async () => {
    refuse(503, 'UNAVAILABLE');
    expect(await handle(recordOf(images('v1'), LAST))).toEqual([]);
    expect(aws.sent('finalize')).toMatchObject([
      { message: { image: { tag: 'v1' }, failure: { code: 'unavailable' } } },
    ]);
  });

  test('that meets a rate limit goes to the end of its own queue on the last delivery', async () => {
    refuse(429, 'TOOMANYREQUESTS');
    const record = recordOf(images('v1'), LAST);
    expect(await handle(record)).toEqual([]);
    expect(aws.requeued('resolve')).toEqual([record.body]);
    expect(aws.sent('finalize')).toEqual([]);
  });

  test('waits for a configuration, and records each of its images as failed after four days', async () => {
    aws.config = 'version: 3';
    const record = recordOf(images('v1', 'v2'));
    expect(await handle(record)).toEqual([record.messageId]);
    expect(aws.postponed('resolve')).toEqual([[record.receiptHandle, expect.any(Number)]]);
    expect(logged()).toContain('message waits');

    expect(await handle(recordOf(images('v1', 'v2'), { ...LAST, sent: LONG_AGO }))).toEqual([]);
    expect(aws.sent('finalize')).toMatchObject(
      ['v1', 'v2'].map((tag) => ({
        message: {
          image: { tag },
          failure: { code: 'invalid', reason: expect.stringContaining('mirror.yaml') as string },
        },
        isAbortable: true,
      })),
    );
  });
});

describe('a message waits for the trusted root that the configuration names, also on the last delivery,', () => {
  const ROOT = 's3://bucket/config/trusted_root.json';

  test.for([
    ['is missing', undefined, `read configuration: ${ROOT} does not exist; upload it`],
    ['is not JSON', '{"mediaType": ', `read trusted root ${ROOT}: it is not JSON`],
    ['is not a trusted root', '{}', `read trusted root ${ROOT}: its mediaType "" is unknown`],
  ] as const)('if it %s', async ([, root, reason]) => {
    configure("['v*']", 'trustedRoot: trusted_root.json');
    if (root !== undefined) aws.s3.objects.set('config/trusted_root.json', Buffer.from(root));
    const record = recordOf(images('v1'));
    expect(await handle(record)).toEqual([record.messageId]);
    expect(aws.log).toContainEqual(
      expect.objectContaining({ message: 'message waits', reason: expect.stringContaining(reason) as string }),
    );
    expect(aws.metrics).toEqual({ ConfigurationRefused: 1, MessageAge: expect.any(Number) as number });

    const last = recordOf(images('v1'), LAST);
    expect(await handle(last)).toEqual([]);
    expect(aws.requeued('resolve')).toEqual([last.body]);
    expect(aws.sent('finalize')).toEqual([]);
    expect(registry.requests).toEqual([]);
  });
});

describe('a message that waits for what cannot be read', () => {
  const refuseSecret = (name: string): void => {
    aws.secrets['credentials'] = Object.assign(new Error('no'), { name });
  };
  const refuseConfig = (): void => {
    aws.s3.refuse = (name) => name === 'GetObject config/mirror.yaml';
  };

  test.for([
    ['AccessDeniedException', () => refuseSecret('AccessDeniedException')],
    ['InvalidRequestException', () => refuseSecret('InvalidRequestException')],
    ['AccessDenied', refuseConfig],
  ] as const)('rings if only a person can change that: %s', async ([reason, arrange]) => {
    arrange();
    const record = recordOf(images('v1'));
    expect(await handle(record)).toEqual([record.messageId]);
    expect(logged()).toContain('message waits');
    expect(aws.log).toContainEqual(
      expect.objectContaining({
        message: 'configuration refused',
        reason: expect.stringContaining(reason) as string,
      }),
    );
    expect(aws.metrics).toEqual({ ConfigurationRefused: 1, MessageAge: expect.any(Number) as number });
  });

  test('does not ring while a service is unavailable', async () => {
    refuseSecret('InternalServiceError');
    const record = recordOf(images('v1'));
    expect(await handle(record)).toEqual([record.messageId]);
    expect(logged()).toEqual(expect.arrayContaining(['configuration not read', 'message waits']));
    expect(aws.metrics).toEqual({ MessageAge: expect.any(Number) as number });
  });
});

describe('a schedule', () => {
  test('starts a run of all mirrors, and records, logs and publishes its start', async () => {
    expect(await invoke(SCHEDULE)).toMatchObject({ messages: 1 });
    expect(aws.sent('resolve')).toMatchObject([{ message: { what: { kind: 'list' } }, isAbortable: true }]);
    const counts = { by: 'schedule', messages: 1, repositories: 1, images: 0 };
    expect(objects('')).toMatchObject([
      { version: 1, ...counts },
      { version: 1, ...counts, ids: [expect.any(String)] },
    ]);
    const [line] = aws.log.filter(({ message }) => message === 'run started');
    expect(line).toMatchObject(counts);
    for (const key of ['version', 'at']) expect(line).not.toHaveProperty(key);
    expect(aws.events).toEqual([{ bus: 'bus', type: 'Run Started' }]);
    const writes = aws.s3.requests.filter(({ name }) => name.startsWith('PutObject'));
    expect(writes.map(({ isAbortable }) => isAbortable)).toEqual([true, true]);
  });

  test('starts no run before the configuration exists', async () => {
    aws.s3.objects.clear();
    expect(await invoke(SCHEDULE)).toMatchObject({ messages: 0 });
    expect(aws.sent('resolve')).toEqual([]);
    expect(aws.log).toContainEqual(
      expect.objectContaining({
        level: 'WARN',
        message: 'run not started',
        reason: expect.stringContaining('does not exist') as string,
      }),
    );
  });

  test('fails if the configuration is invalid', async () => {
    aws.config = 'version: 3';
    await expect(invoke(SCHEDULE)).rejects.toThrow(/version/);
  });
});

describe('a request', () => {
  test('starts a run of the references that it names', async () => {
    const references = [`${order.source}:v1`, `${order.source}:v2`];
    expect(await invoke({ references })).toEqual({ run: 'request-request-1', messages: 1 });
    expect(tagsSent()).toEqual([['v1', 'v2']]);
    expect(objects('request-request-1/')).toMatchObject([{ by: 'request', images: 2 }]);
  });

  test('fails before the configuration exists', async () => {
    aws.s3.objects.clear();
    await expect(invoke({ references: [`${order.source}:v1`] })).rejects.toThrow(/does not exist/);
  });
});
