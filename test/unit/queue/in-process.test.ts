import { describe, expect, test, vi } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { type DeadLetter, type InProcessOptions, InProcessQueues } from '../../../lib/queue/in-process/in-process.ts';
import { LinkedList } from '../../../lib/queue/in-process/linked-list.ts';
import type { FinalizeMessage } from '../../../lib/queue/messages.ts';
import { layerMessage, resolveMessage } from '../../../lib/queue/outgoing.ts';
import type { BatchResult, Delivery, Handler } from '../../../lib/queue/queue.ts';
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

/** A handler that fails the tags that `failing` names, and logs its batches. */
function handlerOf(log: string[][], failing: (tag: string) => boolean = () => false): Handler<FinalizeMessage> {
  return async (deliveries) => {
    await Promise.resolve();
    log.push(tagsOf(deliveries));
    return { failed: deliveries.filter(({ message }) => failing(message.image.tag ?? '')).map(({ id }) => id) };
  };
}

/** A handler that only ends when it is told to stop. */
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

/** Resolves when all that can happen without time passing has happened. */
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
  // Group a has a hundred messages waiting, b and c one each: they get their turn after one batch of a, not after ten.
  test('groups take turns', async () => {
    await using under = bench();
    const log: string[][] = [];
    await send(under, ...Array.from({ length: 100 }, (_, n) => `a${n}`), 'b1', 'c1');
    under.queues.consume('finalize', { concurrency: 1, batchSize: 10, handler: handlerOf(log) });
    await under.queues.idle();
    expect(log.map(([tag = '']) => tag).slice(0, 4)).toEqual(['a0', 'b1', 'c1', 'a10']);
    expect(log).toHaveLength(12);
  });

  // Twenty groups are ready, and three batches may be in flight.
  test('no more batches are in flight than allowed', async () => {
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

  // The handler is never called within `send`: whoever sends has finished what it was doing.
  test('a handler does not run inside send', async () => {
    await using under = bench();
    const log: string[][] = [];
    under.queues.consume('finalize', { concurrency: 1, batchSize: 10, handler: handlerOf(log) });
    const sent = send(under, 'a1', 'a2');
    expect(log).toEqual([]);
    await sent;
    await under.queues.idle();
    expect(log).toEqual([['a1', 'a2']]);
  });

  // Three queues, each with its own type of message: one that is idle does not make the others so.
  test('idle waits for all queues', async () => {
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
        await queues.send('layer', [layerMessage(ORDER, IMAGE, blob, { lanes: 1, look: 'nothing' })]);
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

  /** Steps of all lists per message, for so many messages, ten in each group. */
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

  test('each message costs the same number of steps, however many wait', async () => {
    const [few, many] = [await stepsPerMessage(500), await stepsPerMessage(10_000)];
    expect(few).toBeGreaterThan(3);
    expect(many).toBeLessThan(few * 1.1);
  });

  // A queue has one consumer, and it takes something.
  test('wrong consumers are bugs', async () => {
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

// What is written as a whole, however little of it is new, had better be written for many.
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

  test('finds what came meanwhile in its next batch', async () => {
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

  test('does not where nothing else is being handled', async () => {
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

  test('does not where something failed, which is wanted back when it says', async () => {
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
  // A poisoned tag in the middle of a batch: it comes alone from then on, so that its neighbours, which only came back
  // with it, are not taken to the dead letters as well.
  test('a message that has failed is delivered alone', async () => {
    await using under = bench({ retryMs: 0 });
    const log: string[][] = [];
    await send(under, 'a1', 'a2', 'a3', 'a4');
    under.queues.consume('finalize', { concurrency: 1, batchSize: 10, handler: handlerOf(log, (tag) => tag === 'a2') });
    await under.queues.idle();
    expect(log).toEqual([['a1', 'a2', 'a3', 'a4'], ['a2'], ['a2'], ['a2'], ['a2'], ['a3', 'a4']]);
    expect(under.dead.map(({ queue, delivery }) => [queue, delivery.receiveCount])).toEqual([['finalize', 5]]);
  });

  // The handler has a bug that only one message meets, and throws: nobody knows which it was, so all go alone.
  test('after a handler that throws, each of its batch goes alone', async () => {
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

  // Where the handler does not say when, a failed message comes again after the time set for that, and not before.
  test('a failed message stays away', async () => {
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

  // A thrown failure that carries the registry's Retry-After is honoured in full.
  test('a thrown failure says how long', async () => {
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

  // A registry asks for a month. SQS hides a message for twelve hours at most, and a timer longer than 24 days fires at once.
  test('nothing waits longer than SQS lets it', async () => {
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

  // A handler names an id that was not in its batch. As in Lambda, nothing of what it says is believed.
  test('a result about other messages fails the batch', async () => {
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

  // The disk is full, and the dead letter cannot be recorded: the run must not look as if it had gone well.
  test('a dead letter that is not recorded is told', async () => {
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
  // Five minutes after the first, the same message is new again; what was dropped in between does not prolong that.
  test('lasts five minutes', async () => {
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

  // Where one of several cannot be sent, none is: a sender that mends it and sends all again loses nothing to deduplication.
  test('what was refused is not remembered', async () => {
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
  // Ctrl-C: what is being handled is told to stop and waited for, what is queued is dropped, what waits is forgotten.
  test('aborts handlers, waits for them, and leaves nothing', async () => {
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

  // A handler's last delivery is cut short by the stop: that is not a reason to record its message as failed.
  test('a stopped handler makes no dead letter', async () => {
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

  // Stopped when all is done: that was a complete run, and stays one.
  test('after all is done, idle stays true', async () => {
    await using under = bench();
    await send(under, 'a1');
    under.queues.consume('finalize', { concurrency: 1, batchSize: 1, handler: handlerOf([]) });
    await under.queues.idle();
    await Promise.all([under.queues.stop(), under.queues.stop()]);
    await under.queues.idle();
  });

  // The handler that is told to stop tries to hand its work on: it is told that the queues are closed.
  test('nothing is accepted once it has begun', async () => {
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

// With the real clock: a message that waits comes again by itself.
test('the system clock wakes a group', async () => {
  const queues = new InProcessQueues({ deadLetter: () => Promise.resolve(), retryMs: 1 });
  const log: string[][] = [];
  await queues.send('finalize', [tagged('a1', 'a')]);
  queues.consume('finalize', { concurrency: 1, batchSize: 1, handler: handlerOf(log, () => log.length === 1) });
  await queues.idle();
  expect(log).toHaveLength(2);
  await queues.stop();
});
