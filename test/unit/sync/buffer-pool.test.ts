import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BufferPool } from '../../../lib/sync/transfer/buffer-pool.ts';

const MiB = 1024 * 1024;

const settled = (): Promise<void> => new Promise(setImmediate);

describe('BufferPool', () => {
  test('grants a buffer that fits at once, and others when memory is given back', async () => {
    const pool = new BufferPool(100);
    const first = await pool.take(60);
    let second: Buffer | undefined;
    const waiting = pool.take(60).then((buffer) => (second = buffer));
    await settled();
    expect(second).toBeUndefined();
    expect(pool.usedBytes).toBe(60);
    pool.give(first, false);
    await waiting;
    expect(second).toHaveLength(60);
    expect(pool.usedBytes).toBe(60);
  });

  test('grants buffers in the order of the requests, whatever their sizes', async () => {
    const pool = new BufferPool(100);
    const held = await pool.take(50);
    const order: string[] = [];
    const large = pool.take(80).then(() => order.push('large'));
    const small = pool.take(10).then(() => order.push('small'));
    await settled();
    expect(order).toEqual([]);
    expect(pool.tryTake(10)).toBeUndefined();
    pool.give(held, false);
    await Promise.all([large, small]);
    expect(order).toEqual(['large', 'small']);
  });

  test('takes a buffer at once only if it is free', () => {
    const pool = new BufferPool(100);
    expect(pool.tryTake(60)).toHaveLength(60);
    expect(pool.tryTake(60)).toBeUndefined();
    expect(pool.tryTake(40)).toHaveLength(40);
    expect(pool.usedBytes).toBe(100);
  });

  test('grants a buffer that is larger than the pool when no other is taken', async () => {
    const pool = new BufferPool(100);
    const held = await pool.take(1);
    let huge: Buffer | undefined;
    const waiting = pool.take(500).then((buffer) => (huge = buffer));
    await settled();
    expect(huge).toBeUndefined();
    pool.give(held, false);
    await waiting;
    expect(huge).toHaveLength(500);
    pool.give(huge!, false);
    expect(pool.usedBytes).toBe(0);
  });

  test('takes nothing for an aborted wait, and grants the next request', async () => {
    const pool = new BufferPool(100);
    await pool.take(50);
    const controller = new AbortController();
    const large = pool.take(80, controller.signal);
    const small = pool.take(30);
    const reason = new Error('over');
    controller.abort(reason);
    await expect(large).rejects.toBe(reason);
    await small;
    expect(pool.usedBytes).toBe(80);
    await expect(pool.take(1, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(pool.usedBytes).toBe(80);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  test('does not count a buffer that cannot be allocated', async () => {
    const pool = new BufferPool(100);
    await expect(pool.take(Number.MAX_SAFE_INTEGER)).rejects.toThrow(RangeError);
    expect(pool.usedBytes).toBe(0);
    expect(await pool.take(100)).toHaveLength(100);
  });

  test('counts full buffers until they are given back or reused', async () => {
    const pool = new BufferPool(100);
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
    const pool = new BufferPool(100);
    const [first, second] = [await pool.take(30), await pool.take(20)];
    expect(pool.takenAhead).toBe(0);
    pool.full(first);
    pool.full(second);
    const third = await pool.take(10);
    expect(pool.takenAhead).toBe(1);
    pool.full(third);
    await pool.take(10);
    expect(pool.takenAhead).toBe(2);
    await pool.take(10);
    expect(pool.takenAhead).toBe(0);
  });

  test('never exceeds its size, and grants each request that fits and is next', async () => {
    const step = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant('take' as const), bytes: fc.integer({ min: 0, max: 130 }) }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('give' as const), which: fc.nat(10) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('abort' as const), which: fc.nat(30) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const pool = new BufferPool(100);
        interface Taker {
          readonly bytes: number;
          readonly controller: AbortController;
          buffer?: Buffer;
          over?: true;
        }
        const takers: Taker[] = [];
        const held = (): Taker[] => takers.filter(({ buffer, over }) => buffer !== undefined && over === undefined);
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
          const out = held();
          const sum = out.reduce((total, { bytes }) => total + Math.min(bytes, 100), 0);
          expect(pool.usedBytes).toBe(sum);
          expect(sum).toBeLessThanOrEqual(100);
          for (const { buffer, bytes } of out) expect(buffer).toHaveLength(bytes);
          const waiting = takers.find(({ buffer, over }) => buffer === undefined && over === undefined);
          if (waiting !== undefined) expect(sum + Math.min(waiting.bytes, 100)).toBeGreaterThan(100);
        }
        for (let out = held(); out.length > 0; out = held()) {
          for (const taker of out) {
            taker.over = true;
            pool.give(taker.buffer!, false);
          }
          await settled();
        }
        expect(pool.usedBytes).toBe(0);
        expect(takers.every(({ over }) => over === true)).toBe(true);
      }),
      { numRuns: 80 },
    );
  });

  test('cuts large buffers from one block of shared memory, and reuses them', async () => {
    const pool = new BufferPool(24 * MiB, 8 * MiB);
    const [first, second] = [await pool.take(5 * MiB), await pool.take(8 * MiB)];
    expect(first.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(second.buffer).toBe(first.buffer);
    expect([first.length, first.byteOffset % (8 * MiB), second.byteOffset % (8 * MiB)]).toEqual([5 * MiB, 0, 0]);
    expect(second.byteOffset).not.toBe(first.byteOffset);
    expect(pool.usedBytes).toBe(16 * MiB);
    pool.give(first, false);
    expect((await pool.take(6 * MiB)).byteOffset).toBe(first.byteOffset);
  });

  test('gives small buffers, and buffers larger than a slot, memory of their own', async () => {
    const pool = new BufferPool(32 * MiB, 8 * MiB);
    const [small, large] = [await pool.take(4 * MiB - 1), await pool.take(9 * MiB)];
    expect(small.buffer).toBeInstanceOf(ArrayBuffer);
    expect(large.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(pool.usedBytes).toBe(13 * MiB - 1);
    pool.give(small, false);
    pool.give(large, false);
    expect(pool.usedBytes).toBe(0);
  });

  test('grants a slot that is larger than the pool when no other buffer is taken', async () => {
    const pool = new BufferPool(5 * MiB, 8 * MiB);
    const buffer = await pool.take(6 * MiB);
    expect(buffer).toHaveLength(6 * MiB);
    expect(pool.tryTake(1)).toBeUndefined();
    pool.give(buffer, false);
    expect(await pool.take(8 * MiB)).toHaveLength(8 * MiB);
  });
});
