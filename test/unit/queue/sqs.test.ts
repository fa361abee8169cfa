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

/** The response of SQS to the n-th request with these entries: refused ids, or an error for all. */
type Answer = (entries: Entries, request: number) => { Id: string; Code: string; SenderFault: boolean }[];

interface Bench {
  readonly queues: SqsQueues;
  /** The tags in each request. */
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

/** The entry with this tag, as refused by SQS. */
function refuse(entries: Entries, tag: string, Code: string, SenderFault = false): ReturnType<Answer> {
  return entries
    .filter(({ MessageBody = '' }) => tagOf(MessageBody) === tag)
    .map(({ Id = '' }) => ({ Id, Code, SenderFault }));
}

function serviceError(name: string, httpStatusCode: number): SQSServiceException {
  return new SQSServiceException({ name, $fault: 'server', message: 'told so', $metadata: { httpStatusCode } });
}

describe('batches', () => {
  test('have ten messages each, in order, with their groups and deduplication ids', async () => {
    const { queues, requests, entries } = bench();
    const sent = messages(25);
    await queues.send('finalize', sent);
    expect(requests.map((request) => request.length)).toEqual([10, 10, 5]);
    expect(entries.map(({ MessageBody = '' }) => parseMessage(MessageBody))).toEqual(
      sent.map(({ message }) => message),
    );
    expect(entries[3]).toMatchObject({ MessageGroupId: 'g', MessageDeduplicationId: sent[3]?.deduplicationId });
  });

  test('are not sent without messages', async () => {
    const { queues, requests } = bench();
    await queues.send('finalize', []);
    expect(requests).toEqual([]);
  });

  test('are as full as the limits allow, for messages of any size', () => {
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

  test('are not sent if one message is too large, and the failure is permanent', async () => {
    const { queues, requests } = bench();
    const blob = { digest: digestFor('layer'), mediaType: LAYER, urls: ['x'.repeat(1_000_000)] };
    const large = layerMessage(ORDER, IMAGE, blob, { lanes: 1, look: 'receipt' });
    const small = layerMessage(ORDER, IMAGE, { ...blob, urls: [] }, { lanes: 1, look: 'receipt' });
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
  test('send only the refused entries again, after growing waits', async () => {
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

  test('treat an entry that the response omits as refused', async () => {
    const { queues, requests } = bench((entries, request) => (request === 1 ? refuse(entries, 't1', 'silent') : []));
    await queues.send('finalize', messages(3));
    expect(requests).toEqual([['t0', 't1', 't2'], ['t1']]);
  });

  test("do not retry an entry that SQS refuses as the sender's fault, and name it in the error", async () => {
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

  test('end as rate-limited if SQS throttles for longer than the policy allows', async () => {
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
  test.each([
    ['throttled', serviceError('ThrottlingException', 400)],
    ['failed by SQS', serviceError('InternalFailure', 500)],
    ['cut off', Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })],
    ['too slow', Object.assign(new Error('no answer'), { name: 'TimeoutError' })],
  ])('are retried unchanged if the request is %s', async (_what, error) => {
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

  test.each([
    ['denied', serviceError('AccessDenied', 403)],
    ['invalid', serviceError('QueueDoesNotExist', 400)],
  ])('are not retried if the request is %s, and the error has the words of SQS', async (code, error) => {
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

  test('stop waiting when the signal is aborted', async () => {
    const controller = new AbortController();
    const { queues, requests } = bench((entries) => {
      controller.abort();
      return refuse(entries, 't0', 'InternalError');
    });
    const sent = queues.send('finalize', messages(2), { signal: controller.signal });
    await expect(sent).rejects.toMatchObject({
      side: 'queue',
      code: 'aborted',
      detail: expect.stringMatching(/^stopped on request \(the last try failed: InternalError: /) as string,
    });
    expect(requests).toHaveLength(1);
  });

  test('stop during a request when the signal is aborted, and name the last failure', async () => {
    const controller = new AbortController();
    const { queues } = bench((_, number) => {
      if (number === 1) throw serviceError('InternalError', 500);
      controller.abort();
      throw new DOMException('This operation was aborted', 'AbortError');
    });
    await expect(queues.send('finalize', messages(1), { signal: controller.signal })).rejects.toMatchObject({
      code: 'aborted',
      detail: 'stopped on request (the last try failed: InternalError: told so)',
    });
  });

  test('stop between two requests with the reason of the abort', async () => {
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
