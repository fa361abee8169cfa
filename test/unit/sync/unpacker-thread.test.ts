import { gzipSync } from 'node:zlib';
import { expect, test, vi } from 'vitest';
import { digestOf } from '../../../lib/oci/digest.ts';
import { Unpacker } from '../../../lib/proof/unpacker.ts';

const MiB = 1024 * 1024;

const threads = vi.hoisted(() => ({ count: 0 }));

vi.mock('../../../lib/proof/inflating-threads.ts', () => ({
  ThreadInflater: class {
    readonly write = (): Promise<void> => Promise.resolve();
    readonly destroy = (): Promise<void> => Promise.resolve();
    constructor() {
      threads.count += 1;
    }
  },
}));

test.each([
  [4 * MiB - 1, false],
  [4 * MiB, true],
  [undefined, true],
])('inflates a blob of %s bytes on a thread: %s', async (size, large) => {
  const limits = { maxUncompressed: MiB, ratioFrom: MiB };
  const unpacker = new Unpacker('gzip', {
    digest: digestOf(Buffer.from('x')),
    algorithms: [],
    ...limits,
    size,
    patient: undefined,
  });
  const before = threads.count;
  await unpacker.write(gzipSync('content'));
  await unpacker.destroy();
  expect(threads.count > before).toBe(large);
});
