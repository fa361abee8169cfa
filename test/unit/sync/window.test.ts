import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { weightOf, Window } from '../../../lib/sync/transfer/window.ts';

const settled = (): Promise<void> => new Promise(setImmediate);

test('gives what fits at once, and the rest when something comes back', async () => {
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

// A large one that waits is not overtaken for ever by small ones that would fit.
test('is first come, first served, whatever the size, among those of one weight', async () => {
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

test('the heaviest is served first, and told from the others', async () => {
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

// A large blob, from a registry that is slow, would keep all others from theirs.
test('nobody is passed over for ever', async () => {
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

test('what is left of a blob weighs less, the more buffers it has', () => {
  expect([weightOf(80, 0), weightOf(80, 1), weightOf(80, 3), weightOf(0, 3)]).toEqual([80, 40, 20, 0]);
});

// The one at the head does not fit, and waits for more to come back.
test('a heavier one that fits need not wait for a lighter one that does not', async () => {
  const window = new Window(100);
  await window.take(50);
  void window.take(80, undefined, 1);
  expect(await window.take(30, undefined, 2)).toHaveLength(30);
  expect(window.isWanted(1)).toBe(true);
});

// A part that is larger than the whole window must still be able to pass, alone.
test('what is larger than the window is given when nothing else is out', async () => {
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

test('uses a buffer of the same size again', async () => {
  const window = new Window(100);
  const first = await window.take(40);
  window.give(first);
  expect((await window.take(40)).buffer).toBe(first.buffer);
});

// The one at the head gives up: whoever waited behind it and fits is served at once.
test('a wait that is given up takes nothing and holds up nobody', async () => {
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

// A size that no memory can be had for: the failure costs the others nothing.
test('a buffer that cannot be had is not counted', async () => {
  const window = new Window(100);
  await expect(window.take(Number.MAX_SAFE_INTEGER)).rejects.toThrow(RangeError);
  expect(window.usedBytes).toBe(0);
  expect(await window.take(100)).toHaveLength(100);
});

// Two that waited are let in at once, and the first is given a spare buffer that is larger than it asked for, if that fits.
test('a larger buffer is used again only where there is room for all of it', async () => {
  const window = new Window(100);
  const [small] = [await window.take(6), await window.take(92)];
  const waiting = [window.take(3), window.take(3)];
  window.give(small);
  await Promise.all(waiting);
  expect(window.usedBytes).toBe(98);
});

// Bytes arrive faster than they are dealt with where half of the window is full, and only what was taken last is not.
test('tells whether it is ahead of those who read it', async () => {
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

// After any sequence of taking, giving back and giving up: the window is never exceeded, but by one alone; nobody waits
// who fits and is next; and all of it comes home.
test('accounts for every byte', async () => {
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
        // A larger buffer that was used again counts whole.
        const sum = out.reduce((total, { buffer }) => total + buffer!.buffer.byteLength, 0);
        expect(window.usedBytes).toBe(sum);
        expect(sum <= 100 || out.filter(({ bytes }) => bytes > 0).length === 1).toBe(true);
        for (const { buffer, bytes } of out) expect(buffer).toHaveLength(bytes);
        // The next one: the heaviest, or one who has waited long enough.
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

// Parts come in many sizes, and shared memory that is dropped stays for long: one that is free serves for a smaller one.
test('where there is no room for another buffer, a larger one is used again', async () => {
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

test('a few sizes serve all parts', async () => {
  const window = new Window(64 * 1024 ** 2);
  const first = await window.take(3_000_000);
  expect(first).toHaveLength(3_000_000);
  expect(window.usedBytes).toBe(4 * 1024 ** 2);
  window.give(first);
  expect((await window.take(4_000_000)).buffer).toBe(first.buffer);
});
