import { beforeEach, expect, test, vi } from 'vitest';
import { keepHeapSmall } from '../../../lib/cli/heap.ts';

const MiB = 1024 * 1024;

const node = vi.hoisted(() => ({
  flags: [] as string[],
  observed: [] as object[],
  isConnected: true,
  spaces: [] as { space_name: string; space_size: number }[],
  collected: (): void => undefined,
}));

vi.mock('node:v8', () => ({
  setFlagsFromString: (flag: string) => node.flags.push(flag),
  getHeapSpaceStatistics: () => node.spaces,
}));
vi.mock('node:perf_hooks', () => ({
  PerformanceObserver: class {
    constructor(collected: () => void) {
      node.collected = collected;
    }
    observe(what: object): void {
      node.observed.push(what);
    }
    disconnect(): void {
      node.isConnected = false;
    }
  },
}));

beforeEach(() => {
  Object.assign(node, { flags: [], observed: [], isConnected: true });
  keepHeapSmall();
});

function collectionWith(youngBytes: number): void {
  node.spaces = [
    { space_name: 'old_space', space_size: 100 * MiB },
    { space_name: 'new_space', space_size: youngBytes },
  ];
  node.collected();
}

test('lets the old generation grow by half until it is collected', () => {
  expect(node.flags).toEqual(['--heap-growing-percent=50']);
  expect(node.observed).toEqual([{ entryTypes: ['gc'] }]);
});

test('stops the growth of the young generation at 8 MiB, and stops watching it', () => {
  collectionWith(8 * MiB - 1);
  expect(node.flags).toHaveLength(1);
  expect(node.isConnected).toBe(true);
  collectionWith(8 * MiB);
  expect(node.flags.slice(1)).toEqual(['--semi-space-growth-factor=1']);
  expect(node.isConnected).toBe(false);
});

test('stops the growth at once if V8 has no young generation of that name', () => {
  node.spaces = [];
  node.collected();
  expect(node.flags.slice(1)).toEqual(['--semi-space-growth-factor=1']);
});
