import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { weightOf, Window } from '../../../lib/sync/transfer/window.ts';

const settled = (): Promise<void> => new Promise(setImmediate);

test('grants buffers that fit at once, and others when a buffer is returned', async () => {
  const window = new Window(100);
  const first = await window.take(60);
  let second: Buffer | undefined;
  const waiting = window.take(60).then((buffer) => (second = buffer));
  await settled();
  expect(second).toBeUndefined();
  expect(window.isWanted(0)).toBe(true);
  expect(window.usedBytes).toBe(60);
  window.give(first);
  expect(window.isWanted(0)).toBe(false);
  await waiting;
  expect(second).toHaveLength(60);
  expect(window.usedBytes).toBe(60);
});

test('grants buffers of one weight in the order of requests, whatever their size', async () => {
  const window = new Window(100);
  const held = await window.take(50);
  const order: string[] = [];
  const large = window.take(80).then((buffer) => (order.push('large'), buffer));
  const small = window.take(10).then((buffer) => (order.push('small'), buffer));
  await settled();
  expect(order).toEqual([]);
  window.give(held);
  await Promise.all([large, small]);
  expect(order).toEqual(['large', 'small']);
});

test('grants the buffer of the greatest weight first, and reports that it is wanted', async () => {
  const window = new Window(100);
  const held = await window.take(100);
  const order: string[] = [];
  const wait = (name: string, bytes: number, weight: number): Promise<void> =>
    window.take(bytes, undefined, weight).then((buffer) => {
      order.push(name);
      window.give(buffer);
    });
  const all = [wait('light', 60, 1), wait('heavy', 60, 3), wait('middle', 60, 2), wait('heavy too', 60, 3)];
  await settled();
  expect([window.isWanted(2), window.isWanted(3), window.isWanted(3.1)]).toEqual([true, true, false]);
  window.give(held);
  await Promise.all(all);
  expect(order).toEqual(['heavy', 'heavy too', 'middle', 'light']);
  expect(window.isWanted(0)).toBe(false);
});

test('grants a light waiter after at most 8 heavier ones', async () => {
  const window = new Window(100);
  let held = await window.take(100);
  let served = false as boolean;
  const light = window.take(100, undefined, 1).then((buffer) => {
    served = true;
    return buffer;
  });
  let passed = 0;
  for (; !served && passed < 100; passed += 1) {
    const heavy = window.take(100, undefined, 1000);
    await settled();
    window.give(held);
    held = await Promise.race([light, heavy]);
    if (passed === 7) expect(window.isWanted(1000)).toBe(true);
  }
  expect(passed).toBe(9);
});

test('a blob weighs less, the more buffers it has', () => {
  expect([weightOf(80, 0), weightOf(80, 1), weightOf(80, 3), weightOf(0, 3)]).toEqual([80, 40, 20, 0]);
});

test('grants a heavier buffer that fits before a lighter one that does not', async () => {
  const window = new Window(100);
  await window.take(50);
  void window.take(80, undefined, 1);
  expect(await window.take(30, undefined, 2)).toHaveLength(30);
  expect(window.isWanted(1)).toBe(true);
});

test('grants a buffer larger than the window when no other is taken', async () => {
  const window = new Window(100);
  const held = await window.take(1);
  let huge: Buffer | undefined;
  const waiting = window.take(500).then((buffer) => (huge = buffer));
  await settled();
  expect(huge).toBeUndefined();
  window.give(held);
  await waiting;
  expect(huge).toHaveLength(500);
  window.give(huge!);
  expect(window.usedBytes).toBe(0);
});

test('reuses a buffer of the same size', async () => {
  const window = new Window(100);
  const first = await window.take(40);
  window.give(first);
  expect((await window.take(40)).buffer).toBe(first.buffer);
});

test('an aborted wait takes nothing, and the waiters behind it are served', async () => {
  const window = new Window(100);
  await window.take(50);
  const controller = new AbortController();
  const large = window.take(80, controller.signal);
  const small = window.take(30);
  const reason = new Error('over');
  controller.abort(reason);
  await expect(large).rejects.toBe(reason);
  await small;
  expect(window.usedBytes).toBe(80);
  await expect(window.take(1, AbortSignal.abort(reason))).rejects.toBe(reason);
  expect(window.usedBytes).toBe(80);
  expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
});

test('a buffer that cannot be allocated is not counted', async () => {
  const window = new Window(100);
  await expect(window.take(Number.MAX_SAFE_INTEGER)).rejects.toThrow(RangeError);
  expect(window.usedBytes).toBe(0);
  expect(await window.take(100)).toHaveLength(100);
});

test('reuses a larger buffer only if the window has room for all of it', async () => {
  const window = new Window(100);
  const [small] = [await window.take(6), await window.take(92)];
  const waiting = [window.take(3), window.take(3)];
  window.give(small);
  await Promise.all(waiting);
  expect(window.usedBytes).toBe(98);
});

test('reports that it is ahead if half of it is full while one buffer is filled', async () => {
  const window = new Window(100);
  const first = await window.take(30);
  const second = await window.take(30);
  expect([window.waiting, window.ahead]).toEqual([0, false]);
  window.full(first);
  expect([window.waiting, window.ahead]).toEqual([1, false]);
  window.full(second);
  expect([window.waiting, window.ahead]).toEqual([2, false]);
  const third = await window.take(10);
  expect([window.waiting, window.ahead]).toEqual([2, true]);
  const fourth = await window.take(10);
  expect([window.waiting, window.ahead]).toEqual([2, false]);
  window.full(fourth);
  window.give(first);
  expect([window.waiting, window.ahead]).toEqual([2, false]);
  const again = window.again(second, 5);
  expect(again).toHaveLength(5);
  expect([window.waiting, window.ahead]).toEqual([1, false]);
  for (const buffer of [again, third, fourth]) window.give(buffer);
  expect([window.waiting, window.usedBytes]).toEqual([0, 0]);
});

// After any sequence of takes, returns and aborts. Only a single buffer may exceed the window.
test('never exceeds its size, serves the next waiter that fits, and gets all buffers back', async () => {
  const step = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('take' as const),
        bytes: fc.integer({ min: 0, max: 130 }),
        weight: fc.nat(3),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('give' as const), which: fc.nat(10) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('abort' as const), which: fc.nat(30) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const window = new Window(100);
      interface Taker {
        readonly bytes: number;
        readonly weight: number;
        readonly controller: AbortController;
        buffer?: Buffer;
        over?: true;
      }
      const takers: Taker[] = [];
      const held = (): Taker[] => takers.filter(({ buffer, over }) => buffer !== undefined && over === undefined);
      for (const next of steps) {
        if (next.kind === 'take') {
          const taker: Taker = { bytes: next.bytes, weight: next.weight, controller: new AbortController() };
          takers.push(taker);
          window.take(next.bytes, taker.controller.signal, next.weight).then(
            (buffer) => (taker.buffer = buffer),
            () => (taker.over = true),
          );
        } else if (next.kind === 'abort') takers[next.which]?.controller.abort();
        else {
          const holder = held()[next.which];
          if (holder !== undefined) {
            holder.over = true;
            window.give(holder.buffer!);
          }
        }
        await settled();
        const out = held();
        // A larger reused buffer counts with its whole size.
        const sum = out.reduce((total, { buffer }) => total + buffer!.buffer.byteLength, 0);
        expect(window.usedBytes).toBe(sum);
        expect(sum <= 100 || out.filter(({ bytes }) => bytes > 0).length === 1).toBe(true);
        for (const { buffer, bytes } of out) expect(buffer).toHaveLength(bytes);
        // The next waiter: the heaviest, or one that has been passed over often enough.
        const waiting = takers.filter(({ buffer, over }) => buffer === undefined && over === undefined);
        if (waiting.length > 0) expect(sum > 0 && waiting.some(({ bytes }) => sum + bytes > 100)).toBe(true);
      }
      for (let out = held(); out.length > 0; out = held()) {
        for (const taker of out) {
          taker.over = true;
          window.give(taker.buffer!);
        }
        await settled();
      }
      expect(window.usedBytes).toBe(0);
      expect(takers.every(({ over }) => over === true)).toBe(true);
    }),
    { numRuns: 80 },
  );
});

test('reuses a larger buffer if there is no room for another one', async () => {
  const window = new Window(100);
  const large = await window.take(80);
  window.give(large);
  const other = await window.take(20);
  expect(other.buffer).not.toBe(large.buffer);
  window.give(other);
  const small = await window.take(30);
  expect(small).toHaveLength(30);
  expect(small.buffer).toBe(large.buffer);
  expect(window.usedBytes).toBe(80);
});

test('needs only a few sizes for all parts', async () => {
  const window = new Window(64 * 1024 ** 2);
  const first = await window.take(3_000_000);
  expect(first).toHaveLength(3_000_000);
  expect(window.usedBytes).toBe(4 * 1024 ** 2);
  window.give(first);
  expect((await window.take(4_000_000)).buffer).toBe(first.buffer);
});
