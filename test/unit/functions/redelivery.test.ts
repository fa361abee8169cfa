import { ChangeMessageVisibilityCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { mockClient } from 'aws-sdk-client-mock';
import { afterAll, beforeEach, expect, test, vi } from 'vitest';
import { queuePorts } from '../../../functions/redelivery.ts';
import { Failure, type FailureFields } from '../../../lib/core/failure.ts';
import { recordOf } from '../../kit/records.ts';

const said = vi.hoisted(() => vi.fn());
vi.mock('../../../functions/telemetry.ts', async (importOriginal) => ({
  ...(await importOriginal<object>()),
  log: said,
}));

const sqs = mockClient(SQSClient);
const URL = 'https://sqs.example.com/1/queue.fifo';
const { postpone, requeue } = queuePorts(URL, 5);

function failure(fields: Partial<FailureFields> = {}): Failure {
  return new Failure({ operation: 'copy', side: 'source', code: 'rate-limited', detail: 'later', ...fields });
}

function visibilities(): (number | undefined)[] {
  return sqs.commandCalls(ChangeMessageVisibilityCommand).map(({ args: [{ input }] }) => input.VisibilityTimeout);
}

beforeEach(() => {
  sqs.reset();
  sqs.on(ChangeMessageVisibilityCommand).resolves({});
  sqs.on(SendMessageCommand).resolves({});
  said.mockClear();
});

afterAll(() => {
  sqs.restore();
});

test('messages of a group return together', async () => {
  await postpone([recordOf('a', { receiveCount: 4 }), recordOf('b')], failure({ retryAfterMs: 600_000 }));
  expect(visibilities()).toEqual([600, 600]);
  await postpone([recordOf('a')]);
  expect(visibilities().at(-1)).toBe(0);
});

// Five deliveries must not be used up within the minute of a quota.
test('a throttle without an end is retried after minutes', async () => {
  for (const receiveCount of [1, 2, 3, 4]) await postpone([recordOf('a', { receiveCount })], failure());
  for (const [index, seconds] of visibilities().entries()) {
    expect(seconds).toBeGreaterThanOrEqual(30 * 2 ** index);
    expect(seconds).toBeLessThanOrEqual(60 * 2 ** index);
  }
});

test.each<[string, Partial<FailureFields>, number]>([
  ['a failure that is not a rate limit', { code: 'unavailable' }, 5],
  ['a rate limit that says when it ends', { retryAfterMs: 2_000 }, 5],
])('%s is retried after seconds', async (_, fields, longest) => {
  vi.spyOn(Math, 'random').mockReturnValueOnce(1);
  await postpone([recordOf('a')], failure(fields));
  expect(visibilities()).toEqual([longest]);
});

// Twelve hours count from the receive, and SQS refuses more. The function has used some of that time.
test('no wait is longer than SQS allows', async () => {
  await postpone([recordOf('a')], failure({ retryAfterMs: 24 * 3600 * 1000 }));
  expect(visibilities()).toEqual([43_200 - 960]);
});

test.for(['ReceiptHandleIsInvalid', 'MessageNotInflight'])(
  '%s means that the message is already available',
  async (name) => {
    sqs.on(ChangeMessageVisibilityCommand).rejects(Object.assign(new Error('gone'), { name }));
    await postpone([recordOf('a')], failure());
    expect(said).not.toHaveBeenCalled();
  },
);

test('an expired handle means that the message is already available', async () => {
  const message = 'Value for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.';
  sqs.on(ChangeMessageVisibilityCommand).rejects(Object.assign(new Error(message), { name: 'InvalidParameterValue' }));
  await postpone([recordOf('a')], failure());
  expect(said).not.toHaveBeenCalled();
});

test('any other error is logged, and does not fail the batch', async () => {
  sqs.on(ChangeMessageVisibilityCommand).rejects(Object.assign(new Error('no'), { name: 'AccessDenied' }));
  await postpone([recordOf('a')], failure());
  expect(said).toHaveBeenCalledExactlyOnceWith('warn', 'message not postponed', expect.anything());
});

const sent = () => sqs.commandCalls(SendMessageCommand).map(({ args: [{ input }] }) => input);

test('a copy has the body, the group and the time of the first send, and its own id', async () => {
  const record = recordOf('{"version":3}', { group: 'g', sent: 1234 });
  const attributes = { ...record.attributes, MessageDeduplicationId: 'first' };
  await requeue({ ...record, attributes });
  await requeue({ ...record, attributes });
  await requeue({ ...record, attributes, messageId: 'another' });
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
  await requeue({ ...recordOf('x', { sent: 99 }), messageAttributes: { firstSent } });
  expect(sent()[0]?.MessageAttributes).toEqual({ firstSent: { DataType: 'Number', StringValue: '1' } });
});
