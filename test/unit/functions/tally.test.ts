import { expect, test } from 'vitest';
import { Tally } from '../../../functions/tally.ts';

test('divides time and memory among runs by their messages, and lists the bytes of each run', () => {
  const tally = new Tally(1_000);
  tally.handled('a', 'm1');
  // A message that is handled again alone counts once.
  tally.handled('a', 'm1');
  tally.handled('a', 'm2');
  tally.handled('a', 'm3');
  tally.handled('b', 'm4');
  tally.fetched('b', 500);
  expect(tally.costs(9_000, 512)).toEqual([
    { run: 'a', gbSeconds: 3, bytes: 0 },
    { run: 'b', gbSeconds: 1, bytes: 500 },
  ]);
});

test('counts idle images by run and repository', () => {
  const tally = new Tally(0);
  tally.idle('a', 'x', 'unchanged');
  tally.idle('a', 'x', 'unchanged');
  tally.idle('a', 'x', 'queued');
  tally.idle('a', 'y', 'unchanged');
  tally.idle('b', 'x', 'queued');
  expect(tally.idleImages).toEqual([
    { run: 'a', repository: 'x', kind: 'unchanged', images: 2 },
    { run: 'a', repository: 'x', kind: 'queued', images: 1 },
    { run: 'a', repository: 'y', kind: 'unchanged', images: 1 },
    { run: 'b', repository: 'x', kind: 'queued', images: 1 },
  ]);
});

test('counts the bytes of every attempt at a blob', () => {
  const tally = new Tally(0);
  const blob = (fetched: number) => ({ run: 'a', blob: 'sha256:1' as never, fetched });
  tally.begin('sha256:1', 5);
  tally.progress(blob(60));
  tally.progress(blob(50));
  tally.progress(blob(100));
  tally.begin('sha256:1', 8);
  tally.progress(blob(110));
  expect(tally.bytes).toBe(60 + 100 + 110);
  expect(tally.begun('sha256:1')).toBe(8);
});
