import type { SQSRecord } from 'aws-lambda';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { handleFinalizations } from '../../../functions/handlers/finalizations.ts';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import type { FinalizeMessage, Image } from '../../../lib/queue/messages.ts';
import { NO_POLICY } from '../../../lib/policy/policy.ts';
import { changeMessage, checksMessage, finalizeMessage } from '../../../lib/queue/outgoing.ts';
import { makeImage } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { recordOf } from '../../kit/records.ts';
import { keyPair } from '../../kit/sigstore.ts';
import { ORDER } from '../queue/samples.ts';
import { contextOf, MAX_RECEIVES, OnMocks } from './on-mocks.ts';

const IMAGE = makeImage({ layers: [] });
const MANIFEST = `archive/${ociLayout.blob(IMAGE.digest)}`;

const TAG_INDEX = `archive/${ociLayout.tagIndex(ORDER.repository)}`;

let aws: OnMocks;
beforeEach(() => {
  aws = new OnMocks();
  aws.s3.objects.set(MANIFEST, IMAGE.manifest);
  for (const [digest, bytes] of IMAGE.blobs) aws.s3.objects.set(`archive/${ociLayout.blob(digest)}`, bytes);
});
afterEach(() => {
  aws[Symbol.dispose]();
});

function messageOf(repository = ORDER.repository, failure?: { code: string; reason: string }): FinalizeMessage {
  const { digest, mediaType, manifest } = IMAGE;
  const image = { digest, mediaType, size: manifest.length, tag: '1', observed: 1000 };
  return finalizeMessage({ ...ORDER, repository }, image, 'resolver', failure).message;
}

async function handle(...records: readonly SQSRecord[]): Promise<(string | undefined)[]> {
  const { handler } = await import('../../../functions/finalizer.ts');
  const { batchItemFailures } = await handler({ Records: [...records] }, contextOf());
  return batchItemFailures.map(({ itemIdentifier }) => itemIdentifier);
}

const reports = (): string[] =>
  [...aws.s3.objects]
    .filter(([key]) => key.startsWith('archive/.mirror/runs/'))
    .map(([, bytes]) => (JSON.parse(Buffer.from(bytes).toString()) as { readonly status: string }).status);

const requestsFor = (key: string) => aws.s3.requests.filter(({ name }) => name.endsWith(` ${key}`));

test('writes the reference of an image, its report and its event', async () => {
  expect(await handle(recordOf(messageOf()))).toEqual([]);
  expect([...aws.s3.objects.keys()]).toContain(TAG_INDEX);
  expect(reports()).toEqual(['mirrored']);
  expect(aws.events).toEqual([{ bus: 'bus', type: 'Image Mirrored' }]);
});

test('records a failure that a message contains', async () => {
  expect(await handle(recordOf(messageOf(ORDER.repository, { code: 'denied', reason: 'no' })))).toEqual([]);
  expect(reports()).toEqual(['failed']);
  expect(aws.events).toEqual([{ bus: 'bus', type: 'Image Failed' }]);
});

// Neither has a tag index. A repair may remove what was read for one of them before the other has its marker.
test('reads a manifest for each repository of a batch', async () => {
  const other = `${ORDER.repository}-other`;
  const reads: string[] = [];
  const [first, second] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
  /** The second repository begins when the first is checked, and the first is written after the second. */
  class InTurns extends MemoryStore {
    override async get(...args: Parameters<MemoryStore['get']>): ReturnType<MemoryStore['get']> {
      if (args[0] === ociLayout.tagIndex(other)) await first.promise;
      reads.push(args[0]);
      return super.get(...args);
    }

    override async put(...args: Parameters<MemoryStore['put']>): ReturnType<MemoryStore['put']> {
      if (args[0] === ociLayout.tagIndex(other)) second.resolve(undefined);
      if (args[0] === ociLayout.tagIndex(ORDER.repository)) {
        first.resolve(undefined);
        await second.promise;
      }
      return super.put(...args);
    }
  }
  const archive = new Archive(new InTurns(), ociLayout);
  await archive.putContent(IMAGE.digest, IMAGE.manifest);
  for (const [digest, bytes] of IMAGE.blobs) await archive.putContent(digest, bytes);
  const unused = (): Promise<never> => Promise.reject(new Error('not expected'));
  const ports = { attestor: undefined, onNotAttested: undefined, maxReceives: MAX_RECEIVES };
  const event = { Records: [recordOf(messageOf()), recordOf(messageOf(other), { group: 'b' })] };
  const { batchItemFailures } = await handleFinalizations(
    event,
    {
      archive,
      record: () => Promise.resolve(),
      ...ports,
      postpone: unused,
      requeue: unused,
      onFailure: () => undefined,
    },
    new AbortController().signal,
  );
  expect(batchItemFailures).toEqual([]);
  expect(reads.filter((key) => key === ociLayout.blob(IMAGE.digest))).toHaveLength(2);
});

test('reads a manifest once for all messages of a batch', async () => {
  // The first ten of a group are handled together, the last one after them.
  const runs = Array.from({ length: 11 }, (_, index) => recordOf({ ...messageOf(), run: `run-${index}` }));
  const reads: number[] = [];
  for (const some of [runs.slice(0, 10), runs]) {
    aws.s3.requests.length = 0;
    await handle(...some);
    reads.push(requestsFor(MANIFEST).length);
  }
  expect(reads[1]).toBe(reads[0]);
});

test('can stop all requests for an image before Lambda ends the sandbox', async () => {
  const failed = messageOf(`${ORDER.repository}-other`, { code: 'denied', reason: 'no' });
  await handle(recordOf(messageOf()), recordOf(failed, { group: 'b' }));
  for (const key of [MANIFEST, TAG_INDEX]) expect(requestsFor(key).length).toBeGreaterThan(0);
  expect(reports().sort()).toEqual(['failed', 'mirrored']);
  expect(aws.s3.requests.filter(({ isAbortable }) => !isAbortable)).toEqual([]);
  expect(aws.areEventsAbortable).toBe(true);
});

test('leaves a failed message to a later delivery, and logs that', async () => {
  aws.s3.refuse = (name) => name === `PutObject ${TAG_INDEX}`;
  const record = recordOf(messageOf());
  expect(await handle(record)).toEqual([record.messageId]);
  expect(aws.postponed('finalize')).toEqual([[record.receiptHandle, expect.any(Number)]]);
  expect(aws.log).toContainEqual(expect.objectContaining({ message: 'message failed', messageId: record.messageId }));
  expect(reports()).toEqual([]);
});

test('records the failure of a message on the last delivery according to its environment', async () => {
  aws.s3.refuse = (name) => name === `PutObject ${TAG_INDEX}`;
  expect(await handle(recordOf(messageOf(), { receiveCount: MAX_RECEIVES }))).toEqual([]);
  expect(reports()).toEqual(['failed']);
  expect(aws.events).toEqual([{ bus: 'bus', type: 'Image Failed' }]);
});

test('sends a message of a later release to the end of its own queue on the last delivery', async () => {
  const body = JSON.stringify({ ...messageOf(), version: 3 });
  expect(await handle(recordOf(body, { receiveCount: MAX_RECEIVES }))).toEqual([]);
  expect(aws.requeued('finalize')).toEqual([body]);
});

test('attests an image that the archive had before, with the key of its environment', async () => {
  const { image } = messageOf();
  await handle(recordOf(messageOf()));
  await handle(recordOf(changeMessage(ORDER, { policy: { ...NO_POLICY, attest: 'on' } }).message));
  const { digest } = IMAGE;
  const { message } = checksMessage(ORDER, image as Image, { attest: [{ tag: '1', digest }] });
  const attested = (): boolean => Buffer.from(aws.s3.objects.get(TAG_INDEX)!).includes('"dev.mirror-sync.attested-by"');
  expect(await handle(recordOf(message))).toEqual([]);
  expect(aws.metrics).toMatchObject({ ImagesNotAttested: 1 });
  expect(attested()).toBe(false);

  vi.resetModules();
  vi.stubEnv('MIRROR_SYNC_ATTEST_KEY', 'arn:aws:secretsmanager:eu-central-1:000000000000:secret:attest');
  aws.secrets['attest'] = keyPair().privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  expect(await handle(recordOf(message))).toEqual([]);
  expect(attested()).toBe(true);
  // The image itself has no new result.
  expect(reports()).toEqual(['mirrored']);
});
