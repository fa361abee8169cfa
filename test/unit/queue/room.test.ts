import { describe, expect, test } from 'vitest';
import { type DeadLetter, type InProcessOptions, InProcessQueues } from '../../../lib/queue/in-process/in-process.ts';
import type { Order } from '../../../lib/queue/messages.ts';
import { layerMessage, resolveMessage } from '../../../lib/queue/outgoing.ts';
import type { Outgoing } from '../../../lib/queue/queue.ts';
import { ManualClock } from './manual-clock.ts';
import { digestFor, IMAGE, LAYER, ORDER, tagged } from './samples.ts';

const OTHER: Order = { ...ORDER, source: 'quay.io/team/app', repository: 'quay.io/team/app' };

interface Bench extends AsyncDisposable {
  readonly queues: InProcessQueues;
  readonly clock: ManualClock;
  readonly dead: DeadLetter[];
}

function bench(options: Partial<InProcessOptions>): Bench {
  const clock = new ManualClock();
  const dead: DeadLetter[] = [];
  const deadLetter = (letter: DeadLetter): Promise<void> => {
    dead.push(letter);
    return Promise.resolve();
  };
  const queues = new InProcessQueues({ deadLetter, clock, ...options });
  return { queues, clock, dead, [Symbol.asyncDispose]: () => queues.stop() };
}

function layer(name: string, order = ORDER): Outgoing {
  const blob = { digest: digestFor(name), mediaType: LAYER, size: 1 };
  return { ...layerMessage(order, IMAGE, blob, { lanes: 1, look: 'receipt' }), group: name };
}

/** A message to the resolver, in a group of its own. */
function resolveTag(tag: string, order = ORDER): Outgoing {
  return { ...resolveMessage(order, { kind: 'images', images: [{ tag }] }), group: tag };
}

/** Resolves when everything has run that needs no passage of time. */
function quiet(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Whether a promise has been fulfilled, after everything has run that needs no passage of time. */
async function isDone(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  promise.then(
    () => (done = true),
    () => undefined,
  );
  await quiet();
  return done;
}

/** Handles layers when the test says so. */
function gated(
  { queues }: Bench,
  concurrency = 1,
): { readonly started: string[]; readonly end: (fail?: 'fail') => void } {
  const started: string[] = [];
  const gates: ((fail?: 'fail') => void)[] = [];
  queues.consume('layer', {
    concurrency,
    batchSize: 1,
    handler: async (deliveries, signal) => {
      started.push(...deliveries.map(({ group }) => group));
      const fail = await new Promise<'fail' | undefined>((resolve, reject) => {
        gates.push(resolve);
        signal.addEventListener('abort', () => {
          reject(signal.reason as Error);
        });
      });
      return { failed: fail === undefined ? [] : deliveries.map(({ id }) => id) };
    },
  });
  return { started, end: (fail) => gates.shift()?.(fail) };
}

/** Handles layers one at a time, each of which sends messages; returns the groups that were begun. */
function sending({ queues }: Bench, send: (group: string, signal: AbortSignal) => Promise<void>): readonly string[] {
  const started: string[] = [];
  queues.consume('layer', {
    concurrency: 1,
    batchSize: 1,
    handler: async ([delivery], signal) => {
      const { group } = delivery!;
      started.push(group);
      await send(group, signal);
      return { failed: [] };
    },
  });
  return started;
}

describe('a queue that is full for a registry', () => {
  test('lets a sender wait until a message is done, and serves senders in their order', async () => {
    await using under = bench({ room: 2 });
    await under.queues.send('layer', [layer('a'), layer('b')]);
    const third = under.queues.send('layer', [layer('c')]);
    const fourth = under.queues.send('layer', [layer('d')]);
    expect(await isDone(third)).toBe(false);
    const { started, end } = gated(under);
    await quiet();
    end();
    expect(await isDone(third)).toBe(true);
    expect(await isDone(fourth)).toBe(false);
    end();
    expect(await isDone(fourth)).toBe(true);
    end();
    await quiet();
    end();
    await under.queues.idle();
    expect(started).toEqual(['a', 'b', 'c', 'd']);
  });

  test('accepts messages of other registries, and of other queues', async () => {
    await using under = bench({ room: 1 });
    await under.queues.send('layer', [layer('a')]);
    const waiting = under.queues.send('layer', [layer('b')]);
    await under.queues.send('layer', [layer('c', OTHER)]);
    await under.queues.send('finalize', [tagged('v1', 'g')]);
    expect(await isDone(waiting)).toBe(false);
    gated(under);
    await under.queues.stop();
    await expect(waiting).rejects.toMatchObject({ code: 'aborted' });
  });

  test('has room again after a repetition, which takes none', async () => {
    await using under = bench({ room: 2 });
    await under.queues.send('layer', [layer('a')]);
    for (let times = 0; times < 5; times += 1) await under.queues.send('layer', [layer('a')]);
    expect(await isDone(under.queues.send('layer', [layer('b')]))).toBe(true);
  });

  test('keeps the room of a message that fails until it is a dead letter', async () => {
    await using under = bench({ room: 1, maxReceives: 2, retryMs: 10 });
    const { end } = gated(under);
    await under.queues.send('layer', [layer('a')]);
    const waiting = under.queues.send('layer', [layer('b')]);
    await quiet();
    end('fail');
    expect(await isDone(waiting)).toBe(false);
    under.clock.advance(10);
    await quiet();
    end('fail');
    expect(await isDone(waiting)).toBe(true);
    expect(under.dead).toHaveLength(1);
  });

  test('accepts a send of more messages than the room once it is empty', async () => {
    await using under = bench({ room: 2 });
    const { started, end } = gated(under, 10);
    await under.queues.send('layer', [layer('a')]);
    const many = under.queues.send(
      'layer',
      ['b', 'c', 'd'].map((name) => layer(name)),
    );
    expect(await isDone(many)).toBe(false);
    end();
    expect(await isDone(many)).toBe(true);
    for (let left = 3; left > 0; left -= 1) end();
    await under.queues.idle();
    expect(started).toEqual(['a', 'b', 'c', 'd']);
    expect(await isDone(under.queues.send('layer', [layer('e'), layer('f')]))).toBe(true);
  });

  test('rejects waiting senders when it stops, and a sender whose signal is aborted', async () => {
    await using under = bench({ room: 1 });
    await under.queues.send('layer', [layer('a')]);
    const aborted = new AbortController();
    const first = under.queues.send('layer', [layer('b')], { signal: aborted.signal });
    const second = under.queues.send('layer', [layer('c')]);
    aborted.abort();
    await expect(first).rejects.toMatchObject({ code: 'aborted', side: 'queue' });
    await under.queues.stop();
    await expect(second).rejects.toMatchObject({ code: 'aborted', side: 'queue' });
  });
});

describe('a handler that waits for room', () => {
  test('leaves places to other registries', async () => {
    await using under = bench({ room: 1 });
    const { started, end } = gated(under);
    const ended: string[] = [];
    under.queues.consume('resolve', {
      concurrency: 4,
      perRegistry: 1,
      batchSize: 1,
      handler: async ([delivery], signal) => {
        const { group, message } = delivery!;
        const order = message.source === OTHER.source ? OTHER : ORDER;
        // Several images of a message are resolved concurrently.
        await Promise.all(
          ['x', 'y'].map((name) => under.queues.send('layer', [layer(`${group}${name}`, order)], { signal })),
        );
        ended.push(group);
        return { failed: [] };
      },
    });
    await under.queues.send('resolve', [resolveTag('a'), resolveTag('c'), resolveTag('b', OTHER)]);
    await quiet();
    // The message of the other registry began although the first one waits, and both wait for their registries.
    expect(ended).toEqual([]);
    expect(started).toEqual(['ax']);
    for (let left = 6; left > 0; left -= 1) {
      end();
      await quiet();
    }
    await under.queues.idle();
    expect(ended.toSorted()).toEqual(['a', 'b', 'c']);
    expect(started.toSorted()).toEqual(['ax', 'ay', 'bx', 'by', 'cx', 'cy']);
    expect(started.indexOf('bx')).toBeLessThan(started.indexOf('cx'));
  });

  test('keeps its place if it is a layer', async () => {
    await using under = bench({ room: 1 });
    const started = sending(under, (group, signal) => under.queues.send('finalize', [tagged(group, 'g')], { signal }));
    await under.queues.send('finalize', [tagged('v0', 'g')]);
    await under.queues.send('layer', [layer('a')]);
    await under.queues.send('layer', [layer('b', OTHER)]);
    await quiet();
    expect(started).toEqual(['a']);
    under.queues.consume('finalize', { concurrency: 1, batchSize: 1, handler: () => Promise.resolve({ failed: [] }) });
    await under.queues.idle();
    expect(started).toEqual(['a', 'b']);
  });

  test('does not wait for its own queue', async () => {
    await using under = bench({ room: 1 });
    const started = sending(under, async (group, signal) => {
      if (group === 'a') await under.queues.send('layer', [layer('b'), layer('c')], { signal });
    });
    await under.queues.send('layer', [layer('a')]);
    await under.queues.idle();
    expect(started).toEqual(['a', 'b', 'c']);
  });
});
