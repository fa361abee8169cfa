import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createInflater } from '../../../lib/proof/inflate.ts';
import { compress, type Framing } from '../../kit/compress.ts';
import { randomBytes } from '../../kit/content.ts';
import { chunked, inflate } from '../sync/chunks.ts';

const TEXT = Buffer.from('what is in a layer. '.repeat(500));

const content = fc.oneof(
  fc.constant(Buffer.alloc(0)),
  fc.integer({ min: 1, max: 20_000 }).map((size) => randomBytes(size, size)),
  fc.integer({ min: 1, max: 900_000 }).map((size) => Buffer.alloc(size, 'again ')),
);
const cuts = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 12 });
const framing = fc.constantFrom<Framing>('single', 'several', 'chunked');

// Small blobs are inflated on the main thread and large ones on a worker thread, with the same results.
describe.each([
  ['here', { large: false }],
  ['on a thread', { large: true }],
] as const)('%s', (_, options) => {
  test.each(['gzip', 'zstd'] as const)('%s unpacks completely for any sizes of chunks', async (compression) => {
    await fc.assert(
      fc.asyncProperty(content, framing, cuts, async (bytes, how, sizes) => {
        const stored = compress(bytes.subarray(0, how === 'chunked' ? 60_000 : undefined), compression, how);
        const whole = bytes.subarray(0, how === 'chunked' ? 60_000 : undefined);
        expect((await inflate(compression, chunked(stored, sizes), options)).equals(whole)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  // Tools that flush too often write such members.
  test('accepts thousands of gzip members of a byte or less', async () => {
    const members = Buffer.concat(Array.from({ length: 3000 }, (_, n) => gzipSync(n % 3 === 0 ? '' : 'x')));
    expect((await inflate('gzip', chunked(members, [7919]), options)).toString()).toBe('x'.repeat(2000));
  });

  describe('a stream that is not gzip is refused as not-as-declared', () => {
    const member = gzipSync(TEXT);

    test.each<[string, Buffer]>([
      ['nothing at all', Buffer.alloc(0)],
      ['plain text', TEXT],
      ['a member cut by one byte', member.subarray(0, -1)],
      ['a member without its trailer', member.subarray(0, -8)],
      ['a header alone', member.subarray(0, 10)],
      ['a second member that is cut', Buffer.concat([member, member.subarray(0, -5)])],
      ['a byte that could begin a member', Buffer.concat([member, Buffer.from([0x1f])])],
      ['garbage behind a member', Buffer.concat([member, Buffer.from('garbage')])],
      // GNU gzip ignores zeros behind the last member, and Go's reader (in Docker and containerd) fails on them.
      ['zeros behind a member', Buffer.concat([member, Buffer.alloc(512)])],
      ['a single zero behind a member', Buffer.concat([member, Buffer.alloc(1)])],
      // Node drops the second member if both come in one write, and fails if it comes in a later write.
      ['a member behind zeros', Buffer.concat([member, Buffer.alloc(512), member])],
    ])('with %s', async (_, stored) => {
      for (const sizes of [[stored.length || 1], [member.length], [1000], [1]])
        await expect(inflate('gzip', chunked(stored, sizes), options)).rejects.toMatchObject({
          code: 'not-as-declared',
        });
    });

    test('with a wrong checksum or a wrong length', async () => {
      for (const at of [-8, -4]) {
        const stored = Buffer.from(member);
        stored[stored.length + at]! ^= 1;
        await expect(inflate('gzip', [stored], options)).rejects.toMatchObject({ code: 'not-as-declared' });
      }
    });
  });

  describe('backpressure', () => {
    test.each(['gzip', 'zstd'] as const)(
      'a write of %s resolves only after its output was consumed',
      async (compression) => {
        const bytes = Buffer.alloc(3_000_000, 'abc');
        let out = 0;
        const count = (chunk: Uint8Array): void => void (out += chunk.length);
        const inflater = createInflater(compression, count, options);
        await inflater.write(compress(bytes, compression));
        expect(out).toBe(bytes.length);
        await inflater.end();
        await inflater.destroy();
      },
    );

    test.each(['gzip', 'zstd'] as const)('a write rejects with the error of the sink (%s)', async (compression) => {
      const enough = new Error('enough');
      let chunks = 0;
      const inflater = createInflater(
        compression,
        () => {
          chunks += 1;
          if (chunks === 2) throw enough;
        },
        options,
      );
      const stored = compress(Buffer.alloc(50_000_000), compression);
      await expect(inflater.write(stored)).rejects.toBe(enough);
      await expect(inflater.write(stored)).rejects.toBe(enough);
      expect(chunks).toBe(2);
      await expect(inflater.end()).rejects.toBe(enough);
    });

    test('end() rejects with the error of the sink', async () => {
      const enough = new Error('enough');
      const inflater = createInflater(
        'gzip',
        () => {
          throw enough;
        },
        options,
      );
      await inflater.write(gzipSync('x')).catch(() => undefined);
      await expect(inflater.end()).rejects.toBe(enough);
    });
  });

  test.each(['gzip', 'zstd'] as const)('destroying the inflater settles a pending write (%s)', async (compression) => {
    const stored = compress(Buffer.alloc(20_000_000), compression);
    const inflater = createInflater(compression, () => undefined, options);
    const writing = inflater.write(stored);
    writing.catch(() => undefined);
    await inflater.destroy();
    // The inflater no longer reads the written chunk.
    await Promise.race([writing.catch(() => undefined), new Promise((_, reject) => setImmediate(reject))]);
    await inflater.destroy();
    await expect(inflater.write(stored)).rejects.toThrow('given up');
  });

  test.each(['gzip', 'zstd'] as const)('memory does not grow with the number of writes (%s)', async (compression) => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const frame = compress(Buffer.from('x'), compression);
    const inflater = createInflater(compression, () => undefined, options);
    const write = async (times: number): Promise<number> => {
      for (let n = 0; n < times; n += 1) await inflater.write(frame);
      collect();
      return process.memoryUsage().heapUsed;
    };
    const before = await write(2_000);
    const after = await write(20_000);
    await inflater.destroy();
    // A single leaked closure per write would cost at least a hundred bytes.
    expect((after - before) / 20_000).toBeLessThan(50);
  });
});
