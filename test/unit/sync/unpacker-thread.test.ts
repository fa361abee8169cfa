import { gzipSync } from 'node:zlib';
import { expect, test, vi } from 'vitest';
import { Unpacker } from '../../../lib/proof/unpacker.ts';

const MiB = 1024 * 1024;

const inflaters = vi.hoisted(() => ({ large: [] as boolean[] }));

vi.mock('../../../lib/proof/inflate.ts', () => ({
  createInflater: (_compression: string, _sink: unknown, { large }: { readonly large: boolean }) => {
    inflaters.large.push(large);
    return { write: () => Promise.resolve(), end: () => Promise.resolve(), destroy: () => Promise.resolve() };
  },
}));

test.each([
  [4 * MiB - 1, false],
  [4 * MiB, true],
  [undefined, true],
])('inflates a blob of %s bytes on a thread: %s', async (size, large) => {
  const unpacker = new Unpacker('gzip', { size, patient: undefined, sink: () => undefined });
  await unpacker.write(gzipSync('content'));
  await unpacker.destroy();
  expect(inflaters.large.at(-1)).toBe(large);
});
