/** Creates garbage and keeps some of it for a while, for the given time; then prints the size of the heap. */
import { getHeapSpaceStatistics } from 'node:v8';
import { setImmediate as turn } from 'node:timers/promises';
import { keepHeapSmall } from '../../../lib/cli/heap.ts';

if (process.argv[2] === 'small') keepHeapSmall();

const held: unknown[] = [];
for (let n = 0; n < 4_000_000; n += 1) {
  held[n % 100_000] = { n, of: [n, n + 1], name: `number ${n}` };
  if (n % 10_000 === 0) await turn();
}
const size = (name: string): number =>
  getHeapSpaceStatistics().find(({ space_name: space }) => space === name)?.space_size ?? NaN;
process.stdout.write(JSON.stringify({ young: size('new_space'), old: size('old_space') }));
