/** The end of a run: its detection from the records, its summary, and the delivery. */
import { beforeEach, describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { Failure } from '../../../lib/core/failure.ts';
import type { ResolveMessage, Wanted } from '../../../lib/queue/messages.ts';
import { NO_POLICY } from '../../../lib/policy/policy.ts';
import { chained, changeMessage, finalizeMessage, resolveMessage } from '../../../lib/queue/outgoing.ts';
import { parseMessage, serialise } from '../../../lib/queue/parse.ts';
import { type ImageEvent, imageName } from '../../../lib/sync/events.ts';
import { writeReport } from '../../../lib/sync/reports.ts';
import { closeRuns, type CloseRunsPorts } from '../../../lib/sync/run/close-runs.ts';
import { emptyMemory } from '../../../lib/sync/run/open-run.ts';
import { idsOf, messageId, MessageTally } from '../../../lib/sync/run/message-record.ts';
import { notificationOf, readSummary, type RunSummary } from '../../../lib/sync/run/summary.ts';
import { runStartOf, writeOpenStart } from '../../../lib/sync/runs.ts';
import type { ResolverContext } from '../../../lib/sync/context.ts';
import type { ObjectStore } from '../../../lib/store/store.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { countCalls, failNth } from '../../kit/faults.ts';

const ORDER = {
  run: 'run-1',
  source: 'docker.io/library/app',
  repository: 'docker.io/library/app',
  platforms: 'all',
} as const;
const LIST = resolveMessage(ORDER, { kind: 'list' });
const MINUTE = 60_000;

let store: MemoryStore;
let archive: Archive;
let now: number;
let delivered: RunSummary[];
let finished: string[];
let refuses: boolean;
let logged: Readonly<Record<string, unknown>>[];

beforeEach(() => {
  now = Date.now();
  store = new MemoryStore({ now: () => now });
  archive = new Archive(store, ociLayout);
  [delivered, finished, logged, refuses] = [[], [], [], false];
});

function ports(of = archive): CloseRunsPorts {
  return {
    archive: of,
    receivers: [
      {
        name: 'webhook',
        deliver(summary) {
          const failure = new Failure({ operation: 'notify', side: 'archive', code: 'unavailable', detail: 'down' });
          if (refuses) return Promise.reject(failure);
          return Promise.resolve(void delivered.push(summary));
        },
      },
    ],
    now: () => now,
    triggerOf: () => 'push',
    firstRunFinished: (repository, run) => Promise.resolve(void finished.push(`${repository} ${run}`)),
    closed: () => undefined,
    log: (_, message, entry) => logged.push({ message, ...entry }),
    signal: new AbortController().signal,
  };
}

const check = (memory = emptyMemory()): Promise<readonly RunSummary[]> => closeRuns(ports(), memory);

async function start(messages = [LIST]): Promise<void> {
  const started = runStartOf('run-1', 'schedule', messages, now);
  await writeOpenStart(archive, { ...started, ids: idsOf(messages) });
}

const imagesOf = (images: readonly Wanted[]): typeof LIST => resolveMessage(ORDER, { kind: 'images', images });

/** Handles a message as the resolver does: `unchanged` images, further messages, and images with a failure. */
async function handle(
  { message }: typeof LIST,
  work: {
    readonly unchanged?: readonly Wanted[];
    readonly sent?: readonly (typeof LIST)[];
    readonly ordered?: readonly Wanted[];
    readonly checks?: boolean;
    readonly referrer?: boolean;
    readonly isInitial?: boolean;
  },
): Promise<void> {
  const tally = new MessageTally(archive);
  const context = tally.watched({
    observe: () => undefined,
    queues: { send: () => Promise.resolve() },
  } as unknown as ResolverContext);
  for (const image of work.unchanged ?? [])
    context.observe({ type: 'image', status: 'unchanged', ...imageName(message, image) });
  await context.queues.send('resolve', work.sent ?? []);
  const failure = { code: 'denied', reason: 'no' };
  await context.queues.send(
    'finalize',
    (work.ordered ?? []).map((image) => finalizeMessage(message, image, 'resolver', failure)),
  );
  if (work.isInitial === true) {
    context.initial?.();
    await context.queues.send('finalize', [changeMessage(message, { policy: NO_POLICY })]);
  }
  if (work.checks === true) {
    const image = { digest: `sha256:${'c'.repeat(64)}`, mediaType: 'a/b', size: 1, observed: 1 } as never;
    const outgoing = finalizeMessage(message, image, 'resolver');
    await context.queues.send('finalize', [{ ...outgoing, message: { ...outgoing.message, checks: [] } }]);
  }
  if (work.referrer === true) {
    const [digest, subject] = ['d', 'e'].map((digit) => `sha256:${digit.repeat(64)}`);
    const image = { digest, mediaType: 'a/b', size: 1, observed: 1, subject, root: { tag: '1' } } as never;
    await context.queues.send('finalize', [finalizeMessage(message, image, 'resolver')]);
  }
  await tally.write(message);
}

async function report(image: Wanted, status: ImageEvent['status'], word: Partial<ImageEvent> = {}): Promise<void> {
  await writeReport(archive, { type: 'image', status, ...imageName(ORDER, image), ...word }, now);
}

const open = (): string[] => [...store.keys()].filter((key) => key.startsWith('.mirror/runs/.open/'));

describe('a run', () => {
  test('in which nothing changed is finished when each message has a record', async () => {
    const slices = [imagesOf([{ tag: '1' }, { tag: '2' }]), imagesOf([{ tag: '3' }])] as const;
    await start();
    expect(await check()).toEqual([]);
    await handle(LIST, { sent: slices });
    await handle(slices[0], { unchanged: [{ tag: '1' }, { tag: '2' }] });
    expect(await check()).toEqual([]);
    await handle(slices[1], { unchanged: [{ tag: '3' }] });
    expect(await check()).toMatchObject([
      {
        run: 'run-1',
        by: 'schedule',
        outcome: 'finished',
        counts: { mirrored: 0, unchanged: 3, failed: 0 },
        moved: 0,
        repositories: 1,
        images: [],
      },
    ]);
    expect(delivered).toHaveLength(1);
    expect(finished).toEqual([]);
    expect(open()).toEqual([]);
    expect((await readSummary(archive, 'run-1'))?.summary).toMatchObject({
      outcome: 'finished',
      delivered: ['webhook'],
    });
    expect(await check()).toEqual([]);
    expect(delivered).toHaveLength(1);
  });

  test.each([
    ['schedule', [`${ORDER.repository} run-1`]],
    ['request', []],
  ] as const)('of a %s that is the first of a repository ends its initial time: %j', async (by, expected) => {
    await writeOpenStart(archive, { ...runStartOf('run-1', by, [LIST], now), ids: idsOf([LIST]) });
    await handle(LIST, { isInitial: true });
    expect(await check()).toMatchObject([{ outcome: 'finished' }]);
    expect(finished).toEqual(expected);
  });

  test('is not finished while an image has no result', async () => {
    const slice = imagesOf([{ tag: '1' }, { tag: '2' }]);
    await start([slice]);
    await handle(slice, { unchanged: [{ tag: '2' }], ordered: [{ tag: '1' }] });
    expect(await check()).toEqual([]);
    await report({ tag: '1' }, 'pending');
    expect(await check()).toEqual([]);
    const previous = `sha256:${'a'.repeat(64)}` as const;
    await report({ tag: '1' }, 'mirrored', { previous: previous as never });
    expect(await check()).toMatchObject([
      { counts: { mirrored: 1, unchanged: 1 }, moved: 1, images: [{ reference: `${ORDER.source}:1`, previous }] },
    ]);
  });

  test('counts every status, and lists failures first', async () => {
    const statuses = ['mirrored', 'held', 'unverified', 'drifted', 'rejected', 'failed'] as const;
    const slice = imagesOf(statuses.map((tag) => ({ tag })));
    await start([slice]);
    await handle(slice, { ordered: statuses.map((tag) => ({ tag })) });
    for (const status of statuses) await report({ tag: status }, status, { reason: 'x'.repeat(5_000) });
    const [summary] = await check();
    expect(summary?.counts).toEqual({
      mirrored: 1,
      unchanged: 0,
      failed: 1,
      held: 1,
      unverified: 1,
      drifted: 1,
      rejected: 1,
    });
    expect(summary?.images.map(({ status }) => status)).toEqual([
      'failed',
      'rejected',
      'unverified',
      'drifted',
      'held',
      'mirrored',
    ]);
    expect(summary?.images[0]?.reason).toHaveLength(300);
  });

  test('counts referrers apart from images, and waits for no result of a check for referrers', async () => {
    const slice = imagesOf([{ tag: '1' }]);
    const subject = `sha256:${'a'.repeat(64)}` as never;
    await start([slice]);
    await handle(slice, { unchanged: [{ tag: '1' }], ordered: [{ digest: subject }], checks: true });
    await report({ digest: subject }, 'mirrored', { referrer: { subject, root: `${ORDER.source}:1` } });
    const [summary] = await check();
    expect(summary).toMatchObject({
      counts: { mirrored: 0, unchanged: 1 },
      referrers: { mirrored: 1, failed: 0 },
      images: [],
    });
    expect((await readSummary(archive, 'run-1'))?.summary.referrers).toEqual({ mirrored: 1, failed: 0 });
  });

  test('waits for no report of a referrer that it has ordered', async () => {
    await start();
    await handle(LIST, { unchanged: [{ tag: '1' }], referrer: true });
    expect(await check()).toMatchObject([{ outcome: 'finished' }]);
  });

  test('that has not finished after a day is closed as incomplete, with the missing parts', async () => {
    const slice = imagesOf([{ tag: '1' }]);
    await start();
    await handle(LIST, { sent: [slice], ordered: [{ tag: 'x' }] });
    now += 25 * 60 * MINUTE;
    expect(await check()).toMatchObject([{ outcome: 'incomplete', missing: { messages: 1, images: 1 } }]);
    expect(finished).toEqual([]);
    expect(open()).toEqual([]);
  });

  test('by a push has no start, and is finished when its last record is five minutes old', async () => {
    const slice = imagesOf([{ tag: '1' }]);
    await handle(slice, { unchanged: [{ tag: '1' }] });
    now += MINUTE;
    expect(await check()).toEqual([]);
    now += 5 * MINUTE;
    expect(await check()).toMatchObject([{ by: 'push', outcome: 'finished', counts: { unchanged: 1 } }]);
  });

  test('by a push waits for all of its messages, whichever is handled first', async () => {
    const images = [1, 2, 3].map((at) => imagesOf([{ tag: `t${at}` }]));
    for (const [at, first] of chained(images).entries()) {
      const others = chained(images).filter((each) => each.deduplicationId !== first.deduplicationId);
      await handle(first, { unchanged: [{ tag: 'x' }] });
      now += 60 * MINUTE;
      expect(await check()).toEqual([]);
      await handle(others[0] ?? first, { unchanged: [{ tag: 'x' }] });
      now += 60 * MINUTE;
      expect(await check()).toEqual([]);
      await handle(others[1] ?? first, { ordered: [{ tag: 't' }] });
      await report({ tag: 't' }, 'failed', { code: 'denied', reason: 'no' });
      now += 6 * MINUTE;
      expect(await check()).toMatchObject([{ by: 'push', outcome: 'finished', counts: { unchanged: 2, failed: 1 } }]);
      expect(delivered).toHaveLength(at + 1);
      await store.delete(archive.layout.runSummary('run-1'));
    }
  });

  test('is delivered again until the receiver accepts it, and then never again', async () => {
    const slice = imagesOf([{ tag: '1' }]);
    await start([slice]);
    await handle(slice, { unchanged: [{ tag: '1' }] });
    refuses = true;
    await expect(check()).rejects.toMatchObject({ detail: 'down' });
    await expect(check()).rejects.toMatchObject({ detail: 'down' });
    refuses = false;
    expect(await check()).toHaveLength(1);
    // A message that is delivered again after the end leaves a record.
    now += MINUTE;
    await handle(slice, { unchanged: [{ tag: '1' }] });
    now += 6 * MINUTE;
    expect(await check()).toEqual([]);
    expect(delivered).toHaveLength(1);
    expect(open()).toEqual([]);
  });

  test('has another summary if a message that is delivered again after its end changes a result', async () => {
    const slice = imagesOf([{ tag: '1' }]);
    await handle(slice, { ordered: [{ tag: '1' }] });
    await report({ tag: '1' }, 'failed', { code: 'denied', reason: 'no' });
    now += 6 * MINUTE;
    expect(await check()).toMatchObject([{ counts: { mirrored: 0, failed: 1 } }]);
    now += 60 * MINUTE;
    await handle(slice, { ordered: [{ tag: '1' }] });
    now += 6 * MINUTE;
    // The image has no new result yet.
    expect(await check()).toEqual([]);
    await report({ tag: '1' }, 'mirrored');
    now += MINUTE;
    expect(await check()).toMatchObject([{ updated: true, counts: { mirrored: 1, failed: 0 } }]);
    expect(await check()).toEqual([]);
    expect(delivered).toHaveLength(2);
    expect(open()).toEqual([]);
    const ids = delivered.map((summary) => notificationOf(summary).id);
    expect(ids).toEqual(['run-1', expect.stringMatching(/^run-1-\d+$/)]);
    expect((await readSummary(archive, 'run-1'))?.summary).toMatchObject({ updated: true, delivered: ['webhook'] });
  });

  test('is closed after a day even if its receiver refuses the summary', async () => {
    await start([]);
    refuses = true;
    await expect(check()).rejects.toMatchObject({ detail: 'down' });
    now += 25 * 60 * MINUTE;
    expect(await check()).toMatchObject([{ outcome: 'finished' }]);
    expect(open()).toEqual([]);
  });

  const DAMAGED = [
    ['a report that is not JSON', '.mirror/runs/run-1/0123456789abcdef0123.json', '{'],
    ['a report of a later release', '.mirror/runs/run-1/0123456789abcdef0123.json', '{"version":2}'],
    ['a report that is too large', '.mirror/runs/run-1/0123456789abcdef0123.json', 'x'.repeat(70_000)],
    ['a record that is not JSON', `.mirror/runs/.open/run-1/${messageId(LIST.message)}.json`, '{'],
    ['a record that no message names', '.mirror/runs/.open/run-1/0123456789abcdef0123456789abcdef.json', '{'],
    ['a start that is not JSON', '.mirror/runs/.open/run-1/run.json', '{'],
  ] as const;

  test.each(DAMAGED)('with %s is logged, and closed as incomplete after a day', async (_, key, text) => {
    await start();
    await handle(LIST, { unchanged: [{ tag: '1' }] });
    await store.put(key, Buffer.from(text));
    expect(await check()).toEqual([]);
    expect(logged).toMatchObject([{ message: 'object of a run not readable', run: 'run-1' }]);
    expect(logged[0]?.['reason']).toContain(key);
    now += 25 * 60 * MINUTE;
    const isReport = !key.includes('.open');
    expect(await check()).toMatchObject([
      { outcome: 'incomplete', missing: { messages: isReport ? 0 : 1, images: isReport ? 1 : 0 } },
    ]);
    expect(delivered).toHaveLength(1);
    expect(open()).toEqual([]);
  });

  test('with a damaged summary gets another one', async () => {
    await start();
    await handle(LIST, { unchanged: [{ tag: '1' }] });
    await store.put(archive.layout.runSummary('run-1'), Buffer.from('{'));
    expect(await check()).toMatchObject([{ outcome: 'finished', counts: { unchanged: 1 } }]);
    expect((await readSummary(archive, 'run-1'))?.summary.delivered).toEqual(['webhook']);
  });

  test.each(['before', 'after'] as const)(
    'is closed once and delivered at least once, wherever a check ends (%s)',
    async (when) => {
      const slice = imagesOf([{ tag: '1' }]);
      for (let nth = 1; ; nth += 1) {
        store = new MemoryStore({ now: () => now });
        archive = new Archive(store, ociLayout);
        delivered = [];
        await start([slice]);
        await handle(slice, { unchanged: [{ tag: '1' }] });
        const killed = new Failure({ operation: 'call', side: 'archive', code: 'denied', detail: 'killed' });
        const { port, faults } = failNth<ObjectStore>(store, nth, killed, { when });
        const first = await closeRuns(ports(new Archive(port, ociLayout)), emptyMemory()).catch(() => undefined);
        if (faults.calls.length < nth) {
          expect(first).toHaveLength(1);
          expect(nth).toBeGreaterThan(5);
          break;
        }
        now += 6 * MINUTE;
        await check();
        expect(delivered.length).toBeGreaterThanOrEqual(1);
        expect(open()).toEqual([]);
        expect(new Set(delivered.map(({ finished: at }) => at)).size).toBe(1);
      }
    },
  );
});

describe('the requests of a check', () => {
  test('are one listing without an open run', async () => {
    const { port, faults } = countCalls<ObjectStore>(new MemoryStore());
    await closeRuns(ports(new Archive(port, ociLayout)), emptyMemory());
    expect(faults.calls).toHaveLength(1);
  });

  test('do not read a record or a final report twice', async () => {
    const images = Array.from({ length: 20 }, (_, at) => ({ tag: `t${at}` }));
    const slice = imagesOf(images);
    await start([slice]);
    await handle(slice, { ordered: images });
    for (const image of images) await report(image, image.tag === 't7' ? 'pending' : 'mirrored');
    const { port, faults } = countCalls<ObjectStore>(store);
    const memory = emptyMemory();
    const of = new Archive(port, ociLayout);
    await closeRuns(ports(of), memory);
    const before = faults.calls.length;
    await closeRuns(ports(of), memory);
    // The start, the missing summary, and the pending report.
    expect(faults.calls.slice(before).filter((call) => call.startsWith('port.get '))).toHaveLength(3);
  });
});

test('a message has the same id for its sender and its reader', () => {
  for (const { message } of [LIST, imagesOf([{ tag: '1' }, { digest: `sha256:${'b'.repeat(64)}` as never }])])
    expect(messageId(parseMessage(serialise(message)) as ResolveMessage)).toBe(messageId(message));
});
