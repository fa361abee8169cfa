import type { SQSRecord } from 'aws-lambda';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { recordOf } from '../../kit/records.ts';
import { errorBody, startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { messageFor } from '../sync/rig.ts';
import { contextOf, MAX_RECEIVES, OnMocks } from './on-mocks.ts';

const LAYER = makeLayer({ seed: 1, size: 1000 });
const LAST = { receiveCount: MAX_RECEIVES };
/** Longer than a message waits for a configuration. */
const LONG_AGO = Date.now() - 5 * 24 * 60 * 60_000;

let aws: OnMocks;
let registry: TestRegistry;
beforeEach(async () => {
  registry = await startRegistry();
  registry.push('library/app', makeImage({ layers: [LAYER] }), '1');
  aws = new OnMocks();
  aws.config = `version: 1\nmirrors: [{ source: '${registry.host}/library/app', tags: all }]`;
});
afterEach(async () => {
  aws[Symbol.dispose]();
  await registry.close();
});

const message = () => messageFor(registry, LAYER);

async function handle(record: SQSRecord, context = contextOf()): Promise<(string | undefined)[]> {
  const { handler } = await import('../../../functions/layer.ts');
  const { batchItemFailures } = await handler({ Records: [record] }, context);
  return batchItemFailures.map(({ itemIdentifier }) => itemIdentifier);
}

const logged = () => aws.log.map(({ message: said }) => said);

function refuse(status: number): void {
  registry.misbehave({
    match: { kind: 'blob' },
    do: {
      status,
      headers: { 'retry-after': '3600' },
      body: errorBody(status === 429 ? 'TOOMANYREQUESTS' : 'UNAVAILABLE', 'later'),
    },
  });
}

test('stores a blob with its receipt, notifies the finalizer, and logs that', async () => {
  expect(await handle(recordOf(message()))).toEqual([]);
  expect([...aws.s3.objects.keys()]).toContain(`archive/${ociLayout.blob(LAYER.digest)}`);
  expect([...aws.s3.objects.keys()]).toContain(`archive/${ociLayout.receipt(LAYER.digest)}`);
  expect(aws.sent('finalize')).toEqual([
    { message: expect.not.objectContaining({ failure: expect.anything() }), isAbortable: true },
  ]);
  expect(logged()).toEqual(['blob started', 'blob stored', 'cost']);
});

test('leaves a blob to a later delivery after the time that the registry requests', async () => {
  refuse(503);
  const record = recordOf(message());
  expect(await handle(record)).toEqual([record.messageId]);
  expect(aws.postponed('layer')).toEqual([[record.receiptHandle, 3600]]);
  expect(aws.log).toContainEqual(expect.objectContaining({ message: 'message failed', messageId: record.messageId }));
  expect(aws.sent('finalize')).toEqual([]);
});

test('records a failure on the last delivery according to its environment', async () => {
  refuse(503);
  expect(await handle(recordOf(message(), LAST))).toEqual([]);
  expect(aws.sent('finalize')).toMatchObject([{ message: { failure: { code: 'unavailable' } } }]);
  expect(logged()).toContain('blob failed');
});

test('sends a message that meets a rate limit to the end of its own queue on the last delivery', async () => {
  refuse(429);
  const record = recordOf(message(), LAST);
  expect(await handle(record)).toEqual([]);
  expect(aws.requeued('layer')).toEqual([record.body]);
  expect(aws.sent('finalize')).toEqual([]);
});

test('continues a blob that stalls until the time is over in another invocation', async () => {
  registry.misbehave({ match: { kind: 'blob' }, do: { stallAfter: 10 } });
  const context = contextOf();
  vi.spyOn(context, 'getRemainingTimeInMillis').mockReturnValueOnce(60_000).mockReturnValue(400);
  expect(await handle(recordOf(message()), context)).toEqual([]);
  expect(aws.sent('layer')).toMatchObject([{ message: { continuation: 1, look: 'everything' }, isAbortable: true }]);
  expect(aws.sent('finalize')).toEqual([]);
});

describe('without a configuration', () => {
  beforeEach(() => {
    aws.config = 'version: 3';
  });

  test('a message waits, and uses up no delivery', async () => {
    const record = recordOf(message());
    expect(await handle(record)).toEqual([record.messageId]);
    expect(aws.postponed('layer')).toEqual([[record.receiptHandle, expect.any(Number)]]);
    expect(aws.log).toContainEqual(expect.objectContaining({ message: 'message waits' }));
  });

  test('a message that waits for a missing file is an error in the log, because an alarm counts it', async () => {
    aws.s3.objects.delete('config/mirror.yaml');
    const record = recordOf(message());
    expect(await handle(record)).toEqual([record.messageId]);
    expect(aws.log).toContainEqual(expect.objectContaining({ level: 'ERROR', message: 'message waits' }));
    expect(aws.metrics).toEqual({ ConfigurationRefused: 1, MessageAge: expect.any(Number) as number });
  });

  test('a message that has waited too long sends the failure to the finalizer and the log', async () => {
    expect(await handle(recordOf(message(), { ...LAST, sent: LONG_AGO }))).toEqual([]);
    expect(aws.sent('finalize')).toMatchObject([{ message: { failure: { code: 'invalid' } }, isAbortable: true }]);
    expect(logged()).toContain('blob failed');
  });
});
