import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const MiB = 1024 * 1024;

async function heapOf(how: 'small' | 'usual'): Promise<{ readonly young: number; readonly old: number }> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(import.meta.dirname, 'heap.child.ts'), how]);
  return JSON.parse(stdout) as { readonly young: number; readonly old: number };
}

// V8 reads these flags at every collection. If it stops doing so, both programs have the same numbers. The young generation
// may grow to 32 MiB before the limit is set, because V8 reports a collection later; without the limit, it grows to 128 MiB.
test('the flags keep the young generation small in a program that would let it grow', async () => {
  const [small, usual] = await Promise.all([heapOf('small'), heapOf('usual')]);
  expect(small.young).toBeLessThanOrEqual(32 * MiB);
  expect(usual.young).toBeGreaterThan(32 * MiB);
  expect(small.young + small.old).toBeLessThan(usual.young + usual.old);
});
