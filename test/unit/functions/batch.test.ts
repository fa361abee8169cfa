import type { SQSRecord } from 'aws-lambda';
import { describe, expect, test } from 'vitest';
import { handleBatch } from '../../../functions/batch.ts';
import { Failure, type FailureCode } from '../../../lib/core/failure.ts';
import type { FinalizeMessage } from '../../../lib/queue/messages.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import type { Delivery } from '../../../lib/queue/queue.ts';
import { ORDER, tagged } from '../queue/samples.ts';
import { recordOf } from '../../kit/records.ts';

const MAX_RECEIVES = 3;

function failure(code: FailureCode = 'unavailable'): Failure {
  return new Failure({ operation: 'commit', side: 'archive', code, detail: 'it is not there' });
}

interface Options {
  /** Tags that fail, alone or with others. */
  readonly bad?: Readonly<Record<string, Failure>>;
  readonly giveUp?: 'works' | 'fails';
  /** Whether the configuration is invalid. */
  readonly notReady?: Failure;
  readonly requeue?: 'fails';
}

/** Passes a batch to a handler, and records everything that happens to its messages, by tag. */
async function handled(records: readonly SQSRecord[], { bad = {}, giveUp, notReady, requeue }: Options = {}) {
  const done: string[][] = [];
  const complaints: [string, string][] = [];
  const postponed: [string[], FailureCode | 'at once'][] = [];
  const recorded: [string, string][] = [];
  const requeued: string[] = [];
  const waits: number[] = [];
  const nameOf = (record: SQSRecord): string => {
    const [, tag = record.body] = /"tag":"([^"]*)"/.exec(record.body) ?? [];
    return tag;
  };
  const handleAll = (deliveries: readonly Delivery<FinalizeMessage>[]): Promise<void> => {
    const tags = deliveries.map(({ message }) => message.image.tag ?? '');
    const wrong = tags.find((tag) => tag in bad);
    if (wrong !== undefined) return Promise.reject(bad[wrong]!);
    done.push(tags);
    return Promise.resolve();
  };
  const answer = await handleBatch<FinalizeMessage>(
    { Records: [...records] },
    {
      type: 'finalize',
      maxReceives: MAX_RECEIVES,
      handle: (delivery) => handleAll([delivery]),
      handleTogether: handleAll,
      ...(giveUp === undefined
        ? {}
        : {
            giveUp: ({ message }, { message: reason }) => {
              if (giveUp === 'fails') return Promise.reject(failure('io'));
              recorded.push([message.image.tag ?? '', reason]);
              return Promise.resolve();
            },
          }),
      ready: () => (notReady === undefined ? Promise.resolve() : Promise.reject(notReady)),
      requeue: (record) => {
        if (requeue === 'fails') return Promise.reject(failure('io'));
        requeued.push(nameOf(record));
        return Promise.resolve();
      },
      postpone: (some, why) => {
        waits.push(why?.retryAfterMs ?? 0);
        postponed.push([some.map(nameOf), why?.code ?? 'at once']);
        return Promise.resolve();
      },
      onFailure: (record, { code }, waiting) => complaints.push([nameOf(record), waiting ? `${code}, waits` : code]),
    },
  );
  const byId = new Map(records.map((record) => [record.messageId, nameOf(record)]));
  const returned = answer.batchItemFailures.map(({ itemIdentifier }) => byId.get(itemIdentifier));
  return { done, returned, complaints, postponed, recorded, requeued, waits };
}

function batch(
  tags: readonly string[],
  options: { group?: string; receiveCount?: number; sent?: number } = {},
): SQSRecord[] {
  return tags.map((tag) => recordOf(tagged(tag, 'a').message, options));
}

test('messages of one group are handled together', async () => {
  const { done, returned } = await handled([...batch(['a', 'b', 'c']), ...batch(['x'], { group: 'other' })]);
  expect(done).toEqual([['a', 'b', 'c'], ['x']]);
  expect(returned).toEqual([]);
});

test('a record without message attributes is handled', async () => {
  const [{ messageAttributes: _, ...record }] = batch(['a']) as [SQSRecord];
  const { done, complaints } = await handled([record as SQSRecord]);
  expect([done, complaints]).toEqual([[['a']], []]);
});

test('a failed message returns the later messages of its group, and no others', async () => {
  const records = [...batch(['a', 'bad', 'c', 'd']), ...batch(['x'], { group: 'other' })];
  const { done, returned, complaints, postponed } = await handled(records, { bad: { bad: failure() } });
  expect(done).toEqual([['x'], ['a']]);
  expect(returned).toEqual(['bad', 'c', 'd']);
  expect(complaints).toEqual([['bad', 'unavailable']]);
  expect(postponed).toEqual([[['bad', 'c', 'd'], 'unavailable']]);
});

test('an unreadable message returns the later messages of its group', async () => {
  const records = [...batch(['a']), recordOf('{'), ...batch(['c'])];
  const { done, returned, complaints } = await handled(records, { giveUp: 'works' });
  expect(done).toEqual([['a']]);
  expect(returned).toEqual(['{', 'c']);
  expect(complaints).toEqual([['{', 'invalid']]);
});

test('an unreadable message becomes a dead letter alone on its last delivery', async () => {
  const last = { receiveCount: MAX_RECEIVES };
  const records = [...batch(['a'], last), recordOf('{', last), ...batch(['c', 'd'], last)];
  const { done, returned, postponed } = await handled(records, { giveUp: 'works' });
  expect(done).toEqual([['a'], ['c'], ['d']]);
  expect(returned).toEqual(['{']);
  expect(postponed).toEqual([[['{'], 'at once']]);
});

test('a failed message is recorded with its reason on its last delivery, and is done', async () => {
  const records = batch(['a', 'bad', 'c'], { receiveCount: MAX_RECEIVES });
  const { done, returned, recorded } = await handled(records, { bad: { bad: failure() }, giveUp: 'works' });
  expect(done).toEqual([['a'], ['c']]);
  expect(returned).toEqual([]);
  expect(recorded).toEqual([['bad', 'commit: it is not there']]);
});

test.for([
  ['cannot be recorded', { bad: { bad: failure() }, giveUp: 'fails' }],
  ['was stopped', { bad: { bad: failure('aborted') }, giveUp: 'works' }],
  ['has no handler for records', { bad: { bad: failure() } }],
] as const)('a message that %s becomes a dead letter alone on its last delivery', async ([, options]) => {
  const records = batch(['a', 'bad', 'c'], { receiveCount: MAX_RECEIVES });
  const { done, returned, recorded } = await handled(records, options);
  expect(done).toEqual([['a'], ['c']]);
  expect(returned).toEqual(['bad']);
  expect(recorded).toEqual([]);
});

test('a message of another type is returned as failed, and not handled', async () => {
  const other = recordOf(resolveMessage(ORDER, { kind: 'list' }).message);
  const complaints: string[] = [];
  const answer = await handleBatch<FinalizeMessage>(
    { Records: [other] },
    {
      type: 'finalize',
      maxReceives: MAX_RECEIVES,
      handle: () => Promise.resolve(),
      postpone: () => Promise.resolve(),
      requeue: () => Promise.resolve(),
      onFailure: (_record, { message }) => complaints.push(message),
    },
  );
  expect(answer.batchItemFailures).toEqual([{ itemIdentifier: other.messageId }]);
  expect(complaints).toEqual([expect.stringContaining('expected a finalize message, got a resolve message')]);
});

describe('a message that waits', () => {
  const notReady = new Failure({ operation: 'read', side: 'input', code: 'invalid', detail: 'mirror.yaml:3:5: typo' });
  /** Of a later release. */
  const later = (receiveCount: number): SQSRecord => recordOf('{"version":3,"tag":"later"}', { receiveCount });

  test('returns after 20 s while the configuration is invalid, with the later messages of its group', async () => {
    const { done, returned, complaints, postponed, waits } = await handled(batch(['a', 'b']), {
      notReady,
      giveUp: 'works',
      bad: { a: failure() },
    });
    expect([done, returned]).toEqual([[], ['a', 'b']]);
    expect(complaints).toEqual([['a', 'invalid, waits']]);
    expect(postponed).toEqual([[['a', 'b'], 'invalid']]);
    expect(waits).toEqual([20_000]);
  });

  test('goes to the end of its group on its last delivery, without a record', async () => {
    const records = [...batch(['a'], { receiveCount: MAX_RECEIVES }), ...batch(['b'], { receiveCount: 1 })];
    const { returned, requeued, recorded } = await handled(records, {
      notReady,
      giveUp: 'works',
      bad: { a: failure() },
    });
    expect(requeued).toEqual(['a']);
    expect(returned).toEqual(['b']);
    expect(recorded).toEqual([]);
  });

  test('is recorded with the true reason after four days', async () => {
    const sent = Date.now() - 4 * 24 * 60 * 60_000 - 1_000;
    const { returned, requeued, recorded } = await handled(batch(['a'], { receiveCount: MAX_RECEIVES, sent }), {
      notReady,
      giveUp: 'works',
      bad: { a: failure() },
    });
    expect([returned, requeued]).toEqual([[], []]);
    expect(recorded).toEqual([['a', 'read: mirror.yaml:3:5: typo']]);
  });

  test('counts the four days from its first send', async () => {
    const [record] = batch(['a'], { receiveCount: MAX_RECEIVES });
    const firstSent = {
      dataType: 'Number',
      stringValue: String(Date.now() - 5 * 24 * 60 * 60_000),
      stringListValues: [],
      binaryListValues: [],
    };
    const { requeued } = await handled([{ ...record!, messageAttributes: { firstSent } }], {
      notReady,
      giveUp: 'works',
    });
    expect(requeued).toEqual([]);
  });

  test('may be of a later release', async () => {
    const first = await handled([later(1), ...batch(['b'])], { giveUp: 'works' });
    expect([first.returned, first.waits]).toEqual([['later', 'b'], [20_000]]);
    const last = await handled([later(MAX_RECEIVES), ...batch(['b'])], { giveUp: 'works' });
    expect([last.returned, last.requeued, last.done]).toEqual([[], ['later'], [['b']]]);
  });

  test('becomes a dead letter if it cannot be sent again', async () => {
    const { returned, complaints } = await handled([later(MAX_RECEIVES)], { requeue: 'fails' });
    expect(returned).toEqual(['later']);
    expect(complaints).toEqual([
      ['later', 'unsupported, waits'],
      ['later', 'io'],
    ]);
  });
});

describe('a message that meets a rate limit', () => {
  const limited = new Failure({
    operation: 'resolve',
    side: 'source',
    code: 'rate-limited',
    detail: '429',
    retryAfterMs: 600_000,
  });
  const HOUR = 3_600_000;

  test('waits as long as the registry requests, like any other failed message', async () => {
    const { postponed, waits, requeued } = await handled(batch(['a']), { bad: { a: limited } });
    expect([postponed, waits, requeued]).toEqual([[[['a'], 'rate-limited']], [600_000], []]);
  });

  test('is queued again on its last delivery, without a record', async () => {
    const records = batch(['a'], { receiveCount: MAX_RECEIVES });
    const { requeued, recorded, returned } = await handled(records, { bad: { a: limited }, giveUp: 'works' });
    expect({ requeued, recorded, returned }).toEqual({ requeued: ['a'], recorded: [], returned: [] });
  });

  test('is recorded on its last delivery one day after its first send', async () => {
    const [record] = batch(['a'], { receiveCount: MAX_RECEIVES });
    const sent = String(Date.now() - 25 * HOUR);
    const old = { ...record!, attributes: { ...record!.attributes, SentTimestamp: sent } };
    const { requeued, recorded } = await handled([old], { bad: { a: limited }, giveUp: 'works' });
    expect([requeued, recorded.map(([tag]) => tag)]).toEqual([[], ['a']]);
  });
});
