import { once } from 'node:events';
import { constants, createZstdDecompress, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestOf } from '../../../lib/oci/digest.ts';
import { skippableFrame } from '../../kit/compress.ts';
import { randomBytes } from '../../kit/content.ts';
import { chunked, inflate } from './chunks.ts';

/** A frame, or bytes between frames, with the unpacked bytes. */
interface Piece {
  readonly stored: Buffer;
  readonly content: Buffer;
}

/** RFC 8878, section 3.1.1.2: a block header, three bytes, little-endian. */
function blockHeader(last: boolean, type: 0 | 1, size: number): Buffer {
  const header = Buffer.alloc(3);
  header.writeUIntLE((last ? 1 : 0) | (type << 1) | (size << 3), 0, 3);
  return header;
}

/** A frame of raw and run-length blocks, which the library writes only for suitable content. */
function blocksFrame(blocks: readonly { readonly raw?: Buffer; readonly run?: number }[]): Piece {
  const last = blocks.length - 1;
  const content = Buffer.concat(blocks.map(({ raw, run = 0 }) => raw ?? Buffer.alloc(run, 0x61)));
  // Section 3.1.1.1.1: not a single segment, no checksum, no content size; then a window of 2 MiB.
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58]);
  const body = blocks.flatMap(({ raw, run = 0 }, at) =>
    raw === undefined
      ? [blockHeader(at === last, 1, run), Buffer.from('a')]
      : [blockHeader(at === last, 0, raw.length), raw],
  );
  return { stored: Buffer.concat([header, ...body]), content };
}

function compressed(content: Buffer, options: { level: number; checksum: boolean; sized: boolean }): Piece {
  const params = {
    [constants.ZSTD_c_compressionLevel]: options.level,
    [constants.ZSTD_c_checksumFlag]: options.checksum ? 1 : 0,
    [constants.ZSTD_c_contentSizeFlag]: options.sized ? 1 : 0,
  };
  return { stored: zstdCompressSync(content, { params }), content };
}

/** Empty content, repetitive text, noise that spans blocks, and long runs. */
const content = fc.oneof(
  fc.constant(Buffer.alloc(0)),
  fc.integer({ min: 1, max: 4000 }).map((size) => Buffer.alloc(size, 'the same again ')),
  fc
    .record({ size: fc.integer({ min: 1, max: 3000 }), seed: fc.nat(1000) })
    .map(({ size, seed }) => randomBytes(size, seed)),
  fc.integer({ min: 100_000, max: 300_000 }).map((size) => Buffer.alloc(size, 7)),
);

const block = fc.oneof(
  fc.nat(300).map((size) => ({ raw: randomBytes(size, size) })),
  fc.nat(70_000).map((run) => ({ run })),
);

const piece: fc.Arbitrary<Piece> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .record({ content, level: fc.constantFrom(1, 3, 9, -5), checksum: fc.boolean(), sized: fc.boolean() })
      .map(({ content: bytes, ...options }) => compressed(bytes, options)),
  },
  { weight: 2, arbitrary: fc.array(block, { minLength: 1, maxLength: 4 }).map(blocksFrame) },
  {
    weight: 2,
    arbitrary: fc.record({ size: fc.nat(40), magic: fc.nat(15) }).map(({ size, magic }) => {
      const stored = skippableFrame(randomBytes(size, magic));
      stored.writeUInt32LE(0x184d2a50 + magic, 0);
      return { stored, content: Buffer.alloc(0) };
    }),
  },
);

const cuts = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 12 });

test('unpacks every frame for any chunks', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 8 }), cuts, async (pieces, sizes) => {
      const stored = Buffer.concat(pieces.map((one) => one.stored));
      const whole = Buffer.concat(pieces.map((one) => one.content));
      expect(await inflate('zstd', chunked(stored, sizes))).toBe(digestOf(whole));
    }),
    { numRuns: 60 },
  );
});

test('unpacks every frame if each chunk is a single byte', async () => {
  const pieces = [
    { stored: skippableFrame(Buffer.alloc(0)), content: Buffer.alloc(0) },
    compressed(Buffer.from('hello'), { level: 3, checksum: true, sized: true }),
    { stored: skippableFrame(Buffer.from('between')), content: Buffer.alloc(0) },
    compressed(Buffer.alloc(0), { level: 3, checksum: false, sized: false }),
    blocksFrame([{ raw: Buffer.from('raw') }, { run: 10 }, { raw: Buffer.alloc(0) }]),
    { stored: skippableFrame(Buffer.from('at the end')), content: Buffer.alloc(0) },
  ];
  const stored = Buffer.concat(pieces.map((one) => one.stored));
  const whole = Buffer.concat(pieces.map((one) => one.content));
  expect(await inflate('zstd', chunked(stored, [1]))).toBe(digestOf(whole));
});

// This is the reason for not using Node's own stream.
test("Node's own decompressor drops the bytes that follow a frame in the same write", async () => {
  const two = Buffer.concat([zstdCompressSync('first'), zstdCompressSync('second')]);
  const stream = createZstdDecompress();
  const out: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => out.push(chunk));
  stream.end(two);
  await once(stream, 'end');
  expect(Buffer.concat(out).toString()).toBe('first');
  expect(await inflate('zstd', [two])).toBe(digestOf(Buffer.from('firstsecond')));
});

describe('an invalid zstd stream is refused as not-as-declared', () => {
  const frame = compressed(Buffer.from('some content that is long enough'), { level: 3, checksum: true, sized: true });

  test.each<[string, Buffer]>([
    ['nothing at all', Buffer.alloc(0)],
    ['a gzip file', Buffer.from('1f8b0800000000000003', 'hex')],
    ['less than a magic number', frame.stored.subarray(0, 3)],
    ['a magic number alone', frame.stored.subarray(0, 4)],
    ['a frame without its checksum', frame.stored.subarray(0, -4)],
    ['a frame cut by one byte', frame.stored.subarray(0, -1)],
    ['a skippable frame that is cut', skippableFrame(Buffer.from('cut')).subarray(0, -1)],
    ['zeros behind a frame', Buffer.concat([frame.stored, Buffer.alloc(16)])],
    ['a reserved block type', Buffer.concat([frame.stored.subarray(0, 4), Buffer.from([0, 0x58, 0x07, 0, 0])])],
  ])('with %s', async (_, stored) => {
    for (const sizes of [[stored.length || 1], [1]])
      await expect(inflate('zstd', chunked(stored, sizes))).rejects.toMatchObject({ code: 'not-as-declared' });
  });

  test('with a wrong checksum', async () => {
    const stored = Buffer.from(frame.stored);
    stored[stored.length - 1]! ^= 1;
    await expect(inflate('zstd', [stored])).rejects.toMatchObject({ code: 'not-as-declared' });
  });

  test('that ends inside a frame', async () => {
    await fc.assert(
      fc.asyncProperty(piece, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), async ({ stored }, at) => {
        const cut = stored.subarray(0, Math.floor(stored.length * at));
        await expect(inflate('zstd', [cut])).rejects.toMatchObject({ code: 'not-as-declared' });
      }),
      { numRuns: 40 },
    );
  });
});

// Node detects a truncated stream since 24.20, and Lambda may have an earlier version.
test('only a boundary between frames is accepted as the end of a stream', async () => {
  const pieces = [
    compressed(randomBytes(300, 1), { level: 3, checksum: true, sized: true }),
    { stored: skippableFrame(Buffer.from('between')), content: Buffer.alloc(0) },
    blocksFrame([{ raw: randomBytes(25, 2) }, { run: 40 }]),
    compressed(Buffer.from('again and again and again and again'), { level: 3, checksum: false, sized: false }),
  ];
  const stored = Buffer.concat(pieces.map((one) => one.stored));
  const ends = new Set(pieces.map((_, at) => Buffer.concat(pieces.slice(0, at + 1).map((one) => one.stored)).length));
  for (let at = 1; at <= stored.length; at += 1) {
    const whole = await inflate('zstd', [Buffer.from(stored.subarray(0, at))]).then(
      () => true,
      () => false,
    );
    expect(whole, `cut at ${at} of ${stored.length}`).toBe(ends.has(at));
  }
});

// They are a valid stream without content (RFC 8878, section 3.1).
test('skippable frames alone unpack to nothing', async () => {
  expect(await inflate('zstd', [skippableFrame(Buffer.from('metadata'))])).toBe(digestOf(Buffer.alloc(0)));
});

// The frame requires a window of 1 GiB.
test('a frame with too large a window is refused before anything is allocated', async () => {
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (30 - 10) << 3]);
  const stored = Buffer.concat([header, blockHeader(true, 0, 1), Buffer.from('x')]);
  await expect(inflate('zstd', [stored])).rejects.toMatchObject({ code: 'not-as-declared' });
});
