import { describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { printRun } from '../../../lib/cli/commands/status.ts';
import { type ImageEvent, imageName } from '../../../lib/sync/events.ts';
import { writeReport } from '../../../lib/sync/reports.ts';
import { summaryOf, writeSummary } from '../../../lib/sync/run/summary.ts';
import { runStartOf, writeRunStart } from '../../../lib/sync/runs.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import { digestFor } from '../queue/samples.ts';
import { MemoryStore } from '../../kit/memory-store.ts';

const ALPINE = 'docker.io/library/alpine';
const NOW = Date.UTC(2026, 0, 31);

/** An archive with the reports of these images of a run, by tag. */
async function reported(words: Readonly<Record<string, Partial<ImageEvent>>>, repository = ALPINE): Promise<Archive> {
  const archive = new Archive(new MemoryStore(), ociLayout);
  for (const [tag, word] of Object.entries(words)) {
    const name = imageName({ run: 'run-1', source: ALPINE, repository }, { tag });
    await writeReport(archive, { type: 'image', status: 'mirrored', ...name, ...word }, NOW);
  }
  return archive;
}

/** The counts of a run without images. */
const NONE = { mirrored: 0, held: 0, unverified: 0, drifted: 0, rejected: 0, failed: 0, pending: 0 };

async function told(archive: Archive, options: { readonly run?: string; readonly json?: boolean } = {}) {
  const { run, json = false } = options;
  let stdout = '';
  const out = { write: (text: string) => void (stdout += text) };
  const io = { stdout: out, stderr: out, env: {}, signal: new AbortController().signal };
  const code = await printRun({ run, json }, archive, io);
  return { code, stdout };
}

describe('status', () => {
  test('shows the status of every image of the last run, and a failure decides the exit code', async () => {
    const archive = await reported({
      1: { digest: digestFor('1') },
      2: { status: 'pending' },
      3: { status: 'failed', code: 'denied', reason: 'it is not for us' },
    });
    expect(await told(archive)).toEqual({
      code: 1,
      stdout:
        'run run-1\n' +
        `  mirrored  ${ALPINE}:1  ${digestFor('1')}\n` +
        `  pending   ${ALPINE}:2  since 2026-01-31T00:00:00.000Z\n` +
        `  failed    ${ALPINE}:3: it is not for us\n` +
        '1 mirrored, 1 failed, 1 pending\n',
    });
  });

  test('shows the images that policy keeps from their tags, and only failures decide the exit code', async () => {
    const [digest, current] = [digestFor('1'), digestFor('2')];
    const archive = await reported({
      1: { status: 'held', digest, until: '2026-02-07T00:00:00.000Z' },
      2: { status: 'unverified', digest, reason: 'the image has no signature' },
      3: { status: 'drifted', digest, current },
      4: { status: 'rejected', digest, reason: 'rejected by lena' },
    });
    expect(await told(archive)).toEqual({
      code: 0,
      stdout:
        'run run-1\n' +
        `  held      ${ALPINE}:1  ${digest} (until 2026-02-07T00:00:00.000Z)\n` +
        `  unverified ${ALPINE}:2  ${digest} (the image has no signature)\n` +
        `  drifted   ${ALPINE}:3  ${digest} (the tag stays at ${current})\n` +
        `  rejected  ${ALPINE}:4  ${digest} (rejected by lena)\n` +
        '0 mirrored, 1 held, 1 unverified, 1 drifted, 1 rejected, 0 failed, 0 pending\n',
    });
  });

  test('shows what policy does with the images of a sync on the command line', async () => {
    const [digest, current, until] = [digestFor('1'), digestFor('2'), '2026-02-07T00:00:00.000Z'];
    const [started, finished] = ['2026-01-31T00:00:00.000Z', '2026-01-31T00:05:00.000Z'];
    const facts = { run: 'run-1', by: 'sync', outcome: 'finished', started, finished } as const;
    const images = [
      { status: 'held', digest, until },
      { status: 'drifted', digest, current },
      { status: 'mirrored', digest, previous: current },
      { status: 'failed', reason: 'it is not for us' },
    ].map((image, at) => ({ reference: `${ALPINE}:${at}`, repository: ALPINE, ...image }));
    const archive = new Archive(new MemoryStore(), ociLayout);
    await writeSummary(archive, summaryOf(facts, images, {}, 1));
    expect(await told(archive)).toEqual({
      code: 1,
      stdout:
        `run run-1, started ${started} for 1 repository\n` +
        `  failed    ${ALPINE}:3: it is not for us\n` +
        `  drifted   ${ALPINE}:1  ${digest} (the tag stays at ${current})\n` +
        `  held      ${ALPINE}:0  ${digest} (until ${until})\n` +
        `  mirrored  ${ALPINE}:2  ${digest} (moved from ${current})\n` +
        `finished ${finished}: 1 mirrored, 0 unchanged, 1 failed, 1 held, 1 drifted; 1 tag moved\n`,
    });
    const lines = (await told(archive, { json: true })).stdout.trimEnd().split('\n');
    const [failed, drifted, held, , last] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect([failed, drifted, held]).toMatchObject([{ status: 'failed' }, { current }, { until }]);
    expect(last).toMatchObject({ ...NONE, mirrored: 1, held: 1, drifted: 1, failed: 1, repositories: 1 });
  });

  test('prints one line per image and a summary as JSON', async () => {
    const archive = await reported({ 1: {} }, 'quay.io/copy/alpine');
    const { code, stdout } = await told(archive, { json: true });
    expect(code).toBe(0);
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      {
        type: 'report',
        reference: `${ALPINE}:1`,
        repository: 'quay.io/copy/alpine',
        status: 'mirrored',
        at: '2026-01-31T00:00:00.000Z',
      },
      { type: 'summary', run: 'run-1', ...NONE, mirrored: 1 },
    ]);
    expect((await told(archive)).stdout).toContain(`${ALPINE}:1 (as quay.io/copy/alpine)`);
  });

  test('shows a run whose images are all unchanged, by its start', async () => {
    const archive = await reported({});
    const order = { run: 'run-1', source: ALPINE, repository: ALPINE, platforms: 'all' as const };
    const messages = [resolveMessage(order, { kind: 'images', images: [{ tag: '1' }, { tag: '2' }] })];
    await writeRunStart(archive, runStartOf('run-1', 'schedule', messages, NOW));
    // A repeated start keeps the first time.
    await writeRunStart(archive, runStartOf('run-1', 'schedule', messages, NOW + 1_000));
    expect(await told(archive)).toEqual({
      code: 0,
      stdout:
        'run run-1, started 2026-01-31T00:00:00.000Z for 1 repository, 2 named images\n' +
        '0 mirrored, 0 failed, 0 pending\n' +
        'Every other image is unchanged, or still queued.\n',
    });
    const { stdout } = await told(archive, { run: 'run-1', json: true });
    expect(JSON.parse(stdout)).toEqual({
      type: 'summary',
      run: 'run-1',
      started: '2026-01-31T00:00:00.000Z',
      by: 'schedule',
      messages: 1,
      repositories: 1,
      images: 2,
      ...NONE,
    });
  });

  test('of a missing run, and of an archive without runs, is wrong usage', async () => {
    await expect(told(await reported({ 1: {} }), { run: 'run-2' })).rejects.toMatchObject({
      side: 'input',
      message: expect.stringContaining('unknown run run-2'),
    });
    await expect(told(await reported({ 1: {} }), { run: '../../../etc' })).rejects.toMatchObject({
      side: 'input',
      message: expect.stringContaining('unknown run ../../../etc'),
    });
    await expect(told(await reported({}))).rejects.toMatchObject({ side: 'input' });
  });
});
