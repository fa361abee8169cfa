/**
 * V8 lets garbage lie as long as the machine has memory, so that a long run would grow to several times what it has alive;
 * and what is told to Node.js when it starts (`--max-semi-space-size`) cannot be told by a program that is started by its
 * name. The flags below are read anew at every collection.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/** Where the young generation stops growing; V8's own limit is ten times as much. Smaller ones are collected too early. */
const YOUNG_BYTES = 8 * 1024 * 1024;

/** What the old generation may grow by, of what is alive in it, until it is collected: 10 ms each time. */
const GROWING_PERCENT = 50;

/** For a process that is ours alone. */
export function keepHeapSmall(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWING_PERCENT}`);
  const observer = new PerformanceObserver(() => {
    const young = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space');
    if (young !== undefined && young.space_size < YOUNG_BYTES) return;
    setFlagsFromString('--semi-space-growth-factor=1');
    observer.disconnect();
  });
  observer.observe({ entryTypes: ['gc'] });
}
