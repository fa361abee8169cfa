import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PartBuffer } from '../../../lib/sync/transfer/part-buffer.ts';
import { randomBytes } from '../../kit/content.ts';
import { chunked } from './chunks.ts';

const NEVER = new AbortController().signal;

async function read(part: PartBuffer, signal = NEVER): Promise<Buffer> {
  const slices: Buffer[] = [];
  for await (const slice of part.slices(signal)) {
    slices.push(Buffer.from(slice));
    await Promise.resolve();
  }
  return Buffer.concat(slices);
}

test('yields every byte once and in order while it is filled with any chunks', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 1_200_000 }),
      fc.array(fc.integer({ min: 1, max: 400_000 }), { minLength: 1, maxLength: 6 }),
      async (size, sizes) => {
        const bytes = randomBytes(size, 1);
        const part = new PartBuffer(1, Buffer.alloc(size));
        const fill = async (): Promise<void> => {
          for (const chunk of chunked(bytes, sizes)) {
            await Promise.resolve();
            expect(part.append(chunk)).toBe(chunk.length);
          }
          part.complete();
        };
        const [back] = await Promise.all([read(part), fill()]);
        expect(back.equals(bytes)).toBe(true);
        expect(Buffer.from(part.bytes).equals(bytes)).toBe(true);
      },
    ),
    { numRuns: 30 },
  );
});

test('yields the first MiB while the part arrives, and then all that has arrived meanwhile, up to 4 MiB', async () => {
  const MiB = 1024 * 1024;
  const part = new PartBuffer(1, Buffer.alloc(10 * MiB));
  const slices = part.slices(NEVER);
  const lengthOfNext = async (): Promise<number | undefined> => {
    const { value } = await slices.next();
    return value?.length;
  };
  part.append(Buffer.alloc(MiB - 1));
  const first = lengthOfNext();
  await new Promise(setImmediate);
  part.append(Buffer.alloc(1));
  expect(await first).toBe(MiB);
  part.append(Buffer.alloc(3 * MiB));
  expect(await lengthOfNext()).toBe(3 * MiB);
  part.append(Buffer.alloc(6 * MiB));
  expect(await lengthOfNext()).toBe(4 * MiB);
  expect(await lengthOfNext()).toBe(2 * MiB);
  part.complete();
  expect(await lengthOfNext()).toBeUndefined();
});

describe('a part that is shorter than its buffer', () => {
  test('contains the received bytes once it is complete', async () => {
    const part = new PartBuffer(1, Buffer.alloc(100));
    const reading = read(part);
    expect(part.append(Buffer.from('short'))).toBe(5);
    expect(part.full).toBe(false);
    part.complete();
    expect((await reading).toString()).toBe('short');
    expect(Buffer.from(part.bytes).toString()).toBe('short');
  });

  test('accepts no more bytes than fit', () => {
    const part = new PartBuffer(1, Buffer.alloc(3));
    expect(part.append(Buffer.from('long'))).toBe(3);
    expect(part.full).toBe(true);
    expect(part.append(Buffer.from('er'))).toBe(0);
    expect(Buffer.from(part.bytes).toString()).toBe('lon');
  });
});

test('a waiting reader is rejected when the signal is aborted', async () => {
  const part = new PartBuffer(1, Buffer.alloc(10));
  const controller = new AbortController();
  const reading = read(part, controller.signal);
  await new Promise(setImmediate);
  const reason = new Error('the body broke');
  controller.abort(reason);
  await expect(reading).rejects.toBe(reason);
  await expect(read(part, controller.signal)).rejects.toBe(reason);
});

test('has no listener left on the signal after many waits', async () => {
  const part = new PartBuffer(1, Buffer.alloc(2_000_000));
  const controller = new AbortController();
  const reading = read(part, controller.signal);
  for (let n = 0; n < 8; n += 1) {
    await new Promise(setImmediate);
    part.append(Buffer.alloc(250_000));
  }
  part.complete();
  await reading;
  expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
});
