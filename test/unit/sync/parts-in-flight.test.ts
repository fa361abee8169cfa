import { expect, test } from 'vitest';
import { TaskGroup } from '../../../lib/core/task-group.ts';
import { PartsInFlight } from '../../../lib/sync/transfer/parts-in-flight.ts';
import type { Prover } from '../../../lib/proof/prover.ts';
import { Window } from '../../../lib/sync/transfer/window.ts';

const PART = 64 * 1024;

/** A prover that hashes at once. */
const prover = { write: () => Promise.resolve() } as unknown as Prover;

function flight(parts: number) {
  const window = new Window(parts * PART);
  const tasks = new TaskGroup();
  return { window, tasks, parts: new PartsInFlight(window, prover, tasks, 10 * PART) };
}

test('holds the buffer of a part until the part is stored and hashed', async () => {
  const { window, tasks, parts } = flight(2);
  const part = await parts.take(1, PART);
  expect(window.usedBytes).toBe(PART);
  part.append(Buffer.alloc(PART));
  parts.complete(part);
  await tasks.join();
  expect(window.usedBytes).toBe(PART);
  parts.stored(part);
  expect(window.usedBytes).toBe(0);
});

test('takes the next part from the window if it has a free buffer, and releases the part before when it is done', async () => {
  const { window, tasks, parts } = flight(2);
  const first = await parts.take(1, PART);
  first.append(Buffer.alloc(PART));
  parts.complete(first);
  const second = await parts.following(first, PART, new Promise(() => undefined));
  expect(second.number).toBe(2);
  expect(second.buffer.buffer).not.toBe(first.buffer.buffer);
  parts.stored(first);
  second.append(Buffer.alloc(PART));
  parts.complete(second);
  await tasks.join();
  expect(window.usedBytes).toBe(PART);
  parts.stored(second);
  expect(window.usedBytes).toBe(0);
});

test('reuses the buffer of a part once it is stored and hashed, if the window has no other', async () => {
  const { window, tasks, parts } = flight(1);
  const first = await parts.take(1, PART);
  first.append(Buffer.alloc(PART));
  parts.complete(first);
  const stored = Promise.resolve().then(() => {
    parts.stored(first);
  });
  const second = await parts.following(first, PART / 2, stored);
  expect(second.buffer.buffer).toBe(first.buffer.buffer);
  expect(second.buffer).toHaveLength(PART / 2);
  second.append(Buffer.alloc(PART / 2));
  parts.complete(second);
  await tasks.join();
  parts.stored(second);
  expect(window.usedBytes).toBe(0);
});

test('gives back all buffers that it holds', async () => {
  const { window, parts } = flight(2);
  await parts.take(1, PART);
  await parts.take(2, PART);
  parts.giveBack();
  expect(window.usedBytes).toBe(0);
});
