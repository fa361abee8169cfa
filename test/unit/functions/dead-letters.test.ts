import { SendMessageBatchCommand, SQSClient } from '@aws-sdk/client-sqs';
import type { Context, SQSRecord } from 'aws-lambda';
import { mockClient } from 'aws-sdk-client-mock';
import { afterAll, beforeEach, expect, test, vi } from 'vitest';
import { handler } from '../../../functions/dead-letters.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import { serialise } from '../../../lib/queue/parse.ts';
import { recordOf } from '../../kit/records.ts';
import { mockS3 } from '../../kit/s3-mock.ts';
import { ORDER } from '../queue/samples.ts';

const sqs = mockClient(SQSClient);
const s3 = mockS3();
const context = { awsRequestId: 'request', getRemainingTimeInMillis: () => 60_000 } as Context;

vi.stubEnv('MIRROR_SYNC_ARCHIVE', 's3://bucket');
vi.stubEnv('MIRROR_SYNC_FINALIZE_QUEUE_URL', 'https://sqs.example.com/1/finalize.fifo');

beforeEach(() => {
  sqs.reset();
  // A message about the tag `bad` always fails; others succeed.
  sqs.on(SendMessageBatchCommand).callsFake(({ Entries = [] }: { Entries?: { Id: string; MessageBody: string }[] }) => {
    if (Entries.some(({ MessageBody }) => MessageBody.includes('"bad"')))
      throw Object.assign(new Error('no'), { name: 'AccessDenied', $metadata: { httpStatusCode: 403 } });
    return { Successful: Entries.map(({ Id }) => ({ Id })) };
  });
});

afterAll(() => {
  sqs.restore();
  s3.restore();
  vi.unstubAllEnvs();
});

function dead(tag: string, group = 'group'): SQSRecord {
  return recordOf(serialise(resolveMessage(ORDER, { kind: 'images', images: [{ tag }] }).message), { group });
}

const sentTags = (): (string | undefined)[] =>
  sqs
    .commandCalls(SendMessageBatchCommand)
    .flatMap(({ args: [{ input }] }) => input.Entries ?? [])
    .map(({ MessageBody = '' }) => /"tag":"([^"]*)"/.exec(MessageBody)?.[1]);

test('dead letters behind a failed one are returned with it, unhandled', async () => {
  const records = [dead('a'), dead('bad'), dead('c')];
  const [, bad, last] = records;
  expect(await handler({ Records: records }, context)).toEqual({
    batchItemFailures: [{ itemIdentifier: bad?.messageId }, { itemIdentifier: last?.messageId }],
  });
  expect(sentTags()).toEqual(['a', 'bad']);
  // Only the first message counts as handled for its run.
  expect([...s3.objects.keys()]).toEqual([
    expect.stringMatching(/^\.mirror\/runs\/\.open\/run-1\/[0-9a-f]{32}\.json$/),
  ]);
});

test('a dead letter that cannot be recorded does not stop those of other groups', async () => {
  const records = [dead('bad', 'a'), dead('b', 'b'), dead('a', 'a'), dead('bad', 'c'), dead('d', 'd')];
  const { batchItemFailures } = await handler({ Records: records }, context);
  expect(batchItemFailures).toEqual(
    [records[0], records[2], records[3]].map((r) => ({ itemIdentifier: r?.messageId })),
  );
  expect(sentTags().filter((tag) => tag !== 'bad')).toEqual(['b', 'd']);
});

test('a batch without a recorded dead letter is an error of the function', async () => {
  await expect(handler({ Records: [dead('bad'), dead('c')] }, context)).rejects.toThrow(/AccessDenied: no/);
  const groups = [dead('bad', 'a'), dead('bad', 'b')];
  await expect(handler({ Records: groups }, context)).rejects.toThrow(/AccessDenied: no/);
});

test('an empty batch is not an error', async () => {
  expect(await handler({ Records: [] }, context)).toEqual({ batchItemFailures: [] });
});
