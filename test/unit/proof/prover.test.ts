import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Expected, type Proof, Prover } from '../../../lib/proof/prover.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { compress, type Framing } from '../../kit/compress.ts';
import { randomBytes } from '../../kit/content.ts';
import { chunked } from '../sync/chunks.ts';

const TYPES = {
  none: 'application/vnd.oci.image.layer.v1.tar',
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
} as const;

async function prove(
  expected: Expected,
  bytes: Uint8Array,
  options: { readonly sizes?: readonly number[]; readonly maxUncompressed?: number; readonly ratioFrom?: number } = {},
): Promise<Proof> {
  const { sizes = [bytes.length || 1], ...limits } = options;
  const prover = new Prover(expected, limits);
  try {
    for (const chunk of chunked(bytes, sizes)) {
      await prover.write(chunk);
      // This overwrites the chunk, as happens to the buffer of a part once it has been hashed.
      chunk.fill(0xff);
    }
    return await prover.finish();
  } finally {
    await prover.destroy();
  }
}

const compression = fc.constantFrom('none', 'gzip', 'zstd');
const framing = fc.constantFrom<Framing>('single', 'several', 'chunked');
const algorithm = fc.constantFrom('sha256', 'sha512');
const content = fc.oneof(
  fc.constant(Buffer.alloc(0)),
  fc.integer({ min: 1, max: 5000 }).map((size) => randomBytes(size, size)),
  fc.integer({ min: 300_000, max: 700_000 }).map((size) => Buffer.alloc(size, 'again ')),
);
const cuts = fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 8 });

test('proves digest, size and diffID for any compression and any chunks', async () => {
  await fc.assert(
    fc.asyncProperty(content, compression, framing, algorithm, cuts, async (bytes, kind, how, hash, sizes) => {
      const plain = how === 'chunked' ? bytes.subarray(0, 20_000) : bytes;
      const stored = compress(plain, kind, how);
      const digest = digestOf(stored, hash);
      const proof = await prove({ digest, mediaType: TYPES[kind], size: stored.length }, stored, { sizes });
      expect(proof).toEqual({
        digest,
        size: stored.length,
        diffIds: { sha256: digestOf(plain) },
        compression: stored.length === 0 ? 'none' : kind,
      });
    }),
    { numRuns: 60 },
  );
});

// Docker schema 1 does not declare the sizes of layers.
test('accepts any size if the size is not declared', async () => {
  const stored = gzipSync('x');
  const proof = await prove({ digest: digestOf(stored), mediaType: TYPES.gzip }, stored);
  expect(proof.size).toBe(stored.length);
});

describe('the most meaningful problem is reported first', () => {
  const text = Buffer.from('the layer that was meant');
  const stored = gzipSync(text);
  const right = { digest: digestOf(stored), mediaType: TYPES.gzip, size: stored.length };

  test('a blob that is too long fails at the first excess byte, before any other problem', async () => {
    const prover = new Prover({ ...right, size: stored.length - 1 });
    await expect(prover.write(stored)).rejects.toMatchObject({ code: 'size-mismatch', remedy: 'never' });
    await prover.destroy();
  });

  test('a blob that is too short fails before its digest is compared', async () => {
    await expect(prove(right, stored.subarray(0, -1))).rejects.toMatchObject({ code: 'size-mismatch' });
  });

  test('other bytes fail with a digest mismatch, although they do not unpack either', async () => {
    const other = randomBytes(stored.length, 5);
    await expect(prove(right, other)).rejects.toMatchObject({ code: 'digest-mismatch', side: 'source' });
    await expect(prove(right, other, { sizes: [3] })).rejects.toMatchObject({ code: 'digest-mismatch' });
  });

  test.each<[string, Buffer, string, string]>([
    ['plain bytes that are declared gzip', text, TYPES.gzip, 'read gzip: incorrect header check'],
    ['plain bytes that are declared zstd', text, TYPES.zstd, 'read zstd: Unknown frame descriptor'],
    ['gzip cut short', stored.subarray(0, -1), TYPES.gzip, 'read gzip: unexpected end of file'],
    ['zstd cut short', zstdCompressSync(text).subarray(0, -1), TYPES.zstd, 'read zstd: the last frame is incomplete'],
    [
      'gzip with zeros behind it',
      Buffer.concat([stored, Buffer.alloc(8)]),
      TYPES.gzip,
      'read gzip: other bytes follow the end of the stream',
    ],
    [
      'gzip cut short that is declared plain',
      Buffer.concat([gzipSync(randomBytes(2000, 1)).subarray(0, -9)]),
      TYPES.none,
      'read gzip: unexpected end of file',
    ],
  ])('right bytes with a wrong declaration are refused with the reason: %s', async (_, bytes, mediaType, reason) => {
    const expected = { digest: digestOf(bytes), mediaType, size: bytes.length };
    for (const sizes of [[bytes.length || 1], [1]])
      await expect(prove(expected, bytes, { sizes })).rejects.toMatchObject({
        code: 'not-as-declared',
        remedy: 'never',
        detail: `it is declared as ${mediaType}, but does not unpack as that: ${reason}`,
      });
  });

  test('bytes with a sha512 digest fail if they match only the sha256', async () => {
    const digest = digestOf(stored, 'sha512');
    expect(await prove({ ...right, digest }, stored)).toMatchObject({ digest, diffIds: { sha256: digestOf(text) } });
    await expect(prove({ ...right, digest }, randomBytes(stored.length, 5))).rejects.toMatchObject({
      code: 'digest-mismatch',
    });
  });
});

test.each([
  [0x20, [], 'the gzip header has a reserved flag'],
  [0x02, [1, 2], 'the checksum of the gzip header is wrong'],
])('a gzip header with the flags %i is refused with the reason', async (flags, more, reason) => {
  const plain = gzipSync(randomBytes(1000, 1));
  const stored = Buffer.concat([
    plain.subarray(0, 3),
    Buffer.from([flags]),
    plain.subarray(4, 10),
    Buffer.from(more),
    plain.subarray(10),
  ]);
  const expected = { digest: digestOf(stored), mediaType: TYPES.gzip };
  await expect(prove(expected, stored)).rejects.toThrow(reason);
});

describe('a decompression bomb', () => {
  test.each(['gzip', 'zstd'] as const)('is refused at the first chunk beyond the limit (%s)', async (kind) => {
    const member = compress(Buffer.alloc(10_000_000), kind);
    const expected = { digest: digestOf(member), mediaType: TYPES[kind] };
    const prover = new Prover(expected, { maxUncompressed: 1_000_000 });
    await expect(prover.write(member)).rejects.toMatchObject({ code: 'too-large', remedy: 'never' });
    await prover.destroy();
  });

  test('is refused if it unpacks to more than 1,100 times its size, above a minimum size', async () => {
    const stored = zstdCompressSync(Buffer.alloc(3_000_000));
    expect(stored.length).toBeLessThan(2_000);
    const expected = { digest: digestOf(stored), mediaType: TYPES.zstd };
    await expect(prove(expected, stored, { ratioFrom: 2_000_000 })).rejects.toMatchObject({ code: 'too-large' });
    expect(await prove(expected, stored, { ratioFrom: 3_000_000 })).toMatchObject({ size: stored.length });
    const dense = Buffer.concat([stored, zstdCompressSync(randomBytes(3_000, 1))]);
    const right = { digest: digestOf(dense), mediaType: TYPES.zstd };
    expect(await prove(right, dense, { ratioFrom: 2_000_000 })).toMatchObject({ size: dense.length });
  });

  // The compression of gzip is limited by its format.
  test('is never suspected because of the ratio of gzip', async () => {
    const stored = gzipSync(Buffer.alloc(10_000_000), { level: 9 });
    expect(10_000_000 / stored.length).toBeGreaterThan(1_020);
    const expected = { digest: digestOf(stored), mediaType: TYPES.gzip };
    expect(await prove(expected, stored, { ratioFrom: 2_000_000 })).toMatchObject({ size: stored.length });
  });

  test('is not suspected at exactly the limit', async () => {
    const stored = gzipSync(Buffer.alloc(1000));
    const expected = { digest: digestOf(stored), mediaType: TYPES.gzip };
    expect(await prove(expected, stored, { maxUncompressed: 1000 })).toMatchObject({ size: stored.length });
    await expect(prove(expected, stored, { maxUncompressed: 999 })).rejects.toMatchObject({ code: 'too-large' });
  });
});

test.each(['none', 'gzip', 'zstd'] as const)(
  'can be destroyed while a chunk is being hashed, without an unhandled rejection (%s)',
  async (kind) => {
    const stored = compress(Buffer.alloc(5_000_000, 'abc'), kind);
    const prover = new Prover({ digest: digestOf(stored), mediaType: TYPES[kind] });
    const writing = prover.write(stored).catch(() => undefined);
    await prover.destroy();
    await writing;
    await prover.destroy();
    await new Promise(setImmediate);
  },
);
