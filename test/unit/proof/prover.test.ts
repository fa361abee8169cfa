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
      // As a part's buffer is once it has been hashed.
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

// Any blob, however compressed and cut: digest and size of what is stored, SHA-256 of what it unpacks to.
test('proves digest, size and diffID', async () => {
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

// schema1 does not say how large a layer is: what comes is what it has.
test('a size that is not said is found', async () => {
  const stored = gzipSync('x');
  const proof = await prove({ digest: digestOf(stored), mediaType: TYPES.gzip }, stored);
  expect(proof.size).toBe(stored.length);
});

describe('what is wrong is told in the order of what it means', () => {
  const text = Buffer.from('the layer that was meant');
  const stored = gzipSync(text);
  const right = { digest: digestOf(stored), mediaType: TYPES.gzip, size: stored.length };

  test('too long: as soon as the first byte too many comes, and before anything else', async () => {
    const prover = new Prover({ ...right, size: stored.length - 1 });
    await expect(prover.write(stored)).rejects.toMatchObject({ code: 'size-mismatch', remedy: 'never' });
    await prover.destroy();
  });

  test('too short: before the digest, which could not be right', async () => {
    await expect(prove(right, stored.subarray(0, -1))).rejects.toMatchObject({ code: 'size-mismatch' });
  });

  // Garbage under a digest of something else: that it is not a gzip either is beside the point.
  test('other bytes: a digest mismatch, though they do not unpack', async () => {
    const other = randomBytes(stored.length, 5);
    await expect(prove(right, other)).rejects.toMatchObject({ code: 'digest-mismatch', side: 'source' });
    await expect(prove(right, other, { sizes: [3] })).rejects.toMatchObject({ code: 'digest-mismatch' });
  });

  test.each<[string, Buffer, string]>([
    ['plain bytes that are declared gzip', text, TYPES.gzip],
    ['plain bytes that are declared zstd', text, TYPES.zstd],
    ['gzip cut short', stored.subarray(0, -1), TYPES.gzip],
    ['zstd cut short', zstdCompressSync(text).subarray(0, -1), TYPES.zstd],
    ['gzip with zeros behind it', Buffer.concat([stored, Buffer.alloc(8)]), TYPES.gzip],
    [
      'gzip cut short that is declared plain',
      Buffer.concat([gzipSync(randomBytes(2000, 1)).subarray(0, -9)]),
      TYPES.none,
    ],
  ])('the right bytes wrongly declared: %s', async (_, bytes, mediaType) => {
    const expected = { digest: digestOf(bytes), mediaType, size: bytes.length };
    for (const sizes of [[bytes.length || 1], [1]])
      await expect(prove(expected, bytes, { sizes })).rejects.toMatchObject({
        code: 'not-as-declared',
        remedy: 'never',
        message: expect.stringContaining(mediaType),
      });
  });

  // The right digest of sha512, and of other bytes.
  test('sha512 as sha256', async () => {
    const digest = digestOf(stored, 'sha512');
    expect(await prove({ ...right, digest }, stored)).toMatchObject({ digest, diffIds: { sha256: digestOf(text) } });
    await expect(prove({ ...right, digest }, randomBytes(stored.length, 5))).rejects.toMatchObject({
      code: 'digest-mismatch',
    });
  });
});

describe('a decompression bomb', () => {
  // Ten megabytes of zeros a member, a thousand of them: at the first chunk beyond the limit it is over.
  test.each(['gzip', 'zstd'] as const)('is refused as soon as it exceeds the limit (%s)', async (kind) => {
    const member = compress(Buffer.alloc(10_000_000), kind);
    const expected = { digest: digestOf(member), mediaType: TYPES[kind] };
    const prover = new Prover(expected, { maxUncompressed: 1_000_000 });
    await expect(prover.write(member)).rejects.toMatchObject({ code: 'too-large', remedy: 'never' });
    await prover.destroy();
  });

  test('is refused where it unpacks to more than a thousand times its size, from a size on', async () => {
    const stored = zstdCompressSync(Buffer.alloc(3_000_000));
    expect(stored.length).toBeLessThan(2_000);
    const expected = { digest: digestOf(stored), mediaType: TYPES.zstd };
    await expect(prove(expected, stored, { ratioFrom: 2_000_000 })).rejects.toMatchObject({ code: 'too-large' });
    expect(await prove(expected, stored, { ratioFrom: 3_000_000 })).toMatchObject({ size: stored.length });
    const dense = Buffer.concat([stored, zstdCompressSync(randomBytes(3_000, 1))]);
    const right = { digest: digestOf(dense), mediaType: TYPES.zstd };
    expect(await prove(right, dense, { ratioFrom: 2_000_000 })).toMatchObject({ size: dense.length });
  });

  // Exactly as much as is allowed is allowed.
  test('begins one byte beyond the limit', async () => {
    const stored = gzipSync(Buffer.alloc(1000));
    const expected = { digest: digestOf(stored), mediaType: TYPES.gzip };
    expect(await prove(expected, stored, { maxUncompressed: 1000 })).toMatchObject({ size: stored.length });
    await expect(prove(expected, stored, { maxUncompressed: 999 })).rejects.toMatchObject({ code: 'too-large' });
  });
});

// A transfer is given up while a chunk is being hashed: nothing throws into the void afterwards.
test.each(['none', 'gzip', 'zstd'] as const)('may be let go at any time (%s)', async (kind) => {
  const stored = compress(Buffer.alloc(5_000_000, 'abc'), kind);
  const prover = new Prover({ digest: digestOf(stored), mediaType: TYPES[kind] });
  const writing = prover.write(stored);
  await prover.destroy();
  await writing.catch(() => undefined);
  await prover.destroy();
  await new Promise(setImmediate);
});
