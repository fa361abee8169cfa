import { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { mockClient } from 'aws-sdk-client-mock';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { requeueIn } from '../../../functions/requeue.ts';
import { recordOf } from '../../kit/records.ts';

const sqs = mockClient(SQSClient);
const URL = 'https://sqs.example.com/1/queue.fifo';

beforeEach(() => {
  sqs.reset();
  sqs.on(SendMessageCommand).resolves({});
});

afterAll(() => {
  sqs.restore();
});

const sent = () => sqs.commandCalls(SendMessageCommand).map(({ args: [{ input }] }) => input);

test('a copy has the body, the group and the time of the first send, and its own id', async () => {
  const record = recordOf('{"version":3}', { group: 'g', sent: 1234 });
  const attributes = { ...record.attributes, MessageDeduplicationId: 'first' };
  await requeueIn(URL)({ ...record, attributes });
  await requeueIn(URL)({ ...record, attributes });
  await requeueIn(URL)({ ...record, attributes, messageId: 'another' });
  expect(sent()[0]).toEqual({
    QueueUrl: URL,
    MessageBody: '{"version":3}',
    MessageGroupId: 'g',
    MessageDeduplicationId: expect.stringMatching(/^[0-9a-f]{64}$/),
    MessageAttributes: { firstSent: { DataType: 'Number', StringValue: '1234' } },
  });
  const ids = sent().map(({ MessageDeduplicationId }) => MessageDeduplicationId);
  expect(ids[1]).toBe(ids[0]);
  expect(ids[2]).not.toBe(ids[0]);
});

test('a copy of a copy keeps the time of the first send', async () => {
  const firstSent = { dataType: 'Number', stringValue: '1', stringListValues: [], binaryListValues: [] };
  await requeueIn(URL)({ ...recordOf('x', { sent: 99 }), messageAttributes: { firstSent } });
  expect(sent()[0]?.MessageAttributes).toEqual({ firstSent: { DataType: 'Number', StringValue: '1' } });
});
