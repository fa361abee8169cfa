/**
 * Limits the heap while the program runs, with two of V8's flags (decision 0010). A program that is started by its name
 * cannot be given flags, and V8 otherwise collects as late as the memory of the machine allows. V8 reads both flags at
 * the end of each collection.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/** The size at which the young generation stops growing; V8's own limit is ten times as large. */
const YOUNG_BYTES = 8 * 1024 * 1024;

/** The growth of the old generation between two collections, in percent of its live bytes. A collection takes 10 ms. */
const GROWING_PERCENT = 50;

/** Call it in a process that runs only this program. */
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
