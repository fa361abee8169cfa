import { describe, expect, test } from 'vitest';
import type { Consumer, Delivery, MessageOf, QueueName, Queues } from '../../lib/queue/queue.ts';
import { tagged } from '../unit/queue/samples.ts';

/** An implementation of the queues, with the poller that delivers its messages to handlers. */
export interface QueuesUnderTest extends AsyncDisposable {
  readonly queues: Queues;
  /** Deliveries of a message before it becomes a dead letter. */
  readonly maxReceives: number;
  /** Messages that became dead letters, by tag. */
  readonly dead: readonly string[];
  consume<Q extends QueueName>(queue: Q, consumer: Consumer<MessageOf<Q>>): void;
  /** Resolves when every message is done or dead. Failed messages without a wait are delivered again automatically. */
  idle(): Promise<void>;
  /** Advances this number of milliseconds, in real time if necessary. */
  elapse(ms: number): Promise<void>;
}

/** The contract of `Queues`, for any implementation and poller. */
export function queuesContract(name: string, open: () => Promise<QueuesUnderTest>): void {
  describe(`queues: ${name}`, () => {
    test('messages of a group are handled in the order in which they were sent', async () => {
      await using under = await open();
      const log = new Log();
      await under.queues.send('finalize', ['a1', 'b1', 'a2', 'c1', 'b2'].map(inItsGroup));
      await under.queues.send('finalize', ['a3', 'c2'].map(inItsGroup));
      under.consume('finalize', { concurrency: 3, batchSize: 1, handler: log.handler() });
      await under.idle();
      expect(log.tags.toSorted()).toEqual(['a1', 'a2', 'a3', 'b1', 'b2', 'c1', 'c2']);
      expect(log.of('a')).toEqual(['a1', 'a2', 'a3']);
      expect(log.of('b')).toEqual(['b1', 'b2']);
      expect(log.of('c')).toEqual(['c1', 'c2']);
    });

    test('one batch of a group is in flight at a time, and several groups are handled concurrently', async () => {
      await using under = await open();
      const log = new Log();
      const b1 = Promise.withResolvers<void>();
      const handler = log.handler(async (tags) => {
        if (tags.includes('b1')) b1.resolve();
        // It ends only if the other group is handled meanwhile.
        if (tags.includes('a1')) await b1.promise;
        return [];
      });
      await under.queues.send('finalize', ['a1', 'a2', 'b1'].map(inItsGroup));
      under.consume('finalize', { concurrency: 3, batchSize: 1, handler });
      await under.idle();
      expect(log.tags.indexOf('b1')).toBeLessThan(log.tags.indexOf('a2'));
      expect(log.mostOfOneGroup).toBe(1);
    });

    test('a batch belongs to one group, and has at most the allowed number of messages', async () => {
      await using under = await open();
      const log = new Log();
      const tags = Array.from({ length: 12 }, (_, n) => [`a${n}`, `b${n}`]).flat();
      await under.queues.send('finalize', tags.map(inItsGroup));
      under.consume('finalize', { concurrency: 2, batchSize: 5, handler: log.handler() });
      await under.idle();
      for (const batch of log.batches) {
        expect(batch.length).toBeLessThanOrEqual(5);
        expect(new Set(batch.map((tag) => tag[0])).size).toBe(1);
      }
      expect(log.of('a')).toEqual(tags.filter((tag) => tag.startsWith('a')));
    });

    // Its count rises, its id stays, and the messages before it are done.
    test('a failed message is delivered again with the rest of its batch', async () => {
      await using under = await open();
      const log = new Log();
      const failing = new Set(['a2']);
      await under.queues.send('finalize', ['a1', 'a2', 'a3'].map(inItsGroup));
      under.consume('finalize', {
        concurrency: 1,
        batchSize: 3,
        handler: log.handler((tags) => tags.filter((tag) => failing.delete(tag))),
      });
      await under.idle();
      const whole = log.batches[0]?.length === 3;
      // A poller may deliver fewer messages than exist; then a3 was not in the failed batch.
      expect(log.tags).toEqual(whole ? ['a1', 'a2', 'a3', 'a2', 'a3'] : ['a1', 'a2', 'a2', 'a3']);
      const a2 = log.deliveries.filter(({ message }) => tagOf(message) === 'a2');
      expect(a2.map(({ receiveCount }) => receiveCount)).toEqual([1, 2]);
      expect(new Set(a2.map(({ id }) => id)).size).toBe(1);
      expect(under.dead).toEqual([]);
    });

    test('a handler that throws fails its whole batch', async () => {
      await using under = await open();
      const log = new Log();
      let thrown = false;
      const handler = log.handler(() => {
        if (thrown) return [];
        thrown = true;
        throw new Error('a bug');
      });
      await under.queues.send('finalize', ['a1', 'a2'].map(inItsGroup));
      under.consume('finalize', { concurrency: 1, batchSize: 1, handler });
      await under.idle();
      expect(log.tags).toEqual(['a1', 'a1', 'a2']);
    });

    // The registry of group a answers 429, and group b is not affected.
    test('a message waits as long as its handler says, and so does its group', async () => {
      await using under = await open();
      const log = new Log();
      const b2 = Promise.withResolvers<void>();
      let limited = true;
      const handler = log.handler((tags) => {
        if (tags.includes('b2')) b2.resolve();
        const failed = limited && tags.includes('a1') ? ['a1'] : [];
        if (tags.includes('a1')) limited = false;
        return failed;
      }, 2_000);
      await under.queues.send('finalize', ['a1', 'a2', 'b1', 'b2'].map(inItsGroup));
      under.consume('finalize', { concurrency: 1, batchSize: 1, handler });
      await b2.promise;
      expect(log.of('a')).toEqual(['a1']);
      await under.elapse(2_000);
      await under.idle();
      expect(log.of('a')).toEqual(['a1', 'a1', 'a2']);
    });

    test('a message that always fails becomes a dead letter, and its group continues', async () => {
      await using under = await open();
      const log = new Log();
      await under.queues.send('finalize', ['a1', 'a2', 'a3'].map(inItsGroup));
      const handler = log.handler((tags) => tags.filter((tag) => tag === 'a2'));
      under.consume('finalize', { concurrency: 1, batchSize: 1, handler });
      await under.idle();
      expect(under.dead).toEqual(['a2']);
      expect(log.of('a')).toEqual(['a1', ...Array<string>(under.maxReceives).fill('a2'), 'a3']);
    });

    test('a repetition within five minutes is dropped, even after the first message was handled', async () => {
      await using under = await open();
      const log = new Log();
      under.consume('finalize', { concurrency: 1, batchSize: 10, handler: log.handler() });
      await under.queues.send('finalize', [inItsGroup('a1'), inItsGroup('a1')]);
      await under.idle();
      await under.queues.send('finalize', [inItsGroup('a1'), inItsGroup('a2')]);
      await under.idle();
      expect(log.tags).toEqual(['a1', 'a2']);
    });

    test('messages that a handler sends are handled before the queues are idle', async () => {
      await using under = await open();
      const log = new Log();
      const handler = log.handler(async (tags) => {
        if (tags.includes('a1')) await under.queues.send('finalize', [inItsGroup('b1')]);
        return [];
      });
      under.consume('finalize', { concurrency: 1, batchSize: 1, handler });
      await under.queues.send('finalize', [inItsGroup('a1')]);
      await under.idle();
      expect(log.tags).toEqual(['a1', 'b1']);
    });

    test('a message that no queue accepts is refused when it is sent', async () => {
      await using under = await open();
      const sent = under.queues.send('finalize', [{ ...inItsGroup('a1'), group: 'has a space' }]);
      await expect(sent).rejects.toMatchObject({ side: 'queue', remedy: 'never' });
    });

    test('an aborted send sends nothing', async () => {
      await using under = await open();
      const log = new Log();
      const signal = AbortSignal.abort();
      const sent = under.queues.send('finalize', [inItsGroup('a1')], { signal });
      await expect(sent).rejects.toMatchObject({ side: 'queue', code: 'aborted' });
      under.consume('finalize', { concurrency: 1, batchSize: 1, handler: log.handler() });
      await under.idle();
      expect(log.tags).toEqual([]);
    });
  });
}

type Finalize = MessageOf<'finalize'>;

/** `a1` is the first message of group `a`. */
function inItsGroup(tag: string): ReturnType<typeof tagged> {
  return tagged(tag, tag.slice(0, 1));
}

function tagOf(message: Finalize): string {
  return message.image.tag ?? '';
}

/** The delivered batches in order, and the largest number of concurrent batches of one group. */
class Log {
  readonly batches: string[][] = [];
  readonly deliveries: Delivery<Finalize>[] = [];
  readonly #inFlight = new Map<string, number>();
  mostOfOneGroup = 0;

  get tags(): string[] {
    return this.batches.flat();
  }

  of(group: string): string[] {
    return this.tags.filter((tag) => tag.startsWith(group));
  }

  /** A handler that writes the log and calls `work`, which returns the failed tags. */
  handler(
    work: (tags: readonly string[]) => readonly string[] | Promise<readonly string[]> = () => [],
    retryAfterMs = 0,
  ): Consumer<Finalize>['handler'] {
    return async (deliveries) => {
      const group = deliveries[0]?.group ?? '';
      const ids = new Map(deliveries.map(({ id, message }) => [tagOf(message), id]));
      this.batches.push([...ids.keys()]);
      this.deliveries.push(...deliveries);
      this.#inFlight.set(group, (this.#inFlight.get(group) ?? 0) + 1);
      this.mostOfOneGroup = Math.max(this.mostOfOneGroup, this.#inFlight.get(group) ?? 0);
      try {
        const failed = (await work([...ids.keys()])).map((tag) => ids.get(tag) ?? '');
        return { failed, retryAfterMs: new Map(failed.map((id) => [id, retryAfterMs])) };
      } finally {
        this.#inFlight.set(group, (this.#inFlight.get(group) ?? 0) - 1);
      }
    };
  }
}
