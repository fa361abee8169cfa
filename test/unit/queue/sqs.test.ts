import {
  type SendMessageBatchCommandInput,
  SendMessageBatchCommand,
  SQSClient,
  SQSServiceException,
} from '@aws-sdk/client-sqs';
import { mockClient } from 'aws-sdk-client-mock';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { layerMessage } from '../../../lib/queue/outgoing.ts';
import { MAX_MESSAGE_BYTES, parseMessage } from '../../../lib/queue/parse.ts';
import { prepare } from '../../../lib/queue/prepare.ts';
import type { Outgoing } from '../../../lib/queue/queue.ts';
import { batchesOf, SqsQueues } from '../../../lib/queue/sqs/sqs.ts';
import { digestFor, IMAGE, LAYER, ORDER, tagged } from './samples.ts';

const URLS = {
  resolve: 'https://sqs/resolve.fifo',
  layer: 'https://sqs/layer.fifo',
  finalize: 'https://sqs/finalize.fifo',
};

type Entries = NonNullable<SendMessageBatchCommandInput['Entries']>;

/** Says what SQS answers to the n-th request with these entries: ids that are refused, or an error for all. */
type Answer = (entries: Entries, request: number) => { Id: string; Code: string; SenderFault: boolean }[];

interface Bench {
  readonly queues: SqsQueues;
  /** Tags in each request. */
  readonly requests: string[][];
  readonly entries: Entries;
  readonly waits: number[];
}

function bench(answer: Answer = () => []): Bench {
  const client = new SQSClient({ region: 'eu-central-1', maxAttempts: 1 });
  const requests: string[][] = [];
  const entries: Entries = [];
  const waits: number[] = [];
  mockClient(client)
    .on(SendMessageBatchCommand)
    .callsFake(({ Entries = [] }: SendMessageBatchCommandInput) => {
      requests.push(Entries.map(({ MessageBody = '' }) => tagOf(MessageBody)));
      const refused = answer(Entries, requests.length);
      const ids = new Set(refused.map(({ Id }) => Id));
      const accepted = Entries.filter(({ Id }) => !ids.has(Id ?? ''));
      entries.push(...accepted);
      return {
        Successful: accepted.map(({ Id }) => ({ Id })),
        Failed: refused.filter(({ Code }) => Code !== 'silent'),
      };
    });
  const wait = async (ms: number, signal: AbortSignal | undefined): Promise<void> => {
    await Promise.resolve();
    signal?.throwIfAborted();
    waits.push(ms);
  };
  const retry = { tries: 4, baseMs: 100, capMs: 1000 };
  return { queues: new SqsQueues({ client, urls: URLS, retry, random: () => 1, wait }), requests, entries, waits };
}

function tagOf(body: string): string {
  const message = parseMessage(body);
  return message.type === 'finalize' ? (message.image.tag ?? '') : message.type;
}

function messages(count: number): Outgoing[] {
  return Array.from({ length: count }, (_, n) => tagged(`t${n}`, 'g'));
}

/** The id of the entry with this tag, refused. */
function refuse(entries: Entries, tag: string, Code: string, SenderFault = false): ReturnType<Answer> {
  return entries
    .filter(({ MessageBody = '' }) => tagOf(MessageBody) === tag)
    .map(({ Id = '' }) => ({ Id, Code, SenderFault }));
}

function serviceError(name: string, httpStatusCode: number): SQSServiceException {
  return new SQSServiceException({ name, $fault: 'server', message: 'told so', $metadata: { httpStatusCode } });
}

describe('batches', () => {
  // Twenty-five messages are three requests, in order, each with its group and deduplication id.
  test('ten messages a request', async () => {
    const { queues, requests, entries } = bench();
    const sent = messages(25);
    await queues.send('finalize', sent);
    expect(requests.map((request) => request.length)).toEqual([10, 10, 5]);
    expect(entries.map(({ MessageBody = '' }) => parseMessage(MessageBody))).toEqual(
      sent.map(({ message }) => message),
    );
    expect(entries[3]).toMatchObject({ MessageGroupId: 'g', MessageDeduplicationId: sent[3]?.deduplicationId });
  });

  // Nothing to send costs nothing.
  test('no messages, no request', async () => {
    const { queues, requests } = bench();
    await queues.send('finalize', []);
    expect(requests).toEqual([]);
  });

  // Messages of any size: no request has more than it may, none could have taken the next one's first, none is lost.
  test('as full as allowed', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: MAX_MESSAGE_BYTES }), { maxLength: 60 });
    const one = prepare('finalize', tagged('x', 'g'));
    fc.assert(
      fc.property(sizes, (lengths) => {
        const all = lengths.map((length) => ({ ...one, body: { length } as string }));
        const batches = batchesOf(all);
        expect(batches.flat()).toEqual(all);
        const bytes = batches.map((batch) => batch.reduce((sum, { body }) => sum + body.length, 0));
        for (const [index, batch] of batches.entries()) {
          expect(batch.length).toBeLessThanOrEqual(10);
          expect(bytes[index]).toBeLessThanOrEqual(MAX_MESSAGE_BYTES);
          const next = batches[index + 1]?.[0];
          if (next !== undefined && batch.length < 10)
            expect((bytes[index] ?? 0) + next.body.length).toBeGreaterThan(MAX_MESSAGE_BYTES);
        }
      }),
    );
  });

  // A manifest with a megabyte of URLs for its layer: nothing is sent, and the sender knows that no retry mends it.
  test('a message that is too large is refused before anything is sent', async () => {
    const { queues, requests } = bench();
    const blob = { digest: digestFor('layer'), mediaType: LAYER, urls: ['x'.repeat(1_000_000)] };
    const large = layerMessage(ORDER, IMAGE, blob, { lanes: 1, look: 'nothing' });
    const small = layerMessage(ORDER, IMAGE, { ...blob, urls: [] }, { lanes: 1, look: 'nothing' });
    await expect(queues.send('layer', [small, large])).rejects.toMatchObject({
      side: 'queue',
      code: 'too-large',
      remedy: 'never',
      operation: `send layer ${blob.digest} of docker.io/library/alpine`,
    });
    expect(requests).toEqual([]);
  });
});

describe('partial failures', () => {
  // Two entries of a batch fail for SQS's own reasons: they alone are sent again, after a wait that grows.
  test('only what was not accepted is sent again', async () => {
    const { queues, requests, waits } = bench((entries, request) =>
      request > 2
        ? []
        : [
            ...refuse(entries, 't1', 'InternalError'),
            ...refuse(entries, request === 1 ? 't3' : '', 'ServiceUnavailable'),
          ],
    );
    await queues.send('finalize', messages(5));
    expect(requests).toEqual([['t0', 't1', 't2', 't3', 't4'], ['t1', 't3'], ['t1']]);
    expect(waits).toEqual([100, 200]);
  });

  // SQS says nothing about one entry at all: nobody may believe that it was accepted.
  test('silence is not acceptance', async () => {
    const { queues, requests } = bench((entries, request) => (request === 1 ? refuse(entries, 't1', 'silent') : []));
    await queues.send('finalize', messages(3));
    expect(requests).toEqual([['t0', 't1', 't2'], ['t1']]);
  });

  // An entry is our own fault: it is not sent again, its neighbour that was only unlucky is; the error names it.
  test('what SQS will never accept is not repeated', async () => {
    const { queues, requests, entries } = bench((sent, request) => [
      ...refuse(sent, 't0', 'InvalidMessageContents', true),
      ...(request === 1 ? refuse(sent, 't1', 'InternalError') : []),
    ]);
    await expect(queues.send('finalize', messages(12))).rejects.toMatchObject({
      operation: 'send to finalize queue',
      side: 'queue',
      code: 'invalid',
      remedy: 'never',
      detail:
        '3 of 12 messages were not accepted (finalize t0 of docker.io/library/alpine; finalize t10 of ' +
        'docker.io/library/alpine; finalize t11 of docker.io/library/alpine): InvalidMessageContents: no message',
    });
    expect(requests.at(-1)).toEqual(['t1']);
    expect(entries).toHaveLength(9);
  });

  // Throttled for longer than the policy lasts: told as such, so that the message that caused it is delivered again.
  test('throttling without end is told', async () => {
    const { queues, requests } = bench((entries) => refuse(entries, 't1', 'RequestThrottled', true));
    await expect(queues.send('finalize', messages(2))).rejects.toMatchObject({
      code: 'rate-limited',
      remedy: 'retry',
      detail: expect.stringMatching(/^1 of 2 messages were not accepted \(finalize t1/) as string,
    });
    expect(requests).toHaveLength(4);
  });
});

describe('failed requests', () => {
  // The whole request fails, in each of the ways that pass: it is sent again as it was.
  test.each([
    ['throttled', serviceError('ThrottlingException', 400)],
    ['not well', serviceError('InternalFailure', 500)],
    ['cut off', Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })],
    ['too slow', Object.assign(new Error('no answer'), { name: 'TimeoutError' })],
  ])('repeated: %s', async (_what, error) => {
    const { queues, requests } = bench((_entries, request) => {
      if (request === 1) throw error;
      return [];
    });
    await queues.send('finalize', messages(2));
    expect(requests).toEqual([
      ['t0', 't1'],
      ['t0', 't1'],
    ]);
  });

  // It fails in a way that stays: told at once, with SQS's own words.
  test.each([
    ['denied', serviceError('AccessDenied', 403)],
    ['invalid', serviceError('QueueDoesNotExist', 400)],
  ])('not repeated: %s', async (code, error) => {
    const { queues, requests, waits } = bench(() => {
      throw error;
    });
    await expect(queues.send('finalize', messages(11))).rejects.toMatchObject({
      side: 'queue',
      code,
      remedy: 'never',
      detail: expect.stringMatching(/^11 of 11 messages .*; and 8 more\): .*told so$/) as string,
    });
    expect(requests).toHaveLength(1);
    expect(waits).toEqual([]);
  });

  // Told to stop while it waits to send again: it ends at once, and says that it was stopped.
  test('an abort ends the waiting', async () => {
    const controller = new AbortController();
    const { queues, requests } = bench((entries) => {
      controller.abort();
      return refuse(entries, 't0', 'InternalError');
    });
    const sent = queues.send('finalize', messages(2), { signal: controller.signal });
    await expect(sent).rejects.toMatchObject({ side: 'queue', code: 'aborted' });
    expect(requests).toHaveLength(1);
  });

  // Told to stop between two requests, with a reason of the caller's own: the second one is not made.
  test('an abort ends the sending', async () => {
    const controller = new AbortController();
    const { queues, requests } = bench(() => {
      controller.abort('enough');
      return [];
    });
    const sent = queues.send('finalize', messages(11), { signal: controller.signal });
    await expect(sent).rejects.toMatchObject({ side: 'queue', code: 'aborted' });
    expect(requests).toHaveLength(1);
  });
});
