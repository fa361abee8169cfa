import { describe, expect, test } from 'vitest';
import { TaskGroup } from '../../../lib/core/task-group.ts';
import type { PartBuffer } from '../../../lib/sync/transfer/part-buffer.ts';
import { PartsInFlight } from '../../../lib/sync/transfer/parts-in-flight.ts';
import type { Prover } from '../../../lib/proof/prover.ts';
import { BufferPool } from '../../../lib/sync/transfer/buffer-pool.ts';

const PART = 64 * 1024;

/** Hashes immediately. */
const prover = { write: () => Promise.resolve() } as unknown as Prover;

function flight(parts: number) {
  const pool = new BufferPool(parts * PART, PART);
  const tasks = new TaskGroup();
  return { pool, tasks, parts: new PartsInFlight(pool, tasks, prover) };
}

function complete(parts: PartsInFlight, part: PartBuffer): PromiseWithResolvers<void> {
  part.append(Buffer.alloc(PART));
  parts.complete(part);
  const stored = Promise.withResolvers<void>();
  void parts.release(part, stored.promise);
  return stored;
}

const settled = (): Promise<void> => new Promise(setImmediate);

describe('PartsInFlight', () => {
  test('keeps the buffer of a part until it is stored and hashed', async () => {
    const { pool, parts } = flight(2);
    const part = await parts.take({ number: 1, size: PART });
    expect(pool.usedBytes).toBe(PART);
    const stored = complete(parts, part);
    await settled();
    expect(pool.usedBytes).toBe(PART);
    stored.resolve();
    await settled();
    expect(pool.usedBytes).toBe(0);
  });

  test('gives the prover what arrived meanwhile at once, while two writes are unfinished', async () => {
    const MiB = 1024 * 1024;
    const writes: { readonly length: number; readonly done: PromiseWithResolvers<void> }[] = [];
    const slow = {
      write: ({ length }: Uint8Array): Promise<void> => {
        const done = Promise.withResolvers<void>();
        writes.push({ length, done });
        return done.promise;
      },
    } as unknown as Prover;
    const tasks = new TaskGroup();
    const parts = new PartsInFlight(new BufferPool(16 * MiB), tasks, slow);
    const part = await parts.take({ number: 1, size: 6 * MiB });
    for (let count = 0; count < 6; count += 1) {
      part.append(Buffer.alloc(MiB));
      await settled();
    }
    expect(writes.map(({ length }) => length)).toEqual([MiB, MiB]);
    writes[0]?.done.resolve();
    await settled();
    expect(writes.map(({ length }) => length)).toEqual([MiB, MiB, 4 * MiB]);
    parts.complete(part);
    for (const { done } of writes) done.resolve();
    await tasks.join();
  });

  test('fails with the prover', async () => {
    const failing = { write: () => Promise.reject(new Error('too large')) } as unknown as Prover;
    const tasks = new TaskGroup();
    const parts = new PartsInFlight(new BufferPool(2 * PART, PART), tasks, failing);
    const part = await parts.take({ number: 1, size: PART });
    part.append(Buffer.alloc(PART));
    parts.complete(part);
    await expect(tasks.join()).rejects.toThrow('too large');
  });

  test('takes the buffer of a following part from the pool if one is free', async () => {
    const { pool, parts } = flight(2);
    const first = await parts.take({ number: 1, size: PART });
    const stored = complete(parts, first);
    const second = await parts.following({ number: 2, size: PART });
    expect(second.number).toBe(2);
    expect(second.buffer.byteOffset).not.toBe(first.buffer.byteOffset);
    stored.resolve();
    await settled();
    expect(pool.usedBytes).toBe(PART);
    complete(parts, second).resolve();
    await settled();
    expect(pool.usedBytes).toBe(0);
  });

  test('reuses the buffer of the oldest complete part if the pool has none', async () => {
    const { pool, parts } = flight(2);
    const [first, second] = [await parts.take({ number: 1, size: PART }), await parts.take({ number: 2, size: PART })];
    const [one, two] = [complete(parts, first), complete(parts, second)];
    const following = parts.following({ number: 3, size: PART / 2 });
    two.resolve();
    await settled();
    one.resolve();
    const third = await following;
    expect(third.buffer.byteOffset).toBe(first.buffer.byteOffset);
    expect(third.buffer).toHaveLength(PART / 2);
    expect(pool.usedBytes).toBe(PART);
  });

  test('gives back all buffers', async () => {
    const { pool, parts } = flight(3);
    await parts.take({ number: 1, size: PART });
    parts.complete(await parts.take({ number: 2, size: PART }));
    parts.giveBack();
    expect([pool.usedBytes, pool.fullBytes, pool.filling]).toEqual([0, 0, 0]);
  });
});
