import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { resolveMessage } from '../../../lib/queue/outgoing.ts';
import type { ResolverContext } from '../../../lib/sync/context.ts';
import { idsOf, MessageTally } from '../../../lib/sync/run/message-record.ts';
import { runStartOf, writeOpenStart } from '../../../lib/sync/runs.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { ORDER } from '../queue/samples.ts';
import { contextOf, OnMocks } from './on-mocks.ts';

const KEY = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const RECEIVER = 'https://hooks.example.com/hook?token=x';
const SUMMARY = `archive/${ociLayout.runSummary(ORDER.run)}`;

let aws: OnMocks;
/** Requests to the receiver. */
let requests: { readonly url: string; readonly init: RequestInit }[];
let status: number;

beforeEach(() => {
  aws = new OnMocks();
  [requests, status] = [[], 200];
  // The environment of a function allows only receivers with TLS.
  vi.spyOn(globalThis, 'fetch').mockImplementation((url, init = {}) => {
    requests.push({ url: (url as URL).href, init });
    return Promise.resolve(new Response(null, { status }));
  });
});
afterEach(() => {
  aws[Symbol.dispose]();
});

function setReceiver(): void {
  vi.stubEnv('MIRROR_SYNC_RUN_WEBHOOK', RECEIVER);
  vi.stubEnv('MIRROR_SYNC_RUN_WEBHOOK_SECRET', 'arn:aws:secretsmanager:eu-central-1:000000000000:secret:notify');
  aws.secrets['notify'] = KEY;
}

/** A scheduled run of one message, which found nothing new in a repository that it completes for the first time. */
async function finishRun(): Promise<void> {
  const store = new MemoryStore();
  const archive = new Archive(store, ociLayout);
  const message = resolveMessage(ORDER, { kind: 'list' });
  const start = runStartOf(ORDER.run, 'schedule', [message], Date.now());
  await writeOpenStart(archive, { ...start, ids: idsOf([message]) });
  const tally = new MessageTally(archive);
  tally.watched({ observe: () => undefined } as unknown as ResolverContext).initial?.();
  await tally.write(message.message);
  for (const key of store.keys()) aws.s3.objects.set(`archive/${key}`, store.peek(key) ?? Buffer.alloc(0));
}

async function check(): Promise<number> {
  const { handler } = await import('../../../functions/runs.ts');
  return (await handler({}, contextOf())).closed;
}

function deliveredTo(): readonly string[] | undefined {
  return (JSON.parse(Buffer.from(aws.s3.objects.get(SUMMARY) ?? []).toString()) as { delivered?: string[] }).delivered;
}

test('sends the summary of a finished run to the event bus and to the receiver', async () => {
  setReceiver();
  await finishRun();
  expect(await check()).toBe(1);
  expect(aws.events).toEqual([{ bus: 'bus', type: 'Run Finished' }]);
  const init = { method: 'POST', headers: { 'webhook-id': ORDER.run } };
  expect(requests).toMatchObject([{ url: RECEIVER, init }]);
  const body = JSON.parse(requests[0]?.init.body as string) as object;
  expect(body).toMatchObject({ type: 'run.finished', data: { run: ORDER.run } });
  expect(deliveredTo()).toEqual(['event', 'webhook']);
  expect(aws.metrics).toMatchObject({ RunsFinished: 1 });
});

test('sends the summary to the event bus alone without a receiver', async () => {
  await finishRun();
  expect(await check()).toBe(1);
  expect(aws.events).toEqual([{ bus: 'bus', type: 'Run Finished' }]);
  expect(requests).toEqual([]);
  expect(deliveredTo()).toEqual(['event']);
});

test('sends a summary that the receiver refused again with the next check and the event only once', async () => {
  setReceiver();
  status = 403;
  await finishRun();
  await expect(check()).rejects.toThrow('expected status 2xx, got 403');
  expect(deliveredTo()).toEqual(['event']);
  status = 200;
  await check();
  expect(aws.events).toHaveLength(1);
  expect(deliveredTo()).toEqual(['event', 'webhook']);
});

test('orders the end of the initial time of a repository', async () => {
  await finishRun();
  await check();
  const { run, repository } = ORDER;
  expect(aws.sent('finalize')).toMatchObject([
    { message: { run, repository, change: { completed: expect.any(Number) as number } }, isAbortable: true },
  ]);
});

test('names the secret if its value is not a key', async () => {
  setReceiver();
  aws.secrets['notify'] = 'no key';
  await finishRun();
  await expect(check()).rejects.toThrow('the key of notifications');
  expect(aws.events).toHaveLength(1);
  expect(requests).toEqual([]);
});
