import {
  ChangeMessageVisibilityCommand,
  GetQueueAttributesCommand,
  SendMessageBatchCommand,
} from '@aws-sdk/client-sqs';
import type { SQSEvent, SQSRecord } from 'aws-lambda';
import { afterAll, describe, expect, test } from 'vitest';
import type { Invocation } from '../../kit/lambda/sandbox.ts';
import { drained, type EventSource, EventSourcePoller, failedOf } from '../../kit/lambda/poller.ts';
import { startElasticMq, startFauxSqs, type SqsServer, type TestQueue } from '../../kit/sqs-server.ts';
import { skippedFor } from '../../kit/skipped.ts';

type Handler = (records: readonly SQSRecord[]) => Promise<unknown>;

/** A function whose error is the error of the handler. */
function target(handler: Handler): EventSource['target'] {
  return {
    invoke: async (event): Promise<Invocation> => {
      const rest = { event, durationMs: 0, initMs: undefined, peakBytes: undefined, cpuMs: undefined };
      try {
        return { ...rest, outcome: { payload: await handler((event as SQSEvent).Records) } };
      } catch (error) {
        return { ...rest, outcome: { error: { errorType: 'Error', errorMessage: String(error) } } };
      }
    },
  };
}

function poller(
  sqs: SqsServer,
  queue: TestQueue,
  handler: Handler,
  options: Partial<EventSource> = {},
): EventSourcePoller {
  return new EventSourcePoller({
    client: sqs.client,
    queue,
    target: target(handler),
    batchSize: 10,
    concurrency: 4,
    ...options,
  });
}

/** Sends `group:number` messages, in this order. */
async function send(sqs: SqsServer, queue: TestQueue, messages: readonly string[]): Promise<void> {
  await sqs.client.send(
    new SendMessageBatchCommand({
      QueueUrl: queue.url,
      Entries: messages.map((body, index) => ({
        Id: String(index),
        MessageBody: body,
        MessageGroupId: body.split(':')[0],
        MessageDeduplicationId: body,
      })),
    }),
  );
}

async function dead(sqs: SqsServer, { deadLetters }: TestQueue): Promise<number> {
  const { Attributes } = await sqs.client.send(
    new GetQueueAttributesCommand({ QueueUrl: deadLetters.url, AttributeNames: ['ApproximateNumberOfMessages'] }),
  );
  return Number(Attributes?.['ApproximateNumberOfMessages']);
}

const isFirst = ({ attributes }: SQSRecord): boolean => attributes.ApproximateReceiveCount === '1';

const failures = (...records: readonly SQSRecord[]): unknown => ({
  batchItemFailures: records.map(({ messageId }) => ({ itemIdentifier: messageId })),
});

const servers = { fauxqs: await startFauxSqs(), ElasticMQ: await startElasticMq() };

for (const [name, sqs] of Object.entries(servers)) {
  if ('skipped' in sqs) {
    describe(`an event source poller on ${name}`, () => {
      skippedFor(sqs.skipped);
    });
    continue;
  }

  describe(`an event source poller on ${name}`, () => {
    afterAll(() => sqs[Symbol.asyncDispose]());

    // Groups are handled concurrently, and a group has one batch in flight.
    test('delivers each message once, in the order of its group', async () => {
      const queue = await sqs.createQueue('in-order', { visibilitySeconds: 30, maxReceives: 3 });
      const seen: Record<string, string[]> = {};
      const inFlight = new Set<string>();
      await using polling = poller(sqs, queue, async (records) => {
        const groups = new Set(records.map(({ attributes }) => attributes.MessageGroupId!));
        for (const group of groups) expect(inFlight.has(group)).toBe(false);
        for (const group of groups) inFlight.add(group);
        await new Promise(setImmediate);
        for (const { body, attributes } of records) (seen[attributes.MessageGroupId!] ??= []).push(body);
        for (const group of groups) inFlight.delete(group);
        return failures();
      });
      await send(sqs, queue, ['a:1', 'b:1', 'a:2', 'b:2', 'a:3']);
      await drained([polling]);
      expect(seen).toEqual({ a: ['a:1', 'a:2', 'a:3'], b: ['b:1', 'b:2'] });
    });

    test('delivers failed messages again, and no others', async () => {
      const queue = await sqs.createQueue('partial', { visibilitySeconds: 30, maxReceives: 3 });
      const seen: string[] = [];
      await using polling = poller(sqs, queue, async (records) => {
        seen.push(...records.map(({ body, attributes }) => `${body}#${attributes.ApproximateReceiveCount}`));
        const failed = records.filter((record) => record.body === 'b:1' && isFirst(record));
        for (const { receiptHandle: ReceiptHandle } of failed)
          await sqs.client.send(
            new ChangeMessageVisibilityCommand({ QueueUrl: queue.url, ReceiptHandle, VisibilityTimeout: 0 }),
          );
        return failures(...failed);
      });
      await send(sqs, queue, ['a:1', 'b:1']);
      await drained([polling]);
      expect(seen.toSorted()).toEqual(['a:1#1', 'b:1#1', 'b:1#2']);
    });

    test('moves messages that always fail to the dead letters', async () => {
      const queue = await sqs.createQueue('poison', { visibilitySeconds: 1, maxReceives: 2 });
      const seen: string[] = [];
      await using polling = poller(
        sqs,
        queue,
        (records) => {
          seen.push(...records.map(({ body }) => body));
          return records.some(({ body }) => body === 'a:1')
            ? Promise.reject(new Error('crash'))
            : Promise.resolve(null);
        },
        { batchSize: 1 },
      );
      await send(sqs, queue, ['a:1', 'a:2']);
      await drained([polling]);
      expect(seen).toEqual(['a:1', 'a:1', 'a:2']);
      expect(await dead(sqs, queue)).toBe(1);
    });

    test('can deliver handled messages again on request', async () => {
      const queue = await sqs.createQueue('again', { visibilitySeconds: 30, maxReceives: 3 });
      const seen: string[] = [];
      await using polling = poller(
        sqs,
        queue,
        (records) => {
          seen.push(...records.map(({ body }) => body));
          return Promise.resolve(failures());
        },
        { again: isFirst },
      );
      await send(sqs, queue, ['a:1']);
      await drained([polling]);
      expect(seen).toEqual(['a:1', 'a:1']);
    });

    test('ends if its queue no longer exists', async () => {
      const queue = await sqs.createQueue('gone', { visibilitySeconds: 30, maxReceives: 3 });
      await using polling = poller(sqs, { ...queue, url: `${queue.url}x` }, () => Promise.resolve(null));
      await expect(polling.turn()).rejects.toThrow();
      await expect(drained([polling])).rejects.toThrow();
    });
  });
}

describe('the response of a handler', () => {
  const records = ['1', '2'].map((messageId) => ({ messageId }) as SQSRecord);

  // AWS Lambda, "Success and failure conditions" of partial batch responses.
  test.for([
    [null, []],
    [{}, []],
    [{ batchItemFailures: [] }, []],
    [{ batchItemFailures: null }, []],
    [{ batchItemFailures: [{ itemIdentifier: '2' }] }, ['2']],
  ] as const)('to the messages %j fails %j', ([payload, expected]) => {
    expect(failedOf(payload, records)).toEqual(new Set(expected));
  });

  test.for([
    'done',
    { batchItemFailures: 'none' },
    { batchItemFailures: [{ itemIdentifier: '' }] },
    { batchItemFailures: [{ itemIdentifier: null }] },
    { batchItemFailures: [{ identifier: '1' }] },
    { batchItemFailures: [{ itemIdentifier: '3' }] },
    { batchItemFailures: [null] },
  ])('of %j fails the whole batch', (payload) => {
    expect(failedOf(payload, records)).toBeUndefined();
  });
});
