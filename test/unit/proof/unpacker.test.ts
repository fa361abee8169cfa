import { zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { verifyArchive } from '../../../lib/upkeep/verify.ts';
import { MAX_WINDOW_LOG, windowLogOf } from '../../../lib/oci/compression.ts';
import { Prover } from '../../../lib/proof/prover.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { layerOf, makeImage, type Layer } from '../../kit/images.ts';
import { skippableFrame } from '../../kit/compress.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { tar } from '../../kit/tar.ts';

const NEVER = new AbortController().signal;
const TYPE = 'application/vnd.oci.image.layer.v1.tar+zstd';

let registry: TestRegistry;
beforeEach(async () => {
  registry = await startRegistry();
});
afterEach(() => registry.close());

/** A frame of a few bytes that requires a window of 2^`log` bytes (RFC 8878, section 3.1.1.1.2). */
function frame(content: Buffer, log: number): Buffer {
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3]);
  const block = Buffer.alloc(3);
  block.writeUIntLE(1 | (content.length << 3), 0, 3);
  return Buffer.concat([header, block, content]);
}

function layer(seed: number, make: (content: Buffer) => Buffer): Layer {
  const content = tar([{ path: `file-${seed}`, content: `${seed}` }]);
  return layerOf(make(content), content, 'zstd');
}

async function mirrored(layers: readonly Layer[]): Promise<void> {
  registry.push('team/app', makeImage({ layers }), 'v1');
  const references = [`${registry.host}/team/app:v1`];
  const { archive, outcomes } = await mirror({ store: new MemoryStore(), references });
  expect(outcomes).toMatchObject([{ status: 'mirrored' }]);
  for (const { digest, diffId } of layers) {
    expect(await archive.receipt(digest)).toMatchObject({ compression: 'zstd', diffIds: { sha256: diffId } });
    expect(registry.count({ digest, method: 'GET' })).toBe(1);
  }
  expect(await verifyArchive(archive, { signal: NEVER, concurrency: 4 })).toMatchObject({ problems: [] });
}

test('twelve concurrent layers with the largest windows are all proven, and each is fetched once', async () => {
  await mirrored(Array.from({ length: 12 }, (_, n) => layer(n, (content) => frame(content, MAX_WINDOW_LOG))));
});

test('a layer whose later frames need larger windows than the first one is proven', async () => {
  const split = (content: Buffer): Buffer => {
    const half = content.subarray(0, 1000);
    return Buffer.concat([frame(half, 12), skippableFrame(Buffer.from('x')), frame(content.subarray(1000), 25)]);
  };
  await mirrored([layer(1, split)]);
});

test('if the memory for windows is used up, digest and size are proven and the diffID is deferred', async () => {
  const content = Buffer.from('content');
  const bytes = frame(content, MAX_WINDOW_LOG);
  const expected = { digest: digestOf(bytes), mediaType: TYPE, size: bytes.length };
  const [first, second] = [new Prover(expected), new Prover(expected)];
  await first.write(bytes);
  await second.write(bytes.subarray(0, 9));
  await second.write(bytes.subarray(9));
  expect(await second.finish()).toEqual({ digest: expected.digest, size: bytes.length, diffIds: {}, deferred: true });
  await second.destroy();
  const patient = new Prover(expected, { patient: { signal: NEVER, window: 'as-announced' } });
  let done = false;
  const writing = patient.write(bytes).then(() => (done = true));
  await new Promise(setImmediate);
  expect(done).toBe(false);
  expect(await first.finish()).toMatchObject({ diffIds: { sha256: digestOf(content) } });
  await first.destroy();
  await writing;
  expect(await patient.finish()).toMatchObject({ diffIds: { sha256: digestOf(content) } });
  await patient.destroy();
});

test.each<[string, Buffer, number]>([
  ['of a window descriptor', frame(Buffer.from('x'), 21), 21],
  ['of a window between two powers', Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, (11 << 3) | 1]), 22],
  ['of a single segment, its content', zstdCompressSync(Buffer.alloc(3000), { pledgedSrcSize: 3000 }), 12],
  ['that zstd --long=27 announces', frame(Buffer.from('x'), 27), 27],
  ['of a stream that starts with something else', skippableFrame(Buffer.from('x')), 23],
])('the window %s is known before it is allocated', (_, bytes, log) => {
  expect(windowLogOf(bytes)).toBe(log);
});

test.each([
  ['on the main thread', 1000],
  ['on a thread of its own', 5 * 1024 * 1024],
])(
  'a blob that is unpacked %s while it arrives leaves its window to one in the store after 30 s',
  async (_, length) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const blob = frame(Buffer.from('content'), MAX_WINDOW_LOG);
      const bytes = Buffer.concat([blob, skippableFrame(Buffer.alloc(length))]);
      const slow = new Prover({ digest: digestOf(bytes), mediaType: TYPE, size: bytes.length });
      await slow.write(bytes.subarray(0, blob.length));
      const expected = { digest: digestOf(blob), mediaType: TYPE, size: blob.length };
      const stored = new Prover(expected, { patient: { signal: NEVER, window: 'as-announced' } });
      const writing = stored.write(blob);
      await vi.advanceTimersByTimeAsync(30_000);
      await writing;
      expect(await stored.finish()).toMatchObject({ diffIds: { sha256: digestOf(Buffer.from('content')) } });
      await stored.destroy();
      await slow.write(bytes.subarray(blob.length));
      expect(await slow.finish()).toMatchObject({ size: bytes.length, diffIds: {}, deferred: true });
      await slow.destroy();
      // The memory of both is free.
      const next = new Prover(expected);
      await next.write(blob);
      expect((await next.finish()).deferred).toBeUndefined();
      await next.destroy();
    } finally {
      vi.useRealTimers();
    }
  },
);
