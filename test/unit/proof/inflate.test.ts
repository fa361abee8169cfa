import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestOf } from '../../../lib/oci/digest.ts';
import { compress, type Framing } from '../../kit/compress.ts';
import { randomBytes } from '../../kit/content.ts';
import { chunked, createInflater, inflate } from '../sync/chunks.ts';

const TEXT = Buffer.from('what is in a layer. '.repeat(500));

const content = fc.oneof(
  fc.constant(Buffer.alloc(0)),
  fc.integer({ min: 1, max: 20_000 }).map((size) => randomBytes(size, size)),
  fc.integer({ min: 1, max: 900_000 }).map((size) => Buffer.alloc(size, 'again ')),
);
const cuts = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 12 });
const framing = fc.constantFrom<Framing>('single', 'several', 'chunked');

describe.each([
  ['in one call', { kind: 'brief' }, ['gzip']],
  ['on this thread', { kind: 'stream' }, ['gzip', 'zstd']],
  ['on another thread', { kind: 'thread' }, ['gzip', 'zstd']],
] as const)('an inflater %s', (_, options, compressions) => {
  /** One that processes each write on its own. */
  const ofStreams = options.kind === 'brief' ? [] : compressions;

  // One member, a few, or very many with eStargz's empty one at the end.
  test.each(compressions)('hashes all uncompressed bytes of %s, wherever the stream is cut', async (compression) => {
    await fc.assert(
      fc.asyncProperty(content, framing, cuts, async (bytes, how, sizes) => {
        const stored = compress(bytes.subarray(0, how === 'chunked' ? 60_000 : undefined), compression, how);
        const whole = bytes.subarray(0, how === 'chunked' ? 60_000 : undefined);
        expect(await inflate(compression, chunked(stored, sizes), options)).toBe(digestOf(whole));
      }),
      { numRuns: 30 },
    );
  });

  // A tool that flushes too often writes them.
  test('reads thousands of gzip members of a byte and less', async () => {
    const members = Buffer.concat(Array.from({ length: 3000 }, (_, n) => gzipSync(n % 3 === 0 ? '' : 'x')));
    expect(await inflate('gzip', chunked(members, [7919]), options)).toBe(digestOf(Buffer.from('x'.repeat(2000))));
  });

  describe('refuses as not-as-declared', () => {
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
    ])('%s', async (_, stored) => {
      for (const sizes of [[stored.length || 1], [member.length], [1000], [1]])
        await expect(inflate('gzip', chunked(stored, sizes), options)).rejects.toMatchObject({
          code: 'not-as-declared',
        });
    });

    test('a wrong checksum and a wrong length', async () => {
      for (const at of [-8, -4]) {
        const stored = Buffer.from(member);
        stored[stored.length + at]! ^= 1;
        await expect(inflate('gzip', [stored], options)).rejects.toMatchObject({ code: 'not-as-declared' });
      }
    });
  });

  test.each(ofStreams)('reports a limit that %s exceeds in every later call', async (compression) => {
    const stored = compress(Buffer.alloc(50_000_000), compression);
    const inflater = createInflater(compression, { ...options, maxUncompressed: 1_000_000 });
    const tooLarge = { code: 'too-large', side: 'source', detail: expect.stringContaining('1000000 bytes') as unknown };
    await expect(inflater.write(stored)).rejects.toMatchObject(tooLarge);
    await expect(inflater.write(stored)).rejects.toMatchObject(tooLarge);
    await expect(inflater.end()).rejects.toMatchObject(tooLarge);
    await inflater.destroy();
  });

  test('reports a limit that is exceeded at the end', async () => {
    for (const maxUncompressed of [0, 1, TEXT.length - 1]) {
      const inflater = createInflater('gzip', { ...options, maxUncompressed });
      const detail = `it unpacks to more than the limit of ${maxUncompressed} bytes`;
      await inflater.write(gzipSync(TEXT)).catch(() => undefined);
      await expect(inflater.end()).rejects.toMatchObject({ code: 'too-large', detail });
      await expect(inflater.end()).rejects.toMatchObject({ code: 'too-large', detail });
      await expect(inflater.write(gzipSync(TEXT))).rejects.toMatchObject({ code: 'too-large', detail });
      await inflater.destroy();
    }
  });

  test('accepts exactly as many uncompressed bytes as the limit allows', async () => {
    const inflater = createInflater('gzip', { ...options, maxUncompressed: TEXT.length });
    await inflater.write(gzipSync(TEXT));
    expect(await inflater.end()).toEqual({ sha256: digestOf(TEXT) });
    await inflater.destroy();
  });

  // The main thread writes the next slice while the thread inflates the last one.
  test.each(compressions)('accepts writes of %s before earlier ones have resolved', async (kind) => {
    const bytes = randomBytes(2_000_000, 1);
    const inflater = createInflater(kind, options);
    const chunks = chunked(compress(bytes, kind, 'several'), [700_000, 1, 300_000]);
    const writing = chunks.map((chunk) => inflater.write(chunk));
    expect(await inflater.end()).toEqual({ sha256: digestOf(bytes) });
    await Promise.all(writing);
    await inflater.destroy();
  });

  test.each(compressions)('can be destroyed during a write of %s', async (compression) => {
    const stored = compress(Buffer.alloc(20_000_000), compression);
    const inflater = createInflater(compression, options);
    const writing = inflater.write(stored);
    writing.catch(() => undefined);
    await inflater.destroy();
    // The write has settled as well.
    await Promise.race([writing.catch(() => undefined), new Promise((_, reject) => setImmediate(reject))]);
    await inflater.destroy();
    await expect(inflater.write(stored)).rejects.toThrow('the inflater is destroyed');
    await expect(inflater.end()).rejects.toThrow('the inflater is destroyed');
  });

  // Invariant 8.
  test.each(ofStreams)('uses no more memory after many writes of %s', async (compression) => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const frame = compress(Buffer.from('x'), compression);
    const inflater = createInflater(compression, options);
    const write = async (times: number): Promise<number> => {
      for (let n = 0; n < times; n += 1) await inflater.write(frame);
      collect();
      return process.memoryUsage().heapUsed;
    };
    const before = await write(1_000);
    const after = await write(8_000);
    await inflater.destroy();
    // A single leaked closure per write would cost at least a hundred bytes.
    expect((after - before) / 8_000).toBeLessThan(50);
  });
});
