import { expect, test } from 'vitest';
import { release } from '../../../lib/core/release.ts';

test('frees the memory of bytes that fill their buffer', () => {
  const bytes = new Uint8Array(8);
  release(bytes);
  expect(bytes.buffer.detached).toBe(true);
});

test('keeps the memory of bytes that are a part of a buffer', () => {
  const { buffer } = new Uint8Array(8);
  for (const part of [new Uint8Array(buffer, 0, 7), new Uint8Array(buffer, 1)]) release(part);
  expect(buffer.detached).toBe(false);
});

test('keeps the memory of empty bytes, and shared memory', () => {
  const empty = new Uint8Array(0);
  release(empty);
  expect(empty.buffer.detached).toBe(false);
  const shared = new Uint8Array(new SharedArrayBuffer(8));
  release(shared);
  expect(shared.byteLength).toBe(8);
});
