import { describe, expect, test, vi } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { type ImageEvent, imageName } from '../../../lib/sync/events.ts';
import { findReport, listRuns, readRun, runName, writeReport } from '../../../lib/sync/reports.ts';
import type { Wanted } from '../../../lib/queue/messages.ts';
import { digestFor } from '../queue/samples.ts';
import { MemoryStore } from '../../kit/memory-store.ts';

const NOW = Date.UTC(2026, 0, 31);

const ALPINE = 'docker.io/library/alpine';

function event(fields: Partial<ImageEvent> & Wanted = {}, repository = ALPINE): ImageEvent {
  const { tag = '3', digest } = fields;
  const name = imageName(
    { run: 'run-1', source: ALPINE, repository },
    { tag, ...(digest === undefined ? {} : { digest }) },
  );
  return { type: 'image', ...name, status: 'mirrored', ...fields };
}

function archiveOf(store = new MemoryStore()): Archive {
  return new Archive(store, ociLayout);
}

describe('the report of a run', () => {
  test('has the last result of each image, in the order of their names', async () => {
    const archive = archiveOf();
    await writeReport(archive, event({ tag: 'b', status: 'failed', code: 'denied', reason: 'no' }), NOW);
    await writeReport(archive, event({ tag: 'b' }), NOW);
    await writeReport(archive, { ...event({ tag: 'a' }), digest: digestFor('a') }, NOW);
    expect(await readRun(archive, 'run-1')).toEqual([
      {
        version: 1,
        reference: 'docker.io/library/alpine:a',
        repository: 'docker.io/library/alpine',
        digest: digestFor('a'),
        status: 'mirrored',
        at: '2026-01-31T00:00:00.000Z',
      },
      {
        version: 1,
        reference: 'docker.io/library/alpine:b',
        repository: 'docker.io/library/alpine',
        status: 'mirrored',
        at: '2026-01-31T00:00:00.000Z',
      },
    ]);
    expect(await readRun(archive, 'run-2')).toEqual([]);
  });

  // One tag is requested alone and with a digest, and its repository has two destinations.
  test('has one entry per request and destination, so that a success hides no failure', async () => {
    const archive = archiveOf();
    await writeReport(archive, event({ status: 'failed' }, 'quay.io/copy/alpine'), NOW);
    await writeReport(archive, event({ status: 'failed', digest: digestFor('a') }), NOW);
    await writeReport(archive, event(), NOW);
    expect(
      (await readRun(archive, 'run-1')).map(({ reference, repository, status }) => [reference, repository, status]),
    ).toEqual([
      [`${ALPINE}:3`, ALPINE, 'mirrored'],
      [`${ALPINE}:3`, 'quay.io/copy/alpine', 'failed'],
      [`${ALPINE}:3@${digestFor('a')}`, ALPINE, 'failed'],
    ]);
    const found = await findReport(archive, event({}, 'quay.io/copy/alpine'));
    expect(found.report).toMatchObject({ status: 'failed' });
  });

  // A retried resolver reports "pending" after the finalizer has reported the result.
  test('ignores a late pending status', async () => {
    const archive = archiveOf();
    await writeReport(archive, event({ status: 'pending' }), NOW);
    expect(await readRun(archive, 'run-1')).toMatchObject([{ status: 'pending' }]);
    await writeReport(archive, event(), NOW);
    await writeReport(archive, event({ status: 'pending' }), NOW);
    expect(await readRun(archive, 'run-1')).toMatchObject([{ status: 'mirrored' }]);
  });

  test('is final for an image that a newer observation has overtaken', async () => {
    const archive = archiveOf();
    await writeReport(archive, event({ status: 'pending' }), NOW);
    await writeReport(archive, event({ status: 'unchanged', code: 'overtaken', reason: 'kept by its digest' }), NOW);
    expect(await readRun(archive, 'run-1')).toMatchObject([{ status: 'mirrored', code: 'overtaken' }]);
  });

  test('needs no write for an unchanged image', async () => {
    const archive = archiveOf();
    await writeReport(archive, event({ status: 'unchanged' }), NOW);
    expect(await Array.fromAsync(archive.store.list(''))).toEqual([]);
  });

  test('rejects if one of its entries is unreadable while the others are being listed', async () => {
    const store = new MemoryStore();
    const archive = archiveOf(store);
    for (let n = 0; n < 40; n += 1) await writeReport(archive, event({ tag: `v${n}` }), NOW);
    const list = store.list.bind(store);
    store.list = async function* (...args) {
      for await (const one of list(...args)) {
        await new Promise(setImmediate);
        yield one;
      }
    };
    const [first] = await Array.fromAsync(list(ociLayout.runs));
    await store.put(first!.key, Buffer.from('{'));
    await expect(readRun(archive, 'run-1')).rejects.toMatchObject({ code: 'corrupt' });
  });
});

test('runs are listed from the latest to the oldest', async () => {
  const archive = archiveOf();
  vi.useFakeTimers({ toFake: ['Date'] });
  try {
    for (const [at, run] of ['run-1', 'run-3', 'run-2'].entries()) {
      vi.setSystemTime(NOW + at);
      await writeReport(archive, event({ run }), NOW);
    }
  } finally {
    vi.useRealTimers();
  }
  expect(await listRuns(archive)).toEqual(['run-2', 'run-3', 'run-1']);
});

test('the name of a run consists of its time and a distinguishing text', () => {
  expect(runName(NOW, 'a:b/c-1')).toBe('2026-01-31T00-00-00-000Z-abc-1');
});
