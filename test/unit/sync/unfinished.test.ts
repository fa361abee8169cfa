/** The table of lib/sync/layer/unfinished.ts, row by row. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FolderStore } from '../../../lib/store/folder/store.ts';
import type { ObjectStore, Upload } from '../../../lib/store/store.ts';
import { Failure } from '../../../lib/core/failure.ts';
import { LIVE_MS } from '../../../lib/sync/layer/unfinished.ts';
import { countCalls } from '../../kit/faults.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { tempFolder } from '../../kit/temp.ts';
import { messageFor, PART, partStore, Rig } from './rig.ts';

/** Six parts and a remainder. */
const LAYER = makeLayer({ size: 6 * PART + 1000, seed: 3 });
const KEY = `blobs/sha256/${LAYER.digest.slice('sha256:'.length)}`;
const PARTS = Math.ceil(LAYER.size / PART);
const LATER = { now: (): number => Date.now() + LIVE_MS + 1000 };

let registry: TestRegistry;
beforeEach(async () => {
  registry = await startRegistry();
  registry.push('library/app', makeImage({ layers: [LAYER] }), 'v1');
});
afterEach(() => registry.close());

/** An upload with these parts. */
async function begun(store: ObjectStore, numbers: readonly number[], partSize = PART): Promise<Upload> {
  const upload = await store.createUpload(KEY, { partSize });
  for (const number of numbers)
    await store.uploadPart(upload, number, LAYER.blob.subarray((number - 1) * partSize, number * partSize));
  return upload;
}

/** The events of uploads and of the receipt, in order. */
function deeds(calls: readonly string[]): string[] {
  return calls.flatMap((call) => /abortUpload|completeUpload|put .mirror/.exec(call)?.[0] ?? []);
}

async function expectStored(rig: Rig): Promise<void> {
  expect((await rig.blob(LAYER.digest))?.equals(LAYER.blob)).toBe(true);
  expect(await rig.archive.receipt(LAYER.digest)).toMatchObject({ digest: LAYER.digest, compression: 'gzip' });
  expect(await rig.uploads()).toEqual([]);
  expect(rig.sent('finalize')).toMatchObject([{ image: {} }]);
  expect(rig.sent('finalize')[0]?.failure).toBeUndefined();
}

describe('until the blob is stored, uploads that may be in use are kept', () => {
  test('a new upload without parts is neither continued nor aborted', async () => {
    const { port, faults } = countCalls(partStore());
    await begun(port, []);
    await using rig = new Rig({ store: port, now: Date.now });
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    // Fetched from the start, into an upload of its own.
    expect(faults.calls.filter((call) => call.includes('uploadPart'))).toHaveLength(PARTS);
    expect(deeds(faults.calls)).toEqual(['completeUpload', 'put .mirror', 'abortUpload']);
    await expectStored(rig);
  });

  test('an old upload without parts is aborted at once', async () => {
    const { port, faults } = countCalls(partStore());
    await begun(port, []);
    await using rig = new Rig({ store: port, ...LATER });
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(deeds(faults.calls)).toEqual(['abortUpload', 'completeUpload', 'put .mirror']);
    await expectStored(rig);
  });

  test('a less complete upload is kept until there is a receipt', async () => {
    const { port, faults } = countCalls(partStore());
    await begun(port, [1]);
    await begun(port, [1, 2, 3, 4, 5, 6]);
    await using rig = new Rig({ store: port, ...LATER });
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(registry.count({ kind: 'blob' })).toBe(1);
    expect(deeds(faults.calls)).toEqual(['completeUpload', 'put .mirror', 'abortUpload']);
    await expectStored(rig);
  });

  // An older version of this software has uploaded its parts.
  test.each([false, true])('an upload with another part size is not continued (old: %s)', async (old) => {
    const { port, faults } = countCalls(partStore());
    await begun(port, [1, 2, 3, 4, 5, 6, 8, 9], PART / 2);
    await begun(port, [1, 2, 3, 4, 5, 6]);
    await using rig = new Rig({ store: port, ...(old ? LATER : { now: Date.now }) });
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(registry.count({ kind: 'blob' })).toBe(1);
    expect(deeds(faults.calls)[0]).toBe(old ? 'abortUpload' : 'completeUpload');
    await expectStored(rig);
  });

  // The registry ignores ranges. Another function may use this upload with another endpoint.
  test('an upload that could not be continued is kept, and not tried a second time', async () => {
    registry.misbehave({ match: { kind: 'blob' }, do: { ignoreRange: true } });
    const { port, faults } = countCalls(partStore());
    await begun(port, [1, 2, 3]);
    await using rig = new Rig({ store: port, now: Date.now });
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(rig.phases()).toEqual(['started', 'started', 'stored']);
    expect(deeds(faults.calls)).toEqual(['completeUpload', 'put .mirror', 'abortUpload']);
    await expectStored(rig);
  });

  test('an upload that disappears between two listings is not a failure', async () => {
    const store = partStore();
    const upload = await begun(store, [1]);
    const parts = store.parts.bind(store);
    store.parts = async function* (...args) {
      await store.abortUpload(upload);
      yield* parts(...args);
    };
    await using rig = new Rig({ store, now: Date.now });
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(rig.phases()).toEqual(['started', 'stored']);
    await expectStored(rig);
  });
});

describe('once the blob is stored, no upload is left', () => {
  // That delivery was killed after its receipt, or its cleanup failed.
  test('a repeated message aborts the uploads of the delivery before', async () => {
    const store = partStore();
    await begun(store, []);
    const abort = store.abortUpload.bind(store);
    store.abortUpload = () => Promise.reject(new Error('killed'));
    await using rig = new Rig({ store, now: Date.now });
    const message = messageFor(registry, LAYER, { look: 'everything' });
    await rig.copy(message);
    expect(await rig.uploads()).toHaveLength(1);
    store.abortUpload = abort;
    await rig.copy(message, { receiveCount: 2 });
    await expectStored(rig);
  });

  // The blob comes from two registries to two functions, which start at all possible distances.
  test('two writers never prevent each other from finishing', async () => {
    await using other = await startRegistry();
    other.push('library/app', makeImage({ layers: [LAYER] }), 'v1');
    for (let distance = 0; distance < 40; distance += 1) {
      const store = partStore();
      await using one = new Rig({ store, bufferBytes: PART, now: Date.now });
      await using two = new Rig({ store, bufferBytes: PART, now: Date.now });
      const first = one.copy(messageFor(registry, LAYER, { look: 'everything' }));
      for (let turn = 0; turn < distance * 2; turn += 1) await new Promise(setImmediate);
      await Promise.all([first, two.copy(messageFor(other, LAYER, { look: 'everything' }))]);
      for (const rig of [one, two]) await expectStored(rig);
    }
  });
});

// A folder refuses parts that are larger than the part size of the upload.
test.each([
  ['smaller', 1, [1]],
  ['smaller, and a part fits by chance', 1, [1, 2, 3]],
  ['larger', 8, [1]],
])('an upload in a folder with parts that are %s does not fail the image', async (_, mebibytes, numbers) => {
  const MiB = 1024 * 1024;
  const layer = makeLayer({ size: 9 * MiB, seed: 3, compression: 'none' });
  const bytes = layer.blob.subarray(0, 9 * MiB);
  registry.push('library/app', makeImage({ layers: [layer] }), 'v1');
  await using folder = await tempFolder();
  const key = `blobs/sha256/${layer.digest.slice('sha256:'.length)}`;
  {
    await using before = new FolderStore(folder.path);
    const upload = await before.createUpload(key, { partSize: mebibytes * MiB });
    for (const number of numbers)
      await before.uploadPart(upload, number, bytes.subarray((number - 1) * mebibytes * MiB, number * mebibytes * MiB));
  }
  await using store = new FolderStore(folder.path);
  await using rig = new Rig({ store, bufferBytes: 40 * MiB, now: Date.now });
  const failure = await rig.copy(messageFor(registry, layer, { look: 'everything' })).catch((error: unknown) => error);
  expect((failure as Failure | undefined)?.message).toBeUndefined();
  expect(rig.sent('finalize')[0]?.failure).toBeUndefined();
  expect((await rig.blob(layer.digest))?.equals(layer.blob)).toBe(true);
  expect(await rig.uploads()).toEqual([]);
});

test('a failure to list the parts of an upload fails the layer, and the upload is kept', async () => {
  const store = partStore();
  await begun(store, [1, 2]);
  const down = new Failure({ operation: 'list parts', side: 'archive', code: 'unavailable', detail: 'down' });
  const failing = new Proxy(store, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key, target);
      if (key === 'parts') return () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(down) }) });
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  await using rig = new Rig({ store: failing });
  await expect(rig.copy(messageFor(registry, LAYER, { look: 'everything' }))).rejects.toMatchObject({
    code: 'unavailable',
  });
  expect(await Array.fromAsync(store.uploads(''))).toHaveLength(1);
});
