/** The places of a queue among registries. */
import { describe, expect, test } from 'vitest';
import { InProcessQueues } from '../../../lib/queue/in-process/in-process.ts';
import type { Order } from '../../../lib/queue/messages.ts';
import { layerMessage } from '../../../lib/queue/outgoing.ts';
import type { Consumer, Outgoing } from '../../../lib/queue/queue.ts';
import { ManualClock } from './manual-clock.ts';
import { digestFor, IMAGE, LAYER, ORDER } from './samples.ts';

const NAMES = 'abcdefghijklmnopqrstuvwxyz';

function orderOf(registry: string): Order {
  return { ...ORDER, source: `${registry}.example/app`, repository: `${registry}.example/app` };
}

/** A layer of a registry, in a group of its own. */
function layer(registry: string, name: string): Outgoing {
  const blob = { digest: digestFor(`${registry}${name}`), mediaType: LAYER, size: 1 };
  const message = layerMessage(orderOf(registry), { ...IMAGE, digest: digestFor(`image ${registry}${name}`) }, blob, {
    lanes: 1,
    look: 'receipt',
  });
  return { ...message, group: `${registry}${name}` };
}

function layers(registry: string, count: number): Outgoing[] {
  return Array.from({ length: count }, (_, at) => layer(registry, NAMES.charAt(at)));
}

function quiet(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

interface Bench extends AsyncDisposable {
  readonly queues: InProcessQueues;
  /** The layers that have begun, in order. */
  readonly begun: string[];
  /** Ends the handler of a layer. */
  readonly end: (name: string) => Promise<void>;
}

function bench(places: Pick<Consumer, 'concurrency' | 'perRegistry'>): Bench {
  const queues = new InProcessQueues({ deadLetter: () => Promise.resolve(), clock: new ManualClock() });
  const begun: string[] = [];
  const gates = new Map<string, () => void>();
  queues.consume('layer', {
    ...places,
    batchSize: 1,
    handler: async ([delivery], signal) => {
      const { group } = delivery!;
      begun.push(group);
      await new Promise<void>((resolve) => {
        gates.set(group, resolve);
        signal.addEventListener('abort', () => {
          resolve();
        });
      });
      return { failed: [] };
    },
  });
  const end = async (name: string): Promise<void> => {
    gates.get(name)?.();
    await quiet();
  };
  return { queues, begun, end, [Symbol.asyncDispose]: () => queues.stop() };
}

describe('a queue with a limit for each registry', () => {
  test('gives a registry its limit at most, although more places are free', async () => {
    await using under = bench({ concurrency: 12, perRegistry: 3 });
    await under.queues.send('layer', layers('r', 5));
    await quiet();
    expect(under.begun).toEqual(['ra', 'rb', 'rc']);
    await under.end('rb');
    expect(under.begun).toEqual(['ra', 'rb', 'rc', 'rd']);
  });

  test('gives registries their turns, whatever the number of their messages', async () => {
    await using under = bench({ concurrency: 2, perRegistry: 1 });
    await under.queues.send('layer', layers('r', 4));
    await under.queues.send('layer', layers('s', 2));
    await under.queues.send('layer', layers('t', 1));
    await quiet();
    for (let at = 0; at < 7; at += 1) await under.end(under.begun[at]!);
    await under.queues.idle();
    expect(under.begun).toEqual(['ra', 'sa', 'rb', 'sb', 'ta', 'rc', 'rd']);
  });

  test('keeps places for others, whatever the number of registries that do not respond', async () => {
    await using under = bench({ concurrency: 16, perRegistry: 8 });
    const silent = ['p', 'q', 'r', 's'];
    for (const registry of silent) await under.queues.send('layer', layers(registry, 20));
    await quiet();
    const counts = silent.map((registry) => under.begun.filter((name) => name.startsWith(registry)).length);
    expect(counts).toEqual([8, 4, 2, 1]);
    await under.queues.send('layer', layers('z', 10));
    for (const name of NAMES.slice(0, 10)) {
      await quiet();
      await under.end(`z${name}`);
    }
    expect(under.begun.filter((name) => name.startsWith('z'))).toHaveLength(10);
  });

  test('gives one registry all places without such a limit', async () => {
    await using under = bench({ concurrency: 4 });
    await under.queues.send('layer', layers('r', 6));
    await under.queues.send('layer', layers('s', 6));
    await quiet();
    expect(under.begun).toEqual(['ra', 'rb', 'rc', 'rd']);
  });

  test('refuses a limit of less than one', () => {
    expect(() => bench({ concurrency: 4, perRegistry: 0 })).toThrow(/perRegistry/);
  });
});

test('queues report whether several registries have messages', async () => {
  await using under = bench({ concurrency: 4 });
  await under.queues.send('layer', layers('r', 1));
  expect(under.queues.areShared).toBe(false);
  await under.queues.send('layer', layers('s', 1));
  await quiet();
  expect(under.queues.areShared).toBe(true);
  await under.end('ra');
  expect(under.queues.areShared).toBe(false);
});
