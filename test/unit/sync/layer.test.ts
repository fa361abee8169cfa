import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Receipt } from '../../../lib/archive/receipt.ts';
import type { ObjectStore, Upload } from '../../../lib/store/store.ts';
import { Failure } from '../../../lib/core/failure.ts';
import { type Deadline, NO_DEADLINE } from '../../../lib/sync/deadline.ts';
import type { LayerMessage } from '../../../lib/queue/messages.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { randomBytes } from '../../kit/content.ts';
import { realSleep } from '../../../lib/registry/http/retry-wait.ts';
import { countCalls, Faults } from '../../kit/faults.ts';
import { layerOf, makeImage, makeLayer } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { messageFor, PART, partStore, Rig } from './rig.ts';

/** Six parts and a remainder. */
const LAYER = makeLayer({ size: 6 * PART + 1000, seed: 3 });
const SMALL = makeLayer({ size: 1000, seed: 4 });
const KEY = `blobs/sha256/${LAYER.digest.slice('sha256:'.length)}`;
const PARTS = Math.ceil(LAYER.size / PART);

let registry: TestRegistry;
beforeEach(async () => {
  registry = await startRegistry();
  registry.push('library/app', makeImage({ layers: [LAYER, SMALL] }), 'v1');
});
afterEach(() => registry.close());

function ranges(): (string | undefined)[] {
  return registry.requests.filter(({ kind }) => kind === 'blob').map(({ range }) => range);
}

function rangeOf(part: number): string {
  return `bytes=${(part - 1) * PART}-${Math.min(part * PART, LAYER.size) - 1}`;
}

/** Uploads all parts but these, as an invocation that was killed. */
async function begun(store: ObjectStore, without: readonly number[], bytes: Uint8Array = LAYER.blob): Promise<Upload> {
  const upload = await store.createUpload(KEY, { partSize: PART });
  for (let part = 1; part <= PARTS; part += 1)
    if (!without.includes(part)) await store.uploadPart(upload, part, bytes.subarray((part - 1) * PART, part * PART));
  return upload;
}

const RECEIPT = {
  version: 1,
  digest: LAYER.digest,
  size: LAYER.size,
  diffIds: { sha256: LAYER.diffId },
  compression: 'gzip',
};

/** The proof of an opaque file, which does not prove the layer. */
const PLAIN_RECEIPT: Receipt = {
  version: 1,
  digest: LAYER.digest,
  size: LAYER.size,
  diffIds: {},
  source: 'example.com/other',
  verifiedAt: '2026-01-01T00:00:00.000Z',
};

async function expectStored(rig: Rig): Promise<void> {
  expect((await rig.blob(LAYER.digest))?.equals(LAYER.blob)).toBe(true);
  expect(await rig.archive.receipt(LAYER.digest)).toMatchObject(RECEIPT);
  expect(await rig.uploads()).toEqual([]);
  expect(rig.buffers.usedBytes).toBe(0);
  expect(rig.sent('finalize')).toMatchObject([{ image: { tag: '3.20' } }]);
  expect(rig.sent('finalize')[0]?.failure).toBeUndefined();
}

describe('requests to the store', () => {
  test('a fresh blob costs its parts and three more, and a known blob costs one', async () => {
    const { port, faults } = countCalls(partStore());
    await using rig = new Rig({ store: port });
    await rig.copy(messageFor(registry, LAYER));
    expect(faults.calls).toHaveLength(PARTS + 4);
    expect(faults.calls.at(-1)).toContain('.put .mirror/receipts/');
    await expectStored(rig);

    const before = faults.calls.length;
    registry.forgetRequests();
    for (const look of ['receipt', 'everything'] as const) await rig.copy(messageFor(registry, LAYER, { look }));
    const calls = faults.calls.slice(before).filter((call) => !call.includes('list'));
    expect(calls.map((call) => call.split(' ')[0])).toEqual(['port.get', 'port.get']);
    expect(registry.requests).toEqual([]);
  });

  test('a blob of one part costs a put and its receipt', async () => {
    const { port, faults } = countCalls(partStore());
    await using rig = new Rig({ store: port });
    await rig.copy(messageFor(registry, SMALL));
    expect(faults.calls).toHaveLength(3);
  });
});

describe('the state of the archive decides the work', () => {
  test('an object without a receipt is proven in the archive', async () => {
    await using rig = new Rig();
    await rig.store.put(KEY, LAYER.blob);
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(registry.requests).toEqual([]);
    expect(rig.phases()).toEqual(['verifying', 'stored']);
    await expectStored(rig);
  });

  test('an unreadable receipt is written again, without a download', async () => {
    await using rig = new Rig();
    await rig.store.put(KEY, LAYER.blob);
    await rig.store.put(rig.archive.layout.receipt(LAYER.digest), Buffer.from('{"version":'));
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(registry.requests).toEqual([]);
    await expectStored(rig);
  });

  test.each([
    ['wrong bytes', randomBytes(LAYER.size, 9)],
    ['too few bytes', LAYER.blob.subarray(0, -1)],
    ['too many bytes', Buffer.concat([LAYER.blob, Buffer.alloc(1)])],
  ])('an object of %s is deleted, and the blob is fetched', async (_, bytes) => {
    await using rig = new Rig();
    await rig.store.put(KEY, bytes);
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(rig.phases()).toEqual(['verifying', 'started', 'stored']);
    await expectStored(rig);
  });

  // Two images name one blob, and one of them declares a wrong size.
  test.each(['with a receipt', 'without a receipt'])(
    'a descriptor with another size deletes nothing: %s',
    async (which) => {
      for (const size of [LAYER.size - 1, LAYER.size + 1]) {
        await using rig = new Rig();
        await rig.store.put(KEY, LAYER.blob);
        if (which === 'with a receipt') await rig.archive.putReceipt(PLAIN_RECEIPT);
        await rig.copy(messageFor(registry, LAYER, { look: 'everything', size }));
        expect(rig.sent('finalize')).toMatchObject([
          { failure: { code: 'size-mismatch', reason: expect.stringContaining(`got ${LAYER.size}`) } },
        ]);
        expect((await rig.blob(LAYER.digest))?.equals(LAYER.blob)).toBe(true);
      }
    },
  );

  // The other writer has completed the object. Deleting it now would leave a receipt without an object.
  test('a descriptor with another size does not disturb a writer before its receipt', async () => {
    const store = partStore();
    await using liar = new Rig({ store });
    const put = store.put.bind(store);
    store.put = async (...args) => {
      store.put = put;
      await liar.copy(messageFor(registry, LAYER, { look: 'everything', size: LAYER.size - 1 }));
      return put(...args);
    };
    await using rig = new Rig({ store });
    await rig.copy(messageFor(registry, LAYER));
    expect(liar.sent('finalize')).toMatchObject([{ failure: { code: 'size-mismatch' } }]);
    await expectStored(rig);
  });

  describe('an object that was proven as plain bytes and is read back as a layer', () => {
    /** A store that corrupts this number of reads. */
    function bending(times: number): ReturnType<typeof partStore> {
      const store = partStore();
      const read = store.read.bind(store);
      let left = times;
      store.read = async (...args) => {
        const found = await read(...args);
        if (found === undefined || (left -= 1) < 0) return found;
        const body = (async function* () {
          let bent = false;
          for await (const chunk of found.body) {
            if (!bent) chunk[100]! ^= 1;
            bent = true;
            yield chunk;
          }
        })();
        return { ...found, body };
      };
      return store;
    }

    // Upstream has lost the blob, so a deletion would be final.
    test('is kept after a read error', async () => {
      const store = bending(1);
      registry.removeBlob(LAYER.digest);
      await using rig = new Rig({ store });
      await store.put(KEY, LAYER.blob);
      await rig.archive.putReceipt(PLAIN_RECEIPT);
      await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
      await expectStored(rig);
    });

    test('is deleted together with its receipt if it is wrong twice', async () => {
      const store = partStore();
      registry.removeBlob(LAYER.digest);
      await store.put(KEY, randomBytes(LAYER.size, 9));
      const { port, faults } = countCalls(store);
      await using rig = new Rig({ store: port });
      await rig.archive.putReceipt(PLAIN_RECEIPT);
      await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
      expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'blob-unknown' } }]);
      expect(await rig.archive.receipt(LAYER.digest)).toBeUndefined();
      expect(await rig.blob(LAYER.digest)).toBeUndefined();
      const changes = faults.calls.filter((call) => /\.(?:delete|put) /.test(call));
      expect(changes.slice(-2)).toEqual([`port.put ${rig.archive.layout.receipt(LAYER.digest)}`, `port.delete ${KEY}`]);
    });
  });

  test('an object that another writer replaced during the read is not deleted', async () => {
    const store = partStore();
    const read = store.read.bind(store);
    store.read = async (...args) => {
      const found = await read(...args);
      await store.put(KEY, LAYER.blob);
      return found;
    };
    await store.put(KEY, randomBytes(LAYER.size, 9));
    await using rig = new Rig({ store });
    const blobs = registry.misbehave({ match: { kind: 'blob' }, times: 1, do: { status: 404 } });
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    // The layer function fetches the blob nevertheless and fails here. It must not delete the object of the other
    // writer.
    expect(blobs.hits()).toBe(1);
    expect((await rig.blob(LAYER.digest))?.equals(LAYER.blob)).toBe(true);
  });

  // Parts 2 and 5 are missing, and part 4 has another size.
  test('only the missing parts of an unfinished upload are fetched, and the object is read back', async () => {
    await using rig = new Rig();
    await begun(rig.store, [2, 5]);
    const [begunOne] = await rig.uploads();
    await rig.store.uploadPart(begunOne!.upload, 4, Buffer.from('cut'));
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(ranges().toSorted()).toEqual([2, 4, 5].map(rangeOf).toSorted());
    expect(rig.phases()).toEqual(['started', 'verifying', 'stored']);
    await expectStored(rig);
  });

  test('an upload that lacks only its completion requests nothing from the registry', async () => {
    await using rig = new Rig();
    await begun(rig.store, []);
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(registry.requests).toEqual([]);
    await expectStored(rig);
  });

  test('a corrupt part is found when the object is read back, and the blob is fetched again', async () => {
    await using rig = new Rig();
    const corrupt = Buffer.from(LAYER.blob);
    corrupt[100]! ^= 1;
    await begun(rig.store, [6], corrupt);
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(rig.phases()).toEqual(['started', 'verifying', 'started', 'stored']);
    await expectStored(rig);
  });

  test('the most complete of several unfinished uploads is finished, and the others are aborted', async () => {
    await using rig = new Rig();
    await begun(rig.store, [1, 2, 3, 4, 5, 6]);
    await begun(rig.store, [3]);
    await begun(rig.store, [1, 2, 3, 4, 5, 6, 7]);
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(ranges()).toEqual([rangeOf(3)]);
    await expectStored(rig);
  });

  // Without a size, the missing parts are unknown.
  test('an upload of a blob of unknown size is started again', async () => {
    await using rig = new Rig();
    await begun(rig.store, [3]);
    await rig.copy(messageFor(registry, LAYER, { look: 'everything', size: null }));
    await expectStored(rig);
  });

  // The blob was proven as an opaque file, and this image declares it as a gzip layer.
  test('an object with a receipt of another kind is proven as the requested kind', async () => {
    await using rig = new Rig();
    await rig.store.put(KEY, LAYER.blob);
    await rig.archive.putReceipt(PLAIN_RECEIPT);
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(registry.requests).toEqual([]);
    await expectStored(rig);
  });

  test('a repeated message looks for everything, whatever its lookup field says', async () => {
    await using rig = new Rig();
    await begun(rig.store, [2]);
    await rig.copy(messageFor(registry, LAYER, { look: 'receipt' }), { receiveCount: 2 });
    expect(ranges()).toEqual([rangeOf(2)]);
    await expectStored(rig);
  });
});

describe('a problem of the blob is recorded at once', () => {
  test.each<[string, string, Buffer]>([
    ['other bytes', 'digest-mismatch', randomBytes(LAYER.size, 9)],
    ['fewer bytes', 'size-mismatch', LAYER.blob.subarray(0, -1)],
    ['more bytes', 'size-mismatch', Buffer.concat([LAYER.blob, Buffer.alloc(1)])],
  ])('%s fail with %s', async (_, code, bytes) => {
    registry.pushBlob(LAYER.digest, bytes);
    await using rig = new Rig();
    await rig.copy(messageFor(registry, LAYER));
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code, reason: expect.stringContaining(LAYER.digest) } }]);
    expect(rig.events.at(-1)).toMatchObject({
      type: 'blob',
      phase: 'failed',
      blob: LAYER.digest,
      size: LAYER.size,
      fetched: 0,
      tag: '3.20',
      reason: expect.stringContaining(LAYER.digest),
    });
    expect(await rig.blob(LAYER.digest)).toBeUndefined();
    expect(await rig.archive.receipt(LAYER.digest)).toBeUndefined();
    expect(await rig.uploads()).toEqual([]);
    expect(rig.buffers.usedBytes).toBe(0);
  });

  test('a blob that is unknown to the registry fails', async () => {
    registry.removeBlob(LAYER.digest);
    await using rig = new Rig();
    await rig.copy(messageFor(registry, LAYER));
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'blob-unknown' } }]);
    expect(rig.phases()).toEqual(['started', 'failed']);
  });

  test('a blob that is declared as gzip and is not gzip fails', async () => {
    const plain = randomBytes(3 * PART, 1);
    const layer = layerOf(plain, plain, 'gzip');
    registry.pushBlob(layer.digest, plain);
    await using rig = new Rig();
    await rig.copy(messageFor(registry, layer));
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'not-as-declared' } }]);
    expect(await rig.uploads()).toEqual([]);
  });

  test('a decompression bomb fails', async () => {
    await using rig = new Rig({ maxUncompressed: 1000 });
    await rig.copy(messageFor(registry, LAYER));
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'too-large' } }]);
    expect(await rig.uploads()).toEqual([]);
  });

  test('a temporary failure is recorded with its reason on the last delivery', async () => {
    registry.misbehave({ match: { kind: 'blob' }, do: { status: 503 } });
    await using rig = new Rig();
    await expect(rig.copy(messageFor(registry, LAYER))).rejects.toMatchObject({ code: 'unavailable' });
    expect(rig.outgoing).toEqual([]);
    await rig.copy(messageFor(registry, LAYER), { receiveCount: 3, last: true });
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'unavailable' } }]);
  });

  test('an abort is never recorded', async () => {
    await using rig = new Rig();
    const signal = AbortSignal.abort(new DOMException('stop', 'AbortError'));
    await expect(rig.copy(messageFor(registry, LAYER), { signal, last: true })).rejects.toMatchObject({
      code: 'aborted',
    });
    expect(rig.outgoing).toEqual([]);
  });
});

describe('two writers of one blob', () => {
  // A message is delivered twice, and both deliveries start together. Several rounds produce different interleavings.
  test.each(['receipt', 'everything'] as const)('end with one valid object (look %s)', async (look) => {
    for (let round = 0; round < 5; round += 1) {
      await using rig = new Rig({ bufferBytes: 16 * PART });
      const message = messageFor(registry, LAYER, { look });
      const outcomes = await Promise.allSettled([rig.copy(message), rig.copy(message, { receiveCount: 2 })]);
      // A writer that gave up is delivered again.
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') {
          expect((outcome.reason as Failure).remedy).not.toBe('never');
          await rig.copy(message, { receiveCount: 3 });
        }
      await expectStored(rig);
    }
  });

  // The other writer has finished the blob meanwhile.
  test('include one whose upload disappears: it starts over and finds the blob', async () => {
    const store = partStore();
    const faults = new Faults({
      at: 4,
      act: () => {
        void (async () => {
          for await (const upload of store.uploads('')) await store.abortUpload(upload);
          await store.put(KEY, LAYER.blob);
        })();
      },
    });
    await using rig = new Rig({ store: faults.wrap(store) });
    await rig.copy(messageFor(registry, LAYER));
    expect(rig.phases()).toContain('verifying');
    await expectStored(rig);
  });
});

// One image has the blob as a gzip layer, another one as an opaque file. The second fetches it without a lookup.
test('a weaker proof does not replace a stronger receipt', async () => {
  const { port, faults } = countCalls(partStore());
  await using rig = new Rig({ store: port });
  await rig.copy(messageFor(registry, LAYER));
  await rig.copy(messageFor(registry, { ...LAYER, mediaType: 'application/octet-stream' }));
  // The object is written; the second put is refused, and the object is read.
  expect(faults.calls.filter((call) => call.includes('.mirror/receipts'))).toHaveLength(3);
  expect(await rig.archive.receipt(LAYER.digest)).toMatchObject(RECEIPT);
  expect(rig.sent('finalize').every(({ failure }) => failure === undefined)).toBe(true);
});

// The replaced part has another ETag (on S3 with SSE-KMS), so the completion is refused.
test('a part that another writer replaced costs another attempt, and the image does not fail', async () => {
  const store = partStore();
  const complete = store.completeUpload.bind(store);
  let completions = 0;
  store.completeUpload = async (upload, ...rest) => {
    completions += 1;
    if (completions === 1) await store.uploadPart(upload, 1, LAYER.blob.subarray(0, PART));
    return complete(upload, ...rest);
  };
  await using rig = new Rig({ store });
  await rig.copy(messageFor(registry, LAYER));
  expect(completions).toBe(2);
  await expectStored(rig);
});

describe('near the deadline', () => {
  /** An invocation whose time is nearly over after this number of stored parts. */
  function invocation(store: ObjectStore, parts: number): { readonly store: ObjectStore; readonly deadline: Deadline } {
    const { port, faults } = countCalls(store);
    const left = (): number => parts - faults.calls.filter((call) => call.includes('uploadPart')).length;
    return { store: port, deadline: { ...NO_DEADLINE, near: () => left() <= 0 } };
  }

  test('a layer that needs several invocations is completed by continuations, and no range is fetched twice', async () => {
    const store = partStore();
    const phases: string[][] = [];
    for (let message: LayerMessage | undefined = messageFor(registry, LAYER); message !== undefined;) {
      const { store: port, deadline } = invocation(store, 2);
      await using rig = new Rig({ store: port, bufferBytes: PART });
      await rig.copy(message, { deadline });
      const [next] = rig.sent('layer');
      phases.push(rig.phases());
      expect(rig.sent('finalize')).toHaveLength(next === undefined ? 1 : 0);
      if (next !== undefined)
        expect(next).toMatchObject({ continuation: message.continuation + 1, look: 'everything' });
      message = next;
    }
    // Seven parts take three and a half invocations, and the last one has time to read them back.
    expect(phases).toEqual([
      ['started', 'continued'],
      ['started', 'continued'],
      ['started', 'continued'],
      ['started', 'verifying', 'stored'],
    ]);
    expect(ranges().toSorted()).toEqual(Array.from({ length: PARTS }, (_, n) => rangeOf(n + 1)).toSorted());
    await using rig = new Rig({ store });
    expect((await rig.blob(LAYER.digest))?.equals(LAYER.blob)).toBe(true);
    expect(await rig.archive.receipt(LAYER.digest)).toMatchObject(RECEIPT);
    expect(await rig.uploads()).toEqual([]);
  });

  test('a proof that does not fit is left to the next invocation, with its whole time', async () => {
    await using rig = new Rig();
    await begun(rig.store, [2]);
    let reads = 0;
    const deadline = { ...NO_DEADLINE, near: () => rig.phases().includes('verifying') && (reads += 1) > 1 };
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }), { deadline });
    expect(rig.phases()).toEqual(['started', 'verifying', 'continued']);
    expect(await rig.archive.receipt(LAYER.digest)).toBeUndefined();
    await rig.copy(rig.sent('layer')[0]!);
    await expectStored(rig);
  });

  test('a proof that no invocation has time for fails', async () => {
    await using rig = new Rig();
    await rig.store.put(KEY, LAYER.blob);
    const deadline = { ...NO_DEADLINE, near: () => rig.phases().includes('verifying') };
    await rig.copy(messageFor(registry, LAYER, { look: 'everything', continuation: 1 }), { deadline });
    expect(rig.sent('layer')).toEqual([]);
    expect(rig.sent('finalize')).toMatchObject([
      { failure: { code: 'timeout', reason: expect.stringContaining('give the layer function more time') } },
    ]);
  });

  // The time went into a download that another writer overtook at its end.
  test('a proof that started late is left to the next invocation', async () => {
    const store = partStore();
    await begun(store, [2]);
    const [upload] = await Array.fromAsync(store.uploads(''));
    await using rig = new Rig({ store });
    // The other writer's object appears while part 2 is in flight.
    const slow = registry.misbehave({ match: { kind: 'blob' }, times: 1, do: { stallAfter: 10 } });
    const late = { ...NO_DEADLINE, near: () => rig.phases().includes('verifying') };
    const copying = rig.copy(messageFor(registry, LAYER, { look: 'everything' }), { deadline: late });
    await slow.begun;
    await store.put(KEY, LAYER.blob);
    slow.stop();
    await copying;
    expect(upload).toBeDefined();
    expect(rig.sent('finalize')).toEqual([]);
    expect(rig.sent('layer')).toMatchObject([{ continuation: 1 }]);
  });

  // Without ranges, the stored parts do not help the next invocation.
  test('a blob in a single response that no invocation has time for fails', async () => {
    registry.misbehave({ match: { kind: 'blob' }, do: { ignoreRange: true } });
    const store = partStore();
    const first = invocation(store, 2);
    await using one = new Rig({ store: first.store, bufferBytes: PART });
    await one.copy(messageFor(registry, LAYER), first);
    const [next] = one.sent('layer');
    expect(next).toMatchObject({ continuation: 1 });
    const second = invocation(store, 2);
    await using two = new Rig({ store: second.store, bufferBytes: PART });
    await two.copy(next!, second);
    expect(two.sent('layer')).toEqual([]);
    expect(two.sent('finalize')).toMatchObject([{ failure: { code: 'timeout' } }]);
    expect(await two.uploads()).toEqual([]);
  });

  // The registry asks for ten minutes, and the invocation has less. On the last delivery the rate limit is the
  // recorded reason, and not the speed.
  test.each(['receipt', 'everything'] as const)(
    'a rate limit beyond the deadline is thrown with its wait instead of a continuation (%s)',
    async (look) => {
      registry.misbehave({ match: { kind: 'blob' }, do: { status: 429, headers: { 'retry-after': '600' } } });
      let over = new AbortController();
      const sleep = async (ms: number, signal?: AbortSignal): Promise<void> => {
        // This is what AbortSignal.timeout does, in the middle of the wait.
        const clock = over;
        setImmediate(() => clock.abort(new DOMException('over', 'TimeoutError')));
        await realSleep(ms, signal);
      };
      await using rig = new Rig({ registry: { sleep } });
      if (look === 'everything') await begun(rig.store, [2, 3]);
      const before = await rig.uploads();
      for (const continuation of [0, 1]) {
        const message = messageFor(registry, LAYER, { look, continuation });
        over = new AbortController();
        const deadline = { ...NO_DEADLINE, over: over.signal };
        await expect(rig.copy(message, { deadline })).rejects.toMatchObject({
          code: 'rate-limited',
          remedy: 'retry',
          retryAfterMs: 600_000,
        });
      }
      expect(rig.outgoing).toEqual([]);
      expect(await rig.uploads()).toEqual(before);
      over = new AbortController();
      const deadline = { ...NO_DEADLINE, over: over.signal };
      await rig.copy(messageFor(registry, LAYER, { look }), { deadline, receiveCount: 5, last: true });
      expect(rig.sent('finalize')).toMatchObject([
        { failure: { code: 'rate-limited', reason: expect.stringContaining('retry after 10 min') } },
      ]);
      expect(rig.buffers.usedBytes).toBe(0);
    },
  );

  /** An invocation that ends while the registry holds back the rest of a part. Resolves to the next message. */
  async function stall(rig: Rig, message: LayerMessage): Promise<LayerMessage | undefined> {
    const sent = rig.sent('layer').length;
    const slow = registry.misbehave({ match: { kind: 'blob' }, do: { stallAfter: 10 } });
    const over = new AbortController();
    const copying = rig.copy(message, { deadline: { ...NO_DEADLINE, over: over.signal } });
    await slow.begun;
    over.abort(new DOMException('over', 'TimeoutError'));
    await copying;
    slow.stop();
    return rig.sent('layer')[sent];
  }

  // The first invocation is not a continuation. The upload stays, because another message may be filling it.
  test.each([
    ['from its first part on', []],
    ['after some of its parts', [2, 5]],
  ])('a layer that stalls %s fails after two continuations without a new part', async (_when, without) => {
    await using rig = new Rig({ bufferBytes: PART });
    if (without.length > 0) await begun(rig.store, without);
    const parts = async (): Promise<unknown> => (await rig.uploads()).flatMap((upload) => upload.parts);
    const before = await parts();
    const first = await stall(rig, messageFor(registry, LAYER, { look: 'everything' }));
    expect(first).toMatchObject({ continuation: 1 });
    expect(first).not.toHaveProperty('stalled');
    const second = await stall(rig, first!);
    expect(second).toMatchObject({ continuation: 2, stalled: 1 });
    expect(rig.sent('finalize')).toEqual([]);
    expect(await stall(rig, second!)).toBeUndefined();
    const reason = expect.stringContaining(
      '2 continuations in a row stored no new part; check the speed of the registry',
    );
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'timeout', reason } }]);
    expect(rig.phases()).toEqual(['started', 'continued', 'started', 'continued', 'started', 'failed']);
    expect(await parts()).toEqual(before);
    expect(rig.buffers.usedBytes).toBe(0);
  });

  test('stalled continuations are counted from 0 after a continuation that stores a new part', async () => {
    const store = partStore();
    await begun(store, [2, 3, 4]);
    const { store: port, deadline } = invocation(store, 1);
    await using rig = new Rig({ store: port, bufferBytes: PART });
    const stalled = await stall(rig, messageFor(registry, LAYER, { look: 'everything', continuation: 1 }));
    expect(stalled).toMatchObject({ continuation: 2, stalled: 1 });
    await rig.copy(stalled!, { deadline });
    const next = rig.sent('layer').at(-1)!;
    expect(next).toMatchObject({ continuation: 3 });
    expect(next).not.toHaveProperty('stalled');
    expect(await stall(rig, next)).toMatchObject({ continuation: 4, stalled: 1 });
    expect(rig.sent('finalize')).toEqual([]);
  });

  test('stalled continuations are counted from 0 after a continuation that stores the first parts', async () => {
    const { store, deadline } = invocation(partStore(), 2);
    await using rig = new Rig({ store, bufferBytes: PART });
    const message = messageFor(registry, LAYER, { look: 'everything', continuation: 2 });
    await rig.copy({ ...message, stalled: 1 }, { deadline });
    expect(rig.sent('finalize')).toEqual([]);
    expect(rig.sent('layer')).toMatchObject([{ continuation: 3 }]);
    expect(rig.sent('layer')[0]).not.toHaveProperty('stalled');
  });

  test('a layer that stores one part per invocation continues until all its parts are stored', async () => {
    const store = partStore();
    let last = 0;
    for (let message: LayerMessage | undefined = messageFor(registry, LAYER); message !== undefined;) {
      const { store: port, deadline } = invocation(store, 1);
      await using rig = new Rig({ store: port, bufferBytes: PART });
      await rig.copy(message, { deadline });
      last = message.continuation;
      [message] = rig.sent('layer');
      if (message !== undefined) expect(message).not.toHaveProperty('stalled');
    }
    // The continuation that stores the last part leaves the proof to the next one.
    expect(last).toBe(PARTS);
    await using rig = new Rig({ store });
    expect(await rig.archive.receipt(LAYER.digest)).toMatchObject(RECEIPT);
  });

  test('a blob that is never completed fails after the maximum number of continuations', async () => {
    await using rig = new Rig();
    await begun(rig.store, [2]);
    const deadline = { ...NO_DEADLINE, near: () => true };
    await rig.copy(messageFor(registry, LAYER, { look: 'everything', continuation: 200 }), { deadline });
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'timeout' } }]);
    expect(await rig.uploads()).toEqual([]);
  });
});

describe('a repeated message finishes the blob after any call has failed', () => {
  test.each(['before', 'after'] as const)('whether the call fails before or after its effect: %s', async (when) => {
    for (const found of ['nothing', 'upload'] as const)
      for (let at = 1; ; at += 1) {
        const store = partStore();
        if (found === 'upload') await begun(store, [2, 4]);
        const act = new Failure({ operation: 'test', side: 'archive', code: 'io', detail: 'on purpose' });
        const faults = new Faults({ at, when, act });
        await using rig = new Rig({ store: faults.wrap(store, 'store') });
        await using after = new Rig({ store });
        const message = messageFor(registry, LAYER, { look: found === 'nothing' ? 'receipt' : 'everything' });
        const failed = await rig.copy(message).then(
          () => false,
          (error: unknown) => error instanceof Failure,
        );
        expect(rig.buffers.usedBytes).toBe(0);
        // Invariant 2: a receipt exists only with a proof.
        if ((await after.archive.receipt(LAYER.digest)) !== undefined)
          expect((await after.blob(LAYER.digest))?.equals(LAYER.blob)).toBe(true);
        if (!faults.fired) break;
        if (failed) await rig.copy(message, { receiveCount: 2 });
        expect((await after.blob(LAYER.digest))?.equals(LAYER.blob), `${at} ${faults.calls[at - 1] ?? ''}`).toBe(true);
        expect(await after.archive.receipt(LAYER.digest)).toMatchObject(RECEIPT);
        expect(await after.uploads()).toEqual([]);
        expect(rig.sent('finalize')).toMatchObject([{ image: { tag: '3.20' } }]);
      }
  });
});

// A Docker schema 1 layer has no declared size.
test('a blob of unknown size and a blob with a sha512 digest are mirrored', async () => {
  await using rig = new Rig();
  await rig.copy(messageFor(registry, LAYER, { size: null }));
  await expectStored(rig);
  const digest = digestOf(LAYER.blob, 'sha512');
  registry.pushBlob(digest, LAYER.blob);
  await rig.copy(messageFor(registry, { ...LAYER, digest }));
  expect(await rig.archive.receipt(digest)).toMatchObject({ ...RECEIPT, digest });
});
