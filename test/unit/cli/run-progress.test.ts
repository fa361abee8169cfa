import { beforeEach, describe, expect, test } from 'vitest';
import { RunProgress } from '../../../lib/cli/output/run-progress.ts';
import { type BlobEvent, imageName } from '../../../lib/sync/events.ts';
import { digestFor } from '../queue/samples.ts';

const SOURCE = 'registry.example/app';
const order = { run: 'run', source: SOURCE, repository: SOURCE };
const name = (tag: string) => imageName(order, { tag });
const MB = 1_000_000;

let progress: RunProgress;
beforeEach(() => {
  progress = new RunProgress();
});

function blob(seed: string, phase: BlobEvent['phase'], fetched = 0): void {
  const event = { type: 'blob', ...name('1'), phase, blob: digestFor(seed), size: 10 * MB, fetched } as const;
  progress.observe(event);
}

function resolved(tag: string, ...blobs: string[]): void {
  const missing = blobs.map((seed) => ({ digest: digestFor(seed), size: 10 * MB }));
  progress.observe({
    type: 'resolved',
    ...name(tag),
    missing: missing.length,
    missingBytes: missing.length * 10 * MB,
    blobs: missing,
    fetchedBytes: 0,
  });
}

describe('the progress of a run', () => {
  test('counts images by name, and failed ones', () => {
    progress.expect(name('1'));
    progress.observe({ type: 'listed', ...order, tags: ['1', '2', '3'] });
    expect(progress.clauses(0)).toEqual(['0 of 3 images']);
    progress.observe({ type: 'image', ...name('1'), status: 'unchanged' });
    progress.observe({ type: 'image', ...name('2'), status: 'failed' });
    progress.observe({ type: 'image', ...name('3'), status: 'pending' });
    expect(progress.clauses(0)).toEqual(['2 of 3 images (1 failed)']);
    expect(progress.fraction).toBeCloseTo(2 / 3);
  });

  test('counts a blob that images share once', () => {
    resolved('1', 'base', 'a');
    resolved('2', 'base', 'b');
    expect(progress.clauses(0)).toEqual(['0 of 2 images', '0 B of 30.0 MB']);
    blob('base', 'started');
    blob('base', 'stored', 10 * MB);
    blob('base', 'present');
    expect(progress.clauses(0)[1]).toBe('10.0 MB of 30.0 MB');
    expect(progress.fraction).toBeCloseTo(1 / 3);
  });

  test('needs no bytes for a present object and for a failed blob', () => {
    resolved('1', 'a', 'b', 'c');
    blob('a', 'started');
    blob('a', 'present');
    blob('b', 'started');
    blob('b', 'failed', 5 * MB);
    expect(progress.clauses(0)[1]).toBe('0 B of 10.0 MB');
  });

  test('shows the rate of the last ten seconds, and the time left once every image is resolved', () => {
    progress.expect(name('2'));
    resolved('1', 'a');
    expect(progress.clauses(0)).toEqual(['0 of 2 images', '0 B of 10.0 MB']);
    blob('a', 'started');
    blob('a', 'progress', 2 * MB);
    expect(progress.clauses(1_000)).toEqual(['0 of 2 images', '2.0 MB of 10.0 MB', '2.0 MB/s']);
    resolved('2');
    expect(progress.clauses(1_000).at(-1)).toBe('4 s left');
    blob('a', 'progress', 3 * MB);
    expect(progress.clauses(11_000).slice(2)).toEqual(['100 kB/s', '1 min left']);
  });

  test('counts the bytes of a failed attempt in the rate', () => {
    resolved('1', 'a');
    progress.clauses(0);
    blob('a', 'started');
    blob('a', 'progress', 4 * MB);
    blob('a', 'failed', 4 * MB);
    blob('a', 'started');
    blob('a', 'progress', 2 * MB);
    expect(progress.clauses(1_000).slice(1)).toEqual(['2.0 MB of 10.0 MB', '6.0 MB/s', '2 s left']);
  });
});
