import { expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { type ImageEvent, imageName } from '../../../lib/sync/events.ts';
import { markQueued, queuedBy } from '../../../lib/sync/resolver/queued.ts';
import { listRuns, writeReport } from '../../../lib/sync/reports.ts';
import type { Order } from '../../../lib/queue/messages.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { digestFor, ORDER } from '../queue/samples.ts';

const NOW = Date.UTC(2026, 0, 31);
const DAY = 24 * 60 * 60_000;

function event(run: string, fields: Partial<ImageEvent> = {}): ImageEvent {
  const name = imageName({ ...ORDER, run }, { tag: 'v1' });
  return { type: 'image', status: 'pending', ...name, digest: digestFor('image'), ...fields };
}

interface Question {
  readonly run?: string;
  readonly digest?: string;
  readonly order?: Partial<Order>;
  readonly at?: number;
  /** The status of the image in the first run. */
  readonly then?: Partial<ImageEvent>;
}

/** Run 1 has queued an image. Returns whether run 2, or another one, finds it queued. */
async function asked({ run = 'run-2', digest, order = {}, at = NOW, then }: Question) {
  const archive = new Archive(new MemoryStore(), ociLayout);
  const first = event('run-1');
  await writeReport(archive, first, NOW);
  await markQueued(archive, first, { ...ORDER, run: 'run-1' }, NOW);
  if (then !== undefined) await writeReport(archive, { ...first, ...then }, NOW);
  const next = event(run, digest === undefined ? {} : { digest: digestFor(digest) });
  expect(await listRuns(archive)).toEqual(['run-1']);
  return queuedBy(archive, next, { ...ORDER, run, ...order }, at);
}

test('an image that is pending in an earlier run counts as queued for a day', async () => {
  expect(await asked({})).toBe('run-1');
  expect(await asked({ at: NOW + DAY - 1 })).toBe('run-1');
  expect(await asked({ at: NOW + DAY })).toBeUndefined();
});

test.each<[string, Question]>([
  ['its own run', { run: 'run-1' }],
  ['another digest', { digest: 'moved' }],
  ['other platforms', { order: { platforms: [{ os: 'linux', architecture: 'arm64' }] } }],
  ['other foreign layers', { order: { foreignLayers: 'skip' } }],
  ['a run that has failed', { then: { status: 'failed', code: 'denied', reason: 'no' } }],
  ['a run that has mirrored it', { then: { status: 'mirrored' } }],
])('an image does not count as queued for %s', async (_, question) => {
  expect(await asked(question)).toBeUndefined();
});

test('an unreadable mark, or one without a report, skips no image', async () => {
  const archive = new Archive(new MemoryStore(), ociLayout);
  const one = event('run-2');
  expect(await queuedBy(archive, one, ORDER, NOW)).toBeUndefined();
  await markQueued(archive, event('run-1'), { ...ORDER, run: 'run-1' }, NOW);
  expect(await queuedBy(archive, one, ORDER, NOW)).toBeUndefined();
  await archive.store.put(ociLayout.queuedImage(`${one.repository} ${one.reference}`), Buffer.from('{'));
  expect(await queuedBy(archive, one, ORDER, NOW)).toBeUndefined();
});
