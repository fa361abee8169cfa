import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BufferPool } from '../../../lib/sync/transfer/buffer-pool.ts';

const KiB = 1024;
const SLOT = 64 * KiB;
const PAGE = 4096;

const settled = (): Promise<void> => new Promise(setImmediate);

function poolOf(slots: number): BufferPool {
  return new BufferPool(slots * SLOT, SLOT);
}

describe('BufferPool', () => {
  test('grants a slot that is free at once, and others when a slot is given back', async () => {
    const pool = poolOf(1);
    const first = await pool.take(SLOT);
    let second: Buffer | undefined;
    const waiting = pool.take(SLOT).then((buffer) => (second = buffer));
    await settled();
    expect(second).toBeUndefined();
    expect(pool.usedBytes).toBe(SLOT);
    pool.give(first, false);
    await waiting;
    expect(second).toHaveLength(SLOT);
    expect(second!.byteOffset).toBe(first.byteOffset);
    expect(pool.usedBytes).toBe(SLOT);
  });

  test('grants slots in the order of the requests', async () => {
    const pool = poolOf(1);
    const held = await pool.take(SLOT);
    const order: string[] = [];
    const first = pool.take(SLOT).then((buffer) => {
      order.push('first');
      pool.give(buffer, false);
    });
    const second = pool.take(10).then(() => order.push('second'));
    await settled();
    expect(order).toEqual([]);
    expect(pool.tryTake(10)).toBeUndefined();
    pool.give(held, false);
    await Promise.all([first, second]);
    expect(order).toEqual(['first', 'second']);
  });

  test('takes a buffer at once only if it is free', () => {
    const pool = poolOf(1);
    expect(pool.tryTake(SLOT)).toHaveLength(SLOT);
    expect(pool.tryTake(1)).toBeUndefined();
  });

  test('puts small buffers behind each other into a slot, each on a page', async () => {
    const pool = poolOf(2);
    const [first, second] = [await pool.take(40 * KiB - 1), await pool.take(20 * KiB)];
    expect([first.length, second.length]).toEqual([40 * KiB - 1, 20 * KiB]);
    expect(second.buffer).toBe(first.buffer);
    expect(second.byteOffset - first.byteOffset).toBe(40 * KiB);
    expect(pool.usedBytes).toBe(SLOT);
    const third = await pool.take(20 * KiB);
    expect(pool.usedBytes).toBe(2 * SLOT);
    pool.give(first, false);
    expect(pool.usedBytes).toBe(2 * SLOT);
    pool.give(second, false);
    expect(pool.usedBytes).toBe(SLOT);
    pool.give(third, false);
    expect(pool.usedBytes).toBe(0);
  });

  test('gives an empty buffer room in a slot', async () => {
    const pool = poolOf(2);
    const full = await pool.take(SLOT);
    const empty = await pool.take(0);
    expect(empty).toHaveLength(0);
    expect(pool.usedBytes).toBe(2 * SLOT);
    pool.give(empty, false);
    expect(pool.usedBytes).toBe(SLOT);
    pool.give(full, false);
    expect(pool.usedBytes).toBe(0);
  });

  test('puts a small buffer into a slot that has room although a task waits for a slot', async () => {
    const pool = poolOf(1);
    const first = await pool.take(10 * KiB);
    void pool.take(SLOT);
    expect(pool.tryTake(10 * KiB)?.byteOffset).toBe(first.byteOffset + 12 * KiB);
  });

  test('puts small buffers that waited for memory into one slot', async () => {
    const pool = poolOf(2);
    const held = [await pool.take(SLOT), await pool.take(SLOT)];
    const waiting = [pool.take(10 * KiB), pool.take(10 * KiB)];
    for (const buffer of held) pool.give(buffer, false);
    const [first, second] = await Promise.all(waiting);
    expect(second!.byteOffset - first!.byteOffset).toBe(12 * KiB);
    expect(pool.usedBytes).toBe(SLOT);
  });

  test('gives a buffer that is larger than a slot memory of its own', async () => {
    const pool = poolOf(2);
    const [slot, large] = [await pool.take(1), await pool.take(SLOT)];
    pool.give(large, false);
    const larger = pool.take(SLOT + 1);
    await settled();
    expect(pool.usedBytes).toBe(SLOT);
    pool.give(slot, false);
    const own = await larger;
    expect(own.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(own.buffer).not.toBe(slot.buffer);
    expect(pool.usedBytes).toBe(SLOT + 1);
    pool.give(own, false);
    expect(pool.usedBytes).toBe(0);
  });

  test('grants a buffer that is larger than the pool when no other is taken', async () => {
    const pool = poolOf(2);
    const held = await pool.take(1);
    let huge: Buffer | undefined;
    const waiting = pool.take(5 * SLOT).then((buffer) => (huge = buffer));
    await settled();
    expect(huge).toBeUndefined();
    pool.give(held, false);
    await waiting;
    expect(huge).toHaveLength(5 * SLOT);
    expect(pool.tryTake(1)).toBeUndefined();
    pool.give(huge!, false);
    expect(pool.usedBytes).toBe(0);
  });

  test('has at least one slot', async () => {
    const pool = new BufferPool(1, SLOT);
    expect(pool.totalBytes).toBe(SLOT);
    expect(await pool.take(SLOT)).toHaveLength(SLOT);
  });

  test('takes nothing for an aborted wait, and grants the next request', async () => {
    const pool = poolOf(1);
    const held = await pool.take(SLOT);
    const controller = new AbortController();
    const aborted = pool.take(SLOT, controller.signal);
    const next = pool.take(SLOT);
    const reason = new Error('over');
    controller.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    pool.give(held, false);
    await next;
    expect(pool.usedBytes).toBe(SLOT);
    await expect(pool.take(1, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(pool.usedBytes).toBe(SLOT);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  test('does not count a buffer that cannot be allocated', async () => {
    const pool = poolOf(1);
    await expect(pool.take(Number.MAX_SAFE_INTEGER)).rejects.toThrow(RangeError);
    expect(pool.usedBytes).toBe(0);
    expect(await pool.take(100)).toHaveLength(100);
  });

  test('counts full buffers until they are given back or reused', async () => {
    const pool = poolOf(2);
    const [first, second] = [await pool.take(30), await pool.take(20)];
    expect([pool.fullBytes, pool.filling]).toEqual([0, 2]);
    pool.full(first);
    pool.full(second);
    expect([pool.fullBytes, pool.filling]).toEqual([50, 0]);
    const again = pool.reuse(second, 5);
    expect(again).toHaveLength(5);
    expect([again.buffer, again.byteOffset]).toEqual([second.buffer, second.byteOffset]);
    expect([pool.fullBytes, pool.filling]).toEqual([30, 1]);
    pool.give(first, true);
    pool.give(again, false);
    expect([pool.fullBytes, pool.filling, pool.usedBytes]).toEqual([0, 0, 0]);
  });

  test('counts the buffers that were taken in a row while the network was ahead', async () => {
    const pool = poolOf(5);
    const take = (): Promise<Buffer> => pool.take(SLOT);
    for (const buffer of [await take(), await take(), await take()]) pool.full(buffer);
    expect(pool.takenAhead).toBe(0);
    pool.full(await take());
    expect(pool.takenAhead).toBe(1);
    const last = await take();
    expect(pool.takenAhead).toBe(2);
    pool.give(last, false);
    const [one] = [await pool.take(1), await pool.take(1)];
    expect(pool.takenAhead).toBe(0);
    pool.give(one, false);
  });

  test('never exceeds its size, never shares bytes, and grants every request in the end', async () => {
    const step = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant('take' as const), bytes: fc.integer({ min: 0, max: 5 * SLOT }) }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constant('take' as const),
          bytes: fc.oneof(fc.constantFrom(0, 1, SLOT), fc.integer({ min: 0, max: SLOT })),
        }),
      },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('give' as const), which: fc.nat(10) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('abort' as const), which: fc.nat(30) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const pool = poolOf(3);
        interface Taker {
          readonly bytes: number;
          readonly controller: AbortController;
          buffer?: Buffer;
          over?: true;
        }
        const takers: Taker[] = [];
        const held = (): Taker[] => takers.filter(({ buffer, over }) => buffer !== undefined && over === undefined);
        const check = (): void => {
          const out = held();
          for (const { buffer, bytes } of out) expect(buffer).toHaveLength(bytes);
          const slots = out.map(({ buffer }) => buffer!).filter(({ length }) => length <= SLOT);
          const ordered = slots.toSorted((a, b) => a.byteOffset - b.byteOffset);
          for (const [index, { byteOffset, length, buffer }] of ordered.entries()) {
            expect(byteOffset % PAGE).toBe(0);
            expect(Math.floor(byteOffset / SLOT)).toBe(Math.floor((byteOffset + Math.max(length, 1) - 1) / SLOT));
            const next = ordered[index + 1];
            if (next?.buffer === buffer) expect(byteOffset + length).toBeLessThanOrEqual(next.byteOffset);
          }
          const used = new Set(slots.map(({ byteOffset }) => Math.floor(byteOffset / SLOT))).size * SLOT;
          const larger = out.filter(({ bytes }) => bytes > SLOT).reduce((sum, { bytes }) => sum + bytes, 0);
          expect(pool.usedBytes).toBe(Math.min(used + larger, 3 * SLOT));
        };
        for (const next of steps) {
          if (next.kind === 'take') {
            const taker: Taker = { bytes: next.bytes, controller: new AbortController() };
            takers.push(taker);
            pool.take(next.bytes, taker.controller.signal).then(
              (buffer) => (taker.buffer = buffer),
              () => (taker.over = true),
            );
          } else if (next.kind === 'abort') takers[next.which]?.controller.abort();
          else {
            const holder = held()[next.which];
            if (holder !== undefined) {
              holder.over = true;
              pool.give(holder.buffer!, false);
            }
          }
          await settled();
          check();
        }
        for (let out = held(); out.length > 0; out = held()) {
          for (const taker of out) {
            taker.over = true;
            pool.give(taker.buffer!, false);
          }
          await settled();
          check();
        }
        expect(pool.usedBytes).toBe(0);
        expect(takers.every(({ over }) => over === true)).toBe(true);
      }),
      { numRuns: 80 },
    );
  });
});

describe('a pool that registries share', () => {
  function shared(slots: number): BufferPool {
    return new BufferPool(slots * SLOT, SLOT, () => true);
  }

  test('leaves memory to others while one registry sends nothing', async () => {
    const pool = shared(10);
    const silent = [];
    for (let next = pool.tryTake(SLOT, 'silent'); next !== undefined; next = pool.tryTake(SLOT, 'silent'))
      silent.push(next);
    expect(silent).toHaveLength(5);
    const waiting = pool.take(SLOT, undefined, 'silent');
    for (let times = 0; times < 20; times += 1) pool.give(await pool.take(SLOT, undefined, 'other'), false);
    pool.give(silent[0]!, false);
    pool.give(await waiting, false);
    for (const buffer of silent.slice(1)) pool.give(buffer, false);
    expect(pool.usedBytes).toBe(0);
  });

  test('puts only buffers of one registry into a slot', async () => {
    const pool = shared(4);
    const [one, other, again] = [await pool.take(1, undefined, 'a'), pool.tryTake(1, 'b')!, pool.tryTake(1, 'a')!];
    const slotOf = (buffer: Buffer): number => Math.floor(buffer.byteOffset / SLOT);
    expect(slotOf(other)).not.toBe(slotOf(one));
    expect(slotOf(again)).toBe(slotOf(one));
    for (const buffer of [one, other, again]) pool.give(buffer, false);
    expect(pool.usedBytes).toBe(0);
    const next = pool.tryTake(1, 'b')!;
    expect(slotOf(next)).toBe(slotOf(one));
  });

  test('counts a buffer that is larger than a slot for its registry', async () => {
    const pool = shared(4);
    const large = await pool.take(2 * SLOT, undefined, 'a');
    expect(pool.tryTake(SLOT, 'a')).toBeUndefined();
    const other = pool.tryTake(SLOT, 'b');
    expect(other).toHaveLength(SLOT);
    pool.give(large, false);
    expect(pool.tryTake(SLOT, 'a')).toHaveLength(SLOT);
  });
});
