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

/** Six parts and a bit. */
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

/** An upload in which these parts have landed. */
async function begun(store: ObjectStore, numbers: readonly number[], partSize = PART): Promise<Upload> {
  const upload = await store.createUpload(KEY, { partSize });
  for (const number of numbers)
    await store.uploadPart(upload, number, LAYER.blob.subarray((number - 1) * partSize, number * partSize));
  return upload;
}

/** What happens to uploads and to the receipt, in order. */
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

describe("until the blob is there, what may be somebody's is left alone", () => {
  // Another function has begun a moment ago, and no part of its has landed.
  test('one without parts that was begun just now is neither gone on with nor aborted', async () => {
    const { port, faults } = countCalls(partStore());
    await begun(port, []);
    await using rig = new Rig({ store: port, now: Date.now });
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(registry.count({ kind: 'blob' })).toBe(PARTS);
    expect(deeds(faults.calls)).toEqual(['completeUpload', 'put .mirror', 'abortUpload']);
    await expectStored(rig);
  });

  // Nobody has so much time for a first part.
  test('one that has none for long is aborted at once', async () => {
    const { port, faults } = countCalls(partStore());
    await begun(port, []);
    await using rig = new Rig({ store: port, ...LATER });
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(deeds(faults.calls)).toEqual(['abortUpload', 'completeUpload', 'put .mirror']);
    await expectStored(rig);
  });

  test('one that has come less far is left, until there is a receipt', async () => {
    const { port, faults } = countCalls(partStore());
    await begun(port, [1]);
    await begun(port, [1, 2, 3, 4, 5, 6]);
    await using rig = new Rig({ store: port, ...LATER });
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(registry.count({ kind: 'blob' })).toBe(1);
    expect(deeds(faults.calls)).toEqual(['completeUpload', 'put .mirror', 'abortUpload']);
    await expectStored(rig);
  });

  // Its parts are many, but they are another plan's: an older version of this software, or another part size.
  test.each([false, true])('one of another plan is not gone on with (old: %s)', async (old) => {
    const { port, faults } = countCalls(partStore());
    await begun(port, [1, 2, 3, 4, 5, 6, 8, 9], PART / 2);
    await begun(port, [1, 2, 3, 4, 5, 6]);
    await using rig = new Rig({ store: port, ...(old ? LATER : { now: Date.now }) });
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(registry.count({ kind: 'blob' })).toBe(1);
    expect(deeds(faults.calls)[0]).toBe(old ? 'abortUpload' : 'completeUpload');
    await expectStored(rig);
  });

  // The registry ignores ranges today; the upload may be that of a function which reaches another endpoint.
  test('one that was gone on with in vain is left, and not tried a second time', async () => {
    registry.misbehave({ match: { kind: 'blob' }, do: { ignoreRange: true } });
    const { port, faults } = countCalls(partStore());
    await begun(port, [1, 2, 3]);
    await using rig = new Rig({ store: port, now: Date.now });
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(rig.phases()).toEqual(['started', 'started', 'stored']);
    expect(deeds(faults.calls)).toEqual(['completeUpload', 'put .mirror', 'abortUpload']);
    await expectStored(rig);
  });

  test('one that is gone between two listings is not a failure', async () => {
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

describe('once the blob is there, nothing is left', () => {
  // Killed between its receipt and its cleaning up; or the cleaning up failed, which is not the blob's failure.
  test('a message that comes again cleans up behind the one before', async () => {
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

  // The blob comes from two registries, for two functions that know nothing of each other: they begin at every distance,
  // and neither keeps the other from its end.
  test('two writers never keep each other from it', async () => {
    await using other = await startRegistry();
    other.push('library/app', makeImage({ layers: [LAYER] }), 'v1');
    for (let distance = 0; distance < 40; distance += 1) {
      const store = partStore();
      await using one = new Rig({ store, windowBytes: PART, now: Date.now });
      await using two = new Rig({ store, windowBytes: PART, now: Date.now });
      const first = one.copy(messageFor(registry, LAYER, { look: 'everything' }));
      for (let turn = 0; turn < distance * 2; turn += 1) await new Promise(setImmediate);
      await Promise.all([first, two.copy(messageFor(other, LAYER, { look: 'everything' }))]);
      for (const rig of [one, two]) await expectStored(rig);
    }
  });
});

// A folder's uploads know their part size and refuse what is larger: also where a part happens to fit, the last one here.
test.each([
  ['smaller', 1, [1]],
  ['smaller, and a part fits by chance', 1, [1, 2, 3]],
  ['larger', 8, [1]],
])('in a folder, an upload with parts that are %s costs no image', async (_, mebibytes, numbers) => {
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
  await using rig = new Rig({ store, windowBytes: 40 * MiB, now: Date.now });
  const failure = await rig.copy(messageFor(registry, layer, { look: 'everything' })).catch((error: unknown) => error);
  expect((failure as Failure | undefined)?.message).toBeUndefined();
  expect(rig.sent('finalize')[0]?.failure).toBeUndefined();
  expect((await rig.blob(layer.digest))?.equals(layer.blob)).toBe(true);
  expect(await rig.uploads()).toEqual([]);
});

test('a failure to list the parts of an upload is a failure of the layer, and not the end of the upload', async () => {
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
