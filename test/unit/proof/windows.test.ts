import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Window, Windows } from '../../../lib/proof/windows.ts';

const NEVER = new AbortController().signal;
const PATIENCE_MS = 1_000;

let windows: Windows;
let stopped: string[];
beforeEach(() => {
  vi.useFakeTimers();
  windows = new Windows(16, PATIENCE_MS);
  stopped = [];
});
afterEach(() => vi.useRealTimers());

/** An arriving blob that gives its window back as soon as it is asked to. */
function arriving(name: string, bytes: number): Window | undefined {
  const window = windows.tryTake(bytes, () => {
    stopped.push(name);
    window?.give();
  });
  return window;
}

test('a blob in the store takes back the windows of arriving blobs after its patience, oldest first and no more than it needs', async () => {
  for (const name of ['first', 'second', 'third', 'fourth']) expect(arriving(name, 4)).toBeDefined();
  expect(arriving('fifth', 4)).toBeUndefined();
  const taken = windows.take(8, NEVER);
  await vi.advanceTimersByTimeAsync(PATIENCE_MS - 1);
  expect(stopped).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(stopped).toEqual(['first', 'second']);
  (await taken).give();
  expect(arriving('sixth', 8)).toBeDefined();
});

test('free memory counts as well, and a window that was given back is not taken back', async () => {
  arriving('first', 4)?.give();
  arriving('second', 4);
  arriving('third', 4);
  const taken = windows.take(12, NEVER);
  await vi.advanceTimersByTimeAsync(PATIENCE_MS);
  expect(stopped).toEqual(['second']);
  (await taken).give();
});

test('an arriving blob takes no window while a blob in the store waits', async () => {
  const first = arriving('first', 16);
  const taken = windows.take(16, NEVER);
  first?.give();
  expect(arriving('second', 1)).toBeUndefined();
  (await taken).give();
  expect(arriving('second', 1)).toBeDefined();
  await vi.advanceTimersByTimeAsync(PATIENCE_MS);
  expect(stopped).toEqual([]);
});

test('a blob in the store that waits for another one in the store takes nothing back from it', async () => {
  const first = await windows.take(16, NEVER);
  const second = windows.take(16, NEVER);
  await vi.advanceTimersByTimeAsync(PATIENCE_MS * 2);
  first.give();
  (await second).give();
  expect(arriving('third', 16)).toBeDefined();
});

test('a wait that is aborted takes nothing back', async () => {
  arriving('first', 16);
  const abort = new AbortController();
  const taken = windows.take(16, abort.signal);
  abort.abort(new Error('stopped'));
  await expect(taken).rejects.toThrow('stopped');
  await vi.advanceTimersByTimeAsync(PATIENCE_MS * 2);
  expect(stopped).toEqual([]);
});
