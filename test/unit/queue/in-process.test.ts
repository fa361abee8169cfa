import { describe, expect, test, vi } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { type DeadLetter, type InProcessOptions, InProcessQueues } from '../../../lib/queue/in-process/in-process.ts';
import { LinkedList } from '../../../lib/queue/in-process/linked-list.ts';
import { SeenIds } from '../../../lib/queue/in-process/seen-ids.ts';
import type { FinalizeMessage, LayerMessage } from '../../../lib/queue/messages.ts';
import { layerMessage, resolveMessage } from '../../../lib/queue/outgoing.ts';
import type { BatchResult, Delivery, Handler, Outgoing } from '../../../lib/queue/queue.ts';
import { ManualClock } from './manual-clock.ts';
import { digestFor, IMAGE, LAYER, ORDER, tagged } from './samples.ts';

const MINUTE = 60_000;
const DONE: BatchResult = { failed: [] };

interface Bench extends AsyncDisposable {
  readonly queues: InProcessQueues;
  readonly clock: ManualClock;
  readonly dead: DeadLetter[];
}

function bench(options: Partial<InProcessOptions> = {}): Bench {
  const clock = new ManualClock();
  const dead: DeadLetter[] = [];
  const queues = new InProcessQueues({
    deadLetter: async (letter) => {
      await Promise.resolve();
      dead.push(letter);
    },
    clock,
    ...options,
  });
  return { queues, clock, dead, [Symbol.asyncDispose]: () => queues.stop() };
}

/** Sends to the finalize queue: `a1` goes to group `a`. */
function send({ queues }: Bench, ...tags: string[]): Promise<void> {
  return queues.send(
    'finalize',
    tags.map((tag) => tagged(tag, tag.slice(0, 1))),
  );
}

function tagsOf(deliveries: readonly Delivery<FinalizeMessage>[]): string[] {
  return deliveries.map(({ message }) => message.image.tag ?? '');
}

/** A handler that fails the tags of `failing`, and logs its batches. */
function handlerOf(log: string[][], failing: (tag: string) => boolean = () => false): Handler<FinalizeMessage> {
  return async (deliveries) => {
    await Promise.resolve();
    log.push(tagsOf(deliveries));
    return { failed: deliveries.filter(({ message }) => failing(message.image.tag ?? '')).map(({ id }) => id) };
  };
}

/** A handler that ends only when its signal is aborted. */
function untilAborted(onStart: () => void): Handler<FinalizeMessage> {
  return (_deliveries, signal) => {
    onStart();
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        reject(signal.reason as Error);
      });
    });
  };
}

/** Resolves when everything has run that needs no passage of time. */
function quiet(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Calls back for each step of a list, until the returned function is called. */
function countSteps(count: () => void): () => void {
  const names = ['push', 'unshift', 'shift'] as const;
  const spies = names.map((name) => {
    const step = Object.getOwnPropertyDescriptor(LinkedList.prototype, name)?.value as (...given: unknown[]) => unknown;
    return vi.spyOn(LinkedList.prototype, name).mockImplementation(function (this: unknown, ...given: unknown[]) {
      count();
      return step.apply(this, given);
    } as never);
  });
  return () => {
    for (const spy of spies) spy.mockRestore();
  };
}

describe('scheduling', () => {
  test('gives each group a turn after one batch of another group', async () => {
    await using under = bench();
    const log: string[][] = [];
    await send(under, ...Array.from({ length: 100 }, (_, n) => `a${n}`), 'b1', 'c1');
    under.queues.consume('finalize', { concurrency: 1, batchSize: 10, handler: handlerOf(log) });
    await under.queues.idle();
    expect(log.map(([tag = '']) => tag).slice(0, 4)).toEqual(['a0', 'b1', 'c1', 'a10']);
    expect(log).toHaveLength(12);
  });

  test('keeps the number of concurrent batches within the limit', async () => {
    await using under = bench();
    let now = 0;
    let most = 0;
    await send(under, ...Array.from({ length: 20 }, (_, n) => String.fromCharCode(97 + n)));
    const handler: Handler<FinalizeMessage> = async () => {
      most = Math.max(most, (now += 1));
      await quiet();
      now -= 1;
      return DONE;
    };
    under.queues.consume('finalize', { concurrency: 3, batchSize: 1, handler });
    await under.queues.idle();
    expect(most).toBe(3);
  });

  test('does not call a handler inside send', async () => {
    await using under = bench();
    const log: string[][] = [];
    under.queues.consume('finalize', { concurrency: 1, batchSize: 10, handler: handlerOf(log) });
    const sent = send(under, 'a1', 'a2');
    expect(log).toEqual([]);
    await sent;
    await under.queues.idle();
    expect(log).toEqual([['a1', 'a2']]);
  });

  test('resolves idle only when all queues are idle', async () => {
    await using under = bench();
    const { queues } = under;
    const log: string[] = [];
    await queues.send('resolve', [resolveMessage(ORDER, { kind: 'list' })]);
    const blob = { digest: digestFor('layer'), mediaType: LAYER };
    queues.consume('resolve', {
      concurrency: 1,
      batchSize: 1,
      handler: async ([delivery]) => {
        log.push(delivery?.message.what.kind ?? '');
        await queues.send('layer', [layerMessage(ORDER, IMAGE, blob, { lanes: 1, look: 'receipt' })]);
        return DONE;
      },
    });
    queues.consume('layer', {
      concurrency: 1,
      batchSize: 1,
      handler: async ([delivery]) => {
        log.push(delivery?.message.blob.digest ?? '');
        await send(under, 'a1');
        return DONE;
      },
    });
    queues.consume('finalize', {
      concurrency: 1,
      batchSize: 1,
      handler: async ([delivery]) => {
        await quiet();
        log.push(delivery?.message.image.tag ?? '');
        return DONE;
      },
    });
    await queues.idle();
    expect(log).toEqual(['list', blob.digest, 'a1']);
  });

  /** The steps of all lists per message, for this number of messages with ten in each group. */
  async function stepsPerMessage(messages: number): Promise<number> {
    await using under = bench();
    let [steps, handled] = [0, 0];
    const count = (): void => void (steps += 1);
    const restore = countSteps(count);
    try {
      const one = tagged('x', 'x');
      await under.queues.send(
        'finalize',
        Array.from({ length: messages }, (_, n) => ({
          ...one,
          group: `g${n % (messages / 10)}`,
          deduplicationId: `${n}`,
        })),
      );
      const handler: Handler<FinalizeMessage> = async (deliveries) => {
        await Promise.resolve();
        handled += deliveries.length;
        return DONE;
      };
      under.queues.consume('finalize', { concurrency: 50, batchSize: 10, handler });
      await under.queues.idle();
    } finally {
      restore();
    }
    expect(handled).toBe(messages);
    return steps / messages;
  }

  test('takes the same number of steps per message for any number of waiting messages', async () => {
    const [few, many] = [await stepsPerMessage(500), await stepsPerMessage(10_000)];
    expect(few).toBeGreaterThan(2);
    expect(many).toBeLessThan(few * 1.1);
  });

  test('refuses a second consumer of a queue, and a consumer with invalid numbers', async () => {
    await using under = bench();
    const consumer = { concurrency: 1, batchSize: 1, handler: handlerOf([]) };
    expect(() => {
      under.queues.consume('finalize', { ...consumer, concurrency: 0 });
    }).toThrow(RangeError);
    expect(() => {
      under.queues.consume('finalize', { ...consumer, batchSize: Number.NaN });
    }).toThrow(RangeError);
    under.queues.consume('finalize', consumer);
    expect(() => {
      under.queues.consume('finalize', consumer);
    }).toThrow(/has its consumer/);
  });
});

test('the layers of an image share its facts in memory, and have no facts of another image', async () => {
  await using under = bench();
  const other = { ...IMAGE, tag: 'other' };
  const sent = [IMAGE, IMAGE, other, other].map((image, at) => {
    const blob = { digest: digestFor(String(at)), mediaType: LAYER };
    return { ...layerMessage(ORDER, image, blob, { lanes: 1, look: 'receipt' }), group: 'one' };
  });
  const seen: LayerMessage[] = [];
  under.queues.consume('layer', {
    concurrency: 1,
    batchSize: 4,
    handler(deliveries) {
      seen.push(...deliveries.map(({ message }) => message));
      return Promise.resolve(DONE);
    },
  });
  await under.queues.send('layer', sent);
  await under.queues.idle();
  expect(seen).toEqual(sent.map(({ message }) => message));
  const [first, second, third, fourth] = seen.map(({ image }) => image);
  expect([first === second, second === third, third === fourth]).toEqual([true, false, true]);
});

// A finalizer rewrites a whole index for each batch, so it waits in order to write for more messages at once.
describe('a group that rests', () => {
  /** Rests for a second after each batch; a layer is being copied until `copied` is called. */
  function resting(
    under: Bench,
    failing?: (log: string[][]) => boolean,
  ): { readonly log: string[][]; readonly copied: () => void } {
    const log: string[][] = [];
    const handler = handlerOf(log, () => failing?.(log) === true);
    const layer = Promise.withResolvers<undefined>();
    under.queues.consume('finalize', {
      concurrency: 2,
      batchSize: 10,
      handler: async (deliveries, signal) => ({ ...(await handler(deliveries, signal)), restMs: 1_000 }),
    });
    under.queues.consume('layer', { concurrency: 1, batchSize: 1, handler: () => layer.promise.then(() => DONE) });
    return {
      log,
      copied: () => {
        layer.resolve(undefined);
      },
    };
  }

  const layer = layerMessage(
    ORDER,
    IMAGE,
    { digest: digestFor('layer'), mediaType: LAYER },
    { lanes: 1, look: 'receipt' },
  );

  test('delivers the messages that arrived meanwhile in its next batch', async () => {
    await using under = bench();
    const { log, copied } = resting(under);
    await under.queues.send('layer', [layer]);
    await send(under, 'a1', 'b1');
    await quiet();
    for (const tag of ['a2', 'a3', 'b2']) {
      await send(under, tag);
      await quiet();
    }
    under.clock.advance(999);
    await quiet();
    expect(log).toEqual([['a1'], ['b1']]);
    under.clock.advance(1);
    await quiet();
    expect(log.slice(2)).toEqual([['a2', 'a3'], ['b2']]);
    copied();
    await under.queues.idle();
  });

  test('does not rest while a whole batch is waiting', async () => {
    await using under = bench();
    const { log, copied } = resting(under);
    await under.queues.send('layer', [layer]);
    const tags = Array.from({ length: 25 }, (_, at) => `a${at}`);
    await send(under, ...tags);
    await quiet();
    expect(log).toEqual([tags.slice(0, 10), tags.slice(10, 20)]);
    copied();
    await under.queues.idle();
    expect(log[2]).toEqual(tags.slice(20));
  });

  test('does not rest while no other message is being handled', async () => {
    await using under = bench();
    const { log, copied } = resting(under);
    await under.queues.send('layer', [layer]);
    await send(under, 'a1');
    await quiet();
    await send(under, 'a2');
    await quiet();
    expect(log).toEqual([['a1']]);
    copied();
    await under.queues.idle();
    expect(log).toEqual([['a1'], ['a2']]);
    await send(under, 'a3');
    await under.queues.idle();
    expect(log).toHaveLength(3);
    await quiet();
    expect(under.clock.pending).toBe(0);
  });

  test('does not rest after a failure, which has its own time of retry', async () => {
    await using under = bench({ retryMs: 50 });
    const { log, copied } = resting(under, ({ length }) => length === 1);
    await under.queues.send('layer', [layer]);
    await send(under, 'a1');
    await quiet();
    under.clock.advance(50);
    await quiet();
    expect(log).toEqual([['a1'], ['a1']]);
    copied();
    await under.queues.idle();
  });
});

describe('failures', () => {
  test('a failed message is delivered alone, so that its neighbours do not become dead letters with it', async () => {
    await using under = bench({ retryMs: 0 });
    const log: string[][] = [];
    await send(under, 'a1', 'a2', 'a3', 'a4');
    under.queues.consume('finalize', { concurrency: 1, batchSize: 10, handler: handlerOf(log, (tag) => tag === 'a2') });
    await under.queues.idle();
    expect(log).toEqual([['a1', 'a2', 'a3', 'a4'], ['a2'], ['a2'], ['a2'], ['a2'], ['a3', 'a4']]);
    expect(under.dead.map(({ queue, delivery }) => [queue, delivery.receiveCount])).toEqual([['finalize', 5]]);
  });

  test('each message of a batch is delivered alone after its handler throws', async () => {
    await using under = bench({ retryMs: 0, maxReceives: 3 });
    const bug = new Error('a bug');
    const log: string[][] = [];
    await send(under, 'a1', 'a2', 'a3');
    under.queues.consume('finalize', {
      concurrency: 1,
      batchSize: 10,
      handler: async (deliveries) => {
        await Promise.resolve();
        log.push(tagsOf(deliveries));
        if (tagsOf(deliveries).includes('a2')) throw bug;
        return DONE;
      },
    });
    await under.queues.idle();
    expect(log).toEqual([['a1', 'a2', 'a3'], ['a1'], ['a2'], ['a2'], ['a3']]);
    expect(under.dead).toHaveLength(1);
    expect(under.dead[0]?.failure).toMatchObject({ operation: 'handle finalize messages', cause: bug });
  });

  test('a failed message is delivered again after the default wait if the handler names none', async () => {
    await using under = bench({ retryMs: 1000 });
    const log: string[][] = [];
    let failing = true;
    await send(under, 'a1');
    under.queues.consume('finalize', { concurrency: 1, batchSize: 1, handler: handlerOf(log, () => failing) });
    await quiet();
    failing = false;
    under.clock.advance(999);
    await quiet();
    expect(log).toHaveLength(1);
    under.clock.advance(1);
    await under.queues.idle();
    expect(log).toHaveLength(2);
  });

  test('a failed message waits for the whole Retry-After of a thrown failure', async () => {
    await using under = bench();
    let deliveries = 0;
    await send(under, 'a1');
    under.queues.consume('finalize', {
      concurrency: 1,
      batchSize: 1,
      handler: async () => {
        await Promise.resolve();
        deliveries += 1;
        if (deliveries > 1) return DONE;
        const detail = 'too many requests';
        throw new Failure({ operation: 'get', side: 'source', code: 'rate-limited', detail, retryAfterMs: 90_000 });
      },
    });
    await quiet();
    under.clock.advance(89_999);
    await quiet();
    expect(deliveries).toBe(1);
    under.clock.advance(1);
    await under.queues.idle();
    expect(deliveries).toBe(2);
  });

  // A registry may ask for a month, and a timer longer than 24 days fires at once.
  test('a failed message waits for at most the twelve hours of SQS', async () => {
    await using under = bench();
    let deliveries = 0;
    await send(under, 'a1');
    under.queues.consume('finalize', {
      concurrency: 1,
      batchSize: 1,
      handler: async ([delivery]) => {
        await Promise.resolve();
        deliveries += 1;
        if (delivery === undefined || deliveries > 1) return DONE;
        return { failed: [delivery.id], retryAfterMs: new Map([[delivery.id, 31 * 24 * 60 * MINUTE]]) };
      },
    });
    await quiet();
    under.clock.advance(12 * 60 * MINUTE - 1);
    await quiet();
    expect(deliveries).toBe(1);
    under.clock.advance(1);
    await under.queues.idle();
    expect(deliveries).toBe(2);
  });

  test('a result that names messages outside of the batch fails the whole batch, as on Lambda', async () => {
    await using under = bench({ retryMs: 0 });
    let deliveries = 0;
    await send(under, 'a1');
    under.queues.consume('finalize', {
      concurrency: 1,
      batchSize: 1,
      handler: async () => {
        await Promise.resolve();
        deliveries += 1;
        return deliveries === 1 ? { failed: ['finalize-17'] } : DONE;
      },
    });
    await under.queues.idle();
    expect(deliveries).toBe(2);
  });

  test('a dead letter that cannot be recorded fails the run', async () => {
    const full = new Failure({ operation: 'write report', side: 'archive', code: 'no-space', detail: 'disk full' });
    await using under = bench({ retryMs: 0, deadLetter: () => Promise.reject(full) });
    const log: string[][] = [];
    await send(under, 'a1', 'a2');
    under.queues.consume('finalize', { concurrency: 1, batchSize: 1, handler: handlerOf(log, (tag) => tag === 'a1') });
    await expect(under.queues.idle()).rejects.toBe(full);
    expect(log.at(-1)).toEqual(['a2']);
  });
});

describe('deduplication', () => {
  test('drops repetitions for five minutes after the first message, and repetitions do not extend that time', async () => {
    await using under = bench();
    const log: string[][] = [];
    under.queues.consume('finalize', { concurrency: 1, batchSize: 1, handler: handlerOf(log) });
    await send(under, 'a1');
    under.clock.advance(5 * MINUTE - 1);
    await send(under, 'a1');
    await under.queues.idle();
    expect(log).toHaveLength(1);
    under.clock.advance(1);
    await send(under, 'a1');
    await under.queues.idle();
    expect(log).toHaveLength(2);
  });

  test('remembers at least the last 25,000 messages, and not more than 50,000', () => {
    const seen = new SeenIds();
    for (let n = 0; n < 50_001; n += 1) expect(seen.add(`${n}`, n)).toBe(true);
    expect(seen.add('25001', 60_000)).toBe(false);
    expect(seen.add('24999', 60_000)).toBe(true);
  });

  test('forgets messages of a refused send, so that they can be sent again', async () => {
    await using under = bench();
    const log: string[][] = [];
    const good = tagged('a1', 'a');
    await expect(under.queues.send('finalize', [good, { ...good, group: '' }])).rejects.toThrow(/is not an id/);
    await send(under, 'a1');
    under.queues.consume('finalize', { concurrency: 1, batchSize: 1, handler: handlerOf(log) });
    await under.queues.idle();
    expect(log).toEqual([['a1']]);
  });
});

describe('stop', () => {
  test('aborts handlers, waits for them, and discards queued and waiting messages', async () => {
    await using under = bench({ retryMs: 1000, maxReceives: 2 });
    const { queues, clock, dead } = under;
    const started = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    let stopped = false;
    const blocking = untilAborted(() => {
      started.resolve();
    });
    queues.consume('finalize', {
      concurrency: 2,
      batchSize: 1,
      handler: async (deliveries, signal) => {
        if (tagsOf(deliveries)[0] === 'b1') return { failed: deliveries.map(({ id }) => id) };
        try {
          return await blocking(deliveries, signal);
        } finally {
          await ended.promise;
        }
      },
    });
    await send(under, 'b1', 'a1', 'a2');
    await started.promise;
    await quiet();
    expect(clock.pending).toBe(1);
    const idle = expect(queues.idle()).rejects.toMatchObject({ code: 'aborted', side: 'queue' });
    const stopping = queues.stop().then(() => (stopped = true));
    await quiet();
    expect(stopped).toBe(false);
    ended.resolve();
    await stopping;
    await idle;
    expect(clock.pending).toBe(0);
    expect(dead).toEqual([]);
    await expect(send(under, 'c1')).rejects.toMatchObject({ code: 'aborted' });
    await expect(queues.idle()).rejects.toMatchObject({ code: 'aborted' });
  });

  test('does not record a message as a dead letter if the stop ended its last delivery', async () => {
    await using under = bench({ maxReceives: 1 });
    const started = Promise.withResolvers<void>();
    await send(under, 'a1');
    under.queues.consume('finalize', {
      concurrency: 1,
      batchSize: 1,
      handler: untilAborted(() => {
        started.resolve();
      }),
    });
    await started.promise;
    await under.queues.stop();
    expect(under.dead).toEqual([]);
  });

  test('does not change the result of a finished run', async () => {
    await using under = bench();
    await send(under, 'a1');
    under.queues.consume('finalize', { concurrency: 1, batchSize: 1, handler: handlerOf([]) });
    await under.queues.idle();
    await Promise.all([under.queues.stop(), under.queues.stop()]);
    await under.queues.idle();
  });

  test('refuses messages that a stopping handler sends', async () => {
    await using under = bench();
    const started = Promise.withResolvers<void>();
    let refused: unknown;
    await send(under, 'a1');
    under.queues.consume('finalize', {
      concurrency: 1,
      batchSize: 1,
      handler: async (deliveries, signal) => {
        const aborted = new Promise((resolve) => {
          signal.addEventListener('abort', resolve);
        });
        started.resolve();
        await aborted;
        await send(under, 'b1').catch((error: unknown) => (refused = error));
        return { failed: deliveries.map(({ id }) => id) };
      },
    });
    await started.promise;
    await under.queues.stop();
    expect(refused).toMatchObject({ code: 'aborted' });
  });
});

test('a waiting message is delivered again with the system clock', async () => {
  const queues = new InProcessQueues({ deadLetter: () => Promise.resolve(), retryMs: 1 });
  const log: string[][] = [];
  await queues.send('finalize', [tagged('a1', 'a')]);
  queues.consume('finalize', { concurrency: 1, batchSize: 1, handler: handlerOf(log, () => log.length === 1) });
  await queues.idle();
  expect(log).toHaveLength(2);
  await queues.stop();
});

describe('the layers of an image with a failed layer', () => {
  const layers = (image: string, count: number): readonly Outgoing[] =>
    Array.from({ length: count }, (_, at) => {
      const found = { ...IMAGE, digest: digestFor(image) };
      const blob = { digest: digestFor(`${image}${at}`), mediaType: LAYER, size: at + 1 };
      return { ...layerMessage(ORDER, found, blob, { lanes: 1, look: 'receipt' }), group: `${image}${at}` };
    });

  async function deliveriesOf(failing: (group: string) => boolean): Promise<string[]> {
    await using test = bench({ maxReceives: 2, retryMs: 1 });
    const delivered: string[] = [];
    await test.queues.send('layer', [...layers('a', 3), ...layers('b', 3)]);
    test.queues.consume('layer', {
      concurrency: 1,
      batchSize: 1,
      async handler(deliveries) {
        await Promise.resolve();
        const [{ id, group }] = deliveries as [Delivery<LayerMessage>];
        delivered.push(group);
        test.clock.advance(1);
        return { failed: failing(group) ? [id] : [] };
      },
    });
    const idle = test.queues.idle();
    let isIdle = false;
    void idle.then(() => (isIdle = true));
    while (!isIdle) {
      await quiet();
      test.clock.advance(1);
    }
    return delivered;
  }

  test('wait for those of other images, and the failed one is delivered again before its others', async () => {
    const delivered = await deliveriesOf((group) => group.startsWith('a'));
    expect(delivered.slice(0, 4)).toEqual(['a0', 'b0', 'b1', 'b2']);
    expect(delivered.slice(4, 6)).toEqual(['a0', 'a1']);
    expect(delivered.toSorted()).toEqual(['a0', 'a0', 'a1', 'a1', 'a2', 'a2', 'b0', 'b1', 'b2']);
  });

  test('wait no longer once one of them is stored', async () => {
    const failed = new Set<string>();
    const delivered = await deliveriesOf((group) => group === 'a0' && failed.size < failed.add(group).size);
    expect(delivered).toEqual(['a0', 'b0', 'b1', 'b2', 'a0', 'a1', 'a2']);
  });
});
