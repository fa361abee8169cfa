import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { Failure } from '../../../lib/core/failure.ts';
import { cachedReader } from '../../../lib/sync/cached-reader.ts';
import { receiptReader } from '../../../lib/sync/receipt-reader.ts';
import { findReport, writeReport } from '../../../lib/sync/reports.ts';
import type { ImageEvent } from '../../../lib/sync/events.ts';
import { finalize } from '../../../lib/sync/finalizer/finalize.ts';
import { parsePlatform } from '../../../lib/oci/platform.ts';
import type { FinalizeMessage, Image as Found } from '../../../lib/queue/messages.ts';
import { finalizeMessage, resolveMessage } from '../../../lib/queue/outgoing.ts';
import { countCalls, failNth } from '../../kit/faults.ts';
import { makeArtifact, makeImage, makeIndex, makeLayer, type Pushable } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { sha256 } from '../../kit/content.ts';
import { orderFor, receiptOf, Rig } from './rig.ts';

const BASE = makeLayer({ seed: 1, size: 9000 });
const TOP = makeLayer({ seed: 2, size: 100 });
const IMAGE = makeImage({ layers: [BASE, TOP] });
const SMALL = makeImage({ layers: [BASE] });
const HOST = { host: 'registry.example' };
const REPOSITORY = 'registry.example/library/app';

/** Everything below a manifest is in the archive, with a receipt for each layer of `layers`. */
async function fill(rig: Rig, thing: Pushable, layers: readonly ReturnType<typeof makeLayer>[]): Promise<void> {
  await rig.archive.putContent(thing.digest, thing.manifest);
  for (const child of thing.children) await fill(rig, child, []);
  for (const [digest, bytes] of thing.blobs) await rig.archive.putContent(digest, bytes);
  for (const layer of layers) await rig.archive.putReceipt(receiptOf(layer));
}

function told(thing: Pushable, image: Partial<Found> = {}, order: Partial<FinalizeMessage> = {}): FinalizeMessage {
  const { digest, mediaType, manifest } = thing;
  const found: Found = { digest, mediaType, size: manifest.length, tag: 'v1', observed: 1000, ...image };
  return finalizeMessage({ ...orderFor(HOST), ...order }, found, 'resolver').message;
}

async function tagOf(rig: Rig, tag = 'v1') {
  return (await rig.archive.tagIndex(REPOSITORY))?.index.byTag(tag);
}

describe('a reference', () => {
  test('is written when everything below it is stored and proven', async () => {
    await using rig = new Rig();
    await fill(rig, IMAGE, [BASE, TOP]);
    await rig.finalize([told(IMAGE)]);
    expect(await tagOf(rig)).toMatchObject({ digest: IMAGE.digest, observed: 1000, platforms: 'all' });
    expect(rig.records).toMatchObject([{ status: 'mirrored', tag: 'v1', digest: IMAGE.digest }]);
  });

  // The closure lacks one object at a time. The message is dropped silently where another one comes for a missing blob.
  test('is not written while any part of its closure is missing', async () => {
    const multi = makeIndex([IMAGE]);
    const documents: readonly string[] = [multi.digest, IMAGE.digest, sha256(IMAGE.config)];
    const all = [multi.digest, IMAGE.digest, ...IMAGE.blobs.keys()];
    expect(all).toHaveLength(5);
    for (const missing of all) {
      await using rig = new Rig();
      await fill(rig, multi, [BASE, TOP]);
      await rig.store.delete(rig.archive.layout.blob(missing));
      await rig.store.delete(rig.archive.layout.receipt(missing));
      await rig.finalize([told(multi)]);
      expect(await rig.archive.tagIndex(REPOSITORY)).toBeUndefined();
      const reason = expect.stringContaining(`${missing} was found damaged, and removed meanwhile`) as string;
      expect(rig.records).toMatchObject(
        documents.includes(missing) ? [{ status: 'failed', code: 'corrupt', reason }] : [],
      );
    }
  });

  // The resolver looked for the receipt after the observation, at 1000.
  test.each([
    ['fails', 'after', 1000, ['failed']],
    ['waits for its layer', 'before', 999, []],
  ])('of an image %s where a receipt was revoked %s the resolver looked', async (_, __, revoked, statuses) => {
    for (const largest of [undefined, BASE.digest]) {
      await using rig = new Rig();
      await fill(rig, IMAGE, [BASE, TOP]);
      const { etag } = (await rig.archive.findReceipt(BASE.digest))!;
      await rig.archive.revokeReceipt(BASE.digest, etag, revoked);
      await rig.finalize([told(IMAGE, largest === undefined ? {} : { largest })]);
      expect(rig.records.map((record) => 'status' in record && record.status)).toEqual(statuses);
      expect(await rig.archive.tagIndex(REPOSITORY)).toBeUndefined();
    }
  });

  // The repair happens between the check of the closure and the write, in a repository with and without a tag index.
  test.each([true, false])(
    'is not written where a repair takes a blob away after the check (index: %s)',
    async (is) => {
      const store = new MemoryStore();
      let reads = 0;
      const repair = async (): Promise<void> => {
        const archive = new Archive(store, ociLayout);
        const { etag } = (await archive.findReceipt(TOP.digest))!;
        await archive.revokeReceipt(TOP.digest, etag, 2000);
        for (const repository of await archive.markedRepositories())
          await archive.dropReferences(repository, new Set(), 2000);
      };
      const beside = new Proxy(store, {
        get(_, name) {
          const value: unknown = Reflect.get(store, name, store);
          if (name !== 'get') return typeof value === 'function' ? (value.bind(store) as unknown) : value;
          return async (key: string, options: { readonly maxBytes: number }) => {
            const found = await store.get(key, options);
            if (key === ociLayout.receipt(TOP.digest) && (reads += 1) === 1) await repair();
            return found;
          };
        },
      });
      await using rig = new Rig({ store: beside });
      await fill(rig, IMAGE, [BASE, TOP]);
      if (is) {
        await fill(rig, SMALL, []);
        await rig.finalize([told(SMALL, { tag: 'small' })]);
      }
      await rig.finalize([told(IMAGE)]);
      expect(reads).toBe(2);
      expect(rig.records.slice(is ? 1 : 0)).toMatchObject([{ status: 'failed', code: 'corrupt' }]);
      expect(await tagOf(rig)).toBeUndefined();
    },
  );

  test('is written for the chosen platforms, although others are missing', async () => {
    const arm = makeImage({ layers: [makeLayer({ seed: 3 })], platform: parsePlatform('linux/arm64') });
    const multi = makeIndex([IMAGE, arm]);
    await using rig = new Rig();
    await rig.archive.putContent(multi.digest, multi.manifest);
    await fill(rig, IMAGE, [BASE, TOP]);
    const platforms = [parsePlatform('linux/amd64')];
    await rig.finalize([told(multi, {}, { platforms })]);
    expect(await tagOf(rig)).toMatchObject({ digest: multi.digest, platforms });
    // The tag does not become complete with all platforms.
    await rig.finalize([told(multi, { observed: 2000 })]);
    expect(await tagOf(rig)).toMatchObject({ platforms });
  });

  test('is written without a tag for an image that was requested by digest', async () => {
    await using rig = new Rig();
    await fill(rig, IMAGE, [BASE, TOP]);
    const { tag, ...image } = told(IMAGE).image as Found;
    expect(tag).toBe('v1');
    await rig.finalize([finalizeMessage(orderFor(HOST), image, 'resolver').message]);
    expect((await rig.archive.tagIndex(REPOSITORY))!.index.entries()).toMatchObject([
      { tag: undefined, digest: IMAGE.digest },
    ]);
  });
});

describe('the notes of an image', () => {
  test('are in its result and in its report, each once', async () => {
    await using rig = new Rig();
    await fill(rig, IMAGE, [BASE, TOP]);
    await rig.finalize([told(IMAGE, { notes: ['first', 'second', 'first'] })]);
    expect(rig.records).toMatchObject([{ status: 'mirrored', notes: ['first', 'second'] }]);
    expect(rig.records[0]).not.toHaveProperty('reason');
    const [event] = rig.records;
    await writeReport(rig.archive, event!, 0);
    expect(await findReport(rig.archive, event!)).toMatchObject({ report: { notes: ['first', 'second'] } });
  });

  test('are limited to sixteen, with a count of the others', async () => {
    await using rig = new Rig();
    await fill(rig, IMAGE, [BASE, TOP]);
    await rig.finalize([told(IMAGE, { notes: Array.from({ length: 20 }, (_, at) => `note ${at}`) })]);
    expect(rig.records[0]?.notes).toHaveLength(17);
    expect(rig.records[0]?.notes?.at(-1)).toBe('and 4 more');
  });
});

describe('a moved tag', () => {
  const next = makeImage({ layers: [BASE], overrides: { config: { config: { User: 'app' } } } });

  async function moved(rig: Rig): Promise<void> {
    await fill(rig, IMAGE, [BASE, TOP]);
    await fill(rig, next, [BASE]);
    await rig.finalize([told(IMAGE)]);
    rig.records.length = 0;
  }

  test('has the difference from the previous image in its result and in its report', async () => {
    await using rig = new Rig();
    await moved(rig);
    await rig.finalize([told(next, { observed: 61_000 })]);
    const changes = {
      from: '1970-01-01T00:00:01.000Z',
      to: '1970-01-01T00:01:01.000Z',
      layers: { shared: 1, added: 0, removed: 1 },
      settings: [{ platforms: ['linux/amd64'], user: { from: null, to: 'app' }, command: { to: null } }],
    };
    expect(rig.records).toMatchObject([{ status: 'mirrored', previous: IMAGE.digest, changes }]);
    const [event] = rig.records;
    await writeReport(rig.archive, event!, 0);
    expect(await findReport(rig.archive, event!)).toMatchObject({ report: { changes } });
    // The process ended before it recorded the result, and the message is delivered again.
    await rig.finalize([told(next, { observed: 61_000 })]);
    expect(rig.records[1]).toEqual(rig.records[0]);
  });

  test('is mirrored even if its images cannot be compared', async () => {
    await using rig = new Rig();
    await moved(rig);
    const reader = receiptReader(rig.archive, new AbortController().signal);
    const content: typeof reader.content = (digest, limit) =>
      digest === IMAGE.digest ? Promise.reject(new Error('no connection')) : reader.content(digest, limit);
    const record = (event: ImageEvent): Promise<void> => Promise.resolve(void rig.records.push(event));
    const options = { signal: AbortSignal.timeout(60_000), reader: cachedReader({ ...reader, content }) };
    await finalize({ archive: rig.archive, record }, [told(next, { observed: 61_000 })], options);
    expect(rig.records).toMatchObject([{ status: 'mirrored', previous: IMAGE.digest }]);
    expect(rig.records[0]).not.toHaveProperty('changes');
    expect(await tagOf(rig)).toMatchObject({ digest: next.digest });
  });
});

describe('a record that fails', () => {
  test('stops neither other records nor tags, and the batch is delivered again', async () => {
    await using rig = new Rig();
    await fill(rig, IMAGE, [BASE, TOP]);
    const failed = finalizeMessage(orderFor(HOST), { tag: 'bad' }, 'resolver', {
      code: 'denied',
      reason: 'no',
    }).message;
    const recorded: (string | undefined)[] = [];
    const done = finalize(
      {
        archive: rig.archive,
        record: ({ tag }) => {
          recorded.push(tag);
          return tag === 'v2' ? Promise.resolve() : Promise.reject(new Error(`no record of ${tag}`));
        },
      },
      [failed, told(IMAGE), told(IMAGE, { tag: 'v2' })],
      { signal: AbortSignal.timeout(60_000) },
    );
    await expect(done).rejects.toThrow('no record of bad');
    expect(recorded).toEqual(['bad', 'v1', 'v2']);
    expect(await tagOf(rig, 'v2')).toMatchObject({ digest: IMAGE.digest });
  });
});

describe('requests to the store', () => {
  // There is one message per layer, and all but the last are early. The largest blob is looked up first.
  test('an early message costs one request', async () => {
    const { port, faults } = countCalls(new MemoryStore());
    await using rig = new Rig({ store: port });
    await fill(rig, IMAGE, [TOP]);
    const before = faults.calls.length;
    await rig.finalize([told(IMAGE, { largest: BASE.digest })]);
    expect(faults.calls.slice(before)).toEqual([expect.stringContaining('.mirror/receipts/')]);
  });

  test('the largest blob is looked up first, even if no message names it', async () => {
    const image = makeImage({ layers: [TOP, BASE] });
    const { port, faults } = countCalls(new MemoryStore());
    await using rig = new Rig({ store: port });
    await fill(rig, image, [TOP]);
    const before = faults.calls.length;
    await rig.finalize([told(image)]);
    expect(faults.calls.slice(before)).toEqual([
      `port.get ${rig.archive.layout.tagIndex(REPOSITORY)}`,
      `port.put ${rig.archive.layout.marker(REPOSITORY).key}`,
      expect.stringContaining(rig.archive.layout.blob(image.digest)),
      expect.stringContaining(rig.archive.layout.blob(sha256(image.config))),
      expect.stringContaining(rig.archive.layout.receipt(BASE.digest)),
    ]);
  });

  // The resolver orders the smallest blob last. While it is missing, the others need not be read.
  test('an early message of an image with many layers costs few requests', async () => {
    const layers = Array.from({ length: 30 }, (_, n) =>
      makeLayer({ files: [{ path: `f${n}`, content: randomBytes(600 * n) }] }),
    );
    const [smallest] = layers;
    const image = makeImage({ layers });
    const { port, faults } = countCalls(new MemoryStore());
    await using rig = new Rig({ store: port });
    await fill(rig, image, layers.slice(1));
    const before = faults.calls.length;
    await rig.finalize([told(image)]);
    const receipts = faults.calls.slice(before).filter((call) => call.includes('.mirror/receipts/'));
    expect(receipts).toHaveLength(2);
    expect(receipts[1]).toContain(rig.archive.layout.receipt(smallest!.digest));
  });

  test('many tags of one repository are committed in one write', async () => {
    const { port, faults } = countCalls(new MemoryStore());
    await using rig = new Rig({ store: port });
    await fill(rig, IMAGE, [BASE, TOP]);
    const before = faults.calls.length;
    await rig.finalize(Array.from({ length: 50 }, (_, n) => told(IMAGE, { tag: `v${n}` })));
    expect(
      faults.calls.slice(before).filter((call) => call.includes('.put') && call.includes('index.json')),
    ).toHaveLength(1);
    expect(rig.records).toHaveLength(50);
    expect((await rig.archive.tagIndex(REPOSITORY))!.index.entries()).toHaveLength(50);
  });

  // Finalizers get one message per layer.
  test('a cached reader reads existing objects once, and missing ones again', async () => {
    const { port, faults } = countCalls(new MemoryStore());
    await using rig = new Rig({ store: port });
    await fill(rig, IMAGE, [BASE]);
    const signal = new AbortController().signal;
    const reader = cachedReader(receiptReader(rig.archive, signal));
    const run = (): Promise<void> => finalize(rig.context, [told(IMAGE, { largest: BASE.digest })], { signal, reader });
    await run();
    expect(rig.records).toEqual([]);
    await new Archive(port, ociLayout).putReceipt(receiptOf(TOP));
    const before = faults.calls.length;
    await run();
    expect(rig.records).toMatchObject([{ status: 'mirrored' }]);
    const reads = faults.calls.slice(before).filter((call) => call.includes('.get'));
    // The receipt of the largest blob was read before the reader knew a version of the index. The condition of the write
    // replaces another read of the tag index.
    const { layout } = rig.archive;
    expect(reads.map((call) => call.replace(/^port\.get /, '')).sort()).toEqual(
      [layout.tagIndex(REPOSITORY), layout.receipt(BASE.digest), layout.receipt(TOP.digest)].sort(),
    );
  });
});

describe('an image that cannot be valid is recorded as failed, and the others are written', () => {
  const good = makeImage({ layers: [TOP] });

  test.each<[string, string, (rig: Rig) => Promise<FinalizeMessage>]>([
    [
      'another diffID than the config says',
      'diffid-mismatch',
      async (rig) => {
        await fill(rig, IMAGE, [TOP]);
        await rig.archive.putReceipt(receiptOf(BASE, { diffIds: { sha256: TOP.diffId } }));
        return told(IMAGE);
      },
    ],
    [
      'diffIDs in another order',
      'diffid-mismatch',
      async (rig) => {
        const swapped = makeImage({ layers: [BASE, TOP], overrides: { diffIds: [TOP.diffId, BASE.diffId] } });
        await fill(rig, swapped, [BASE, TOP]);
        return told(swapped);
      },
    ],
    [
      'fewer diffIDs than layers',
      'layers-mismatch',
      async (rig) => {
        const fewer = makeImage({ layers: [BASE, TOP], overrides: { diffIds: [BASE.diffId] } });
        await fill(rig, fewer, [BASE, TOP]);
        return told(fewer);
      },
    ],
    [
      'a blob of another size than its descriptor says',
      'size-mismatch',
      async (rig) => {
        await fill(rig, IMAGE, [TOP]);
        await rig.archive.putReceipt(receiptOf(BASE, { size: BASE.size + 1 }));
        return told(IMAGE);
      },
    ],
    [
      'a blob that is proven to be compressed otherwise, where media types are strict',
      'not-as-declared',
      async (rig) => {
        await fill(rig, IMAGE, [TOP]);
        await rig.archive.putReceipt(receiptOf(BASE, { compression: 'zstd' }));
        return told(IMAGE, {}, { strictMediaTypes: true });
      },
    ],
    [
      'a corrupt manifest',
      'corrupt',
      async (rig) => {
        await fill(rig, IMAGE, [BASE, TOP]);
        await rig.store.put(rig.archive.layout.blob(IMAGE.digest), Buffer.from('corrupt'));
        return told(IMAGE);
      },
    ],
    [
      'an index that is nested too deep',
      'too-deep',
      async (rig) => {
        const deep = makeIndex([makeIndex([makeIndex([makeIndex([IMAGE])])])]);
        await fill(rig, deep, [BASE, TOP]);
        return told(deep);
      },
    ],
  ])('because of %s: %s', async (_, code, prepare) => {
    await using rig = new Rig();
    const bad = await prepare(rig);
    await fill(rig, good, [TOP]);
    await rig.finalize([{ ...bad, image: { ...bad.image, tag: 'bad' } }, told(good, { tag: 'good' })]);
    expect(rig.records).toMatchObject([
      { tag: 'bad', status: 'failed', code, reason: expect.stringContaining(`${REPOSITORY}:bad`) },
      { tag: 'good', status: 'mirrored' },
    ]);
    expect(await tagOf(rig, 'bad')).toBeUndefined();
    expect(await tagOf(rig, 'good')).toMatchObject({ digest: good.digest });
  });

  test('the failure of a layer is recorded, even if its other layers arrive', async () => {
    const failure = { code: 'digest-mismatch', reason: 'copy blob sha256:…: it is another' };
    for (const order of ['first', 'last'] as const) {
      await using rig = new Rig();
      await fill(rig, IMAGE, [BASE, TOP]);
      const failed = { ...told(IMAGE), failure };
      await rig.finalize(order === 'first' ? [failed, told(IMAGE)] : [told(IMAGE), failed]);
      expect(rig.records).toMatchObject([{ status: 'failed', ...failure }]);
      expect(await tagOf(rig)).toBeUndefined();
    }
  });

  test('the failure of the resolver is recorded without a digest', async () => {
    await using rig = new Rig();
    const failure = { code: 'manifest-unknown', reason: 'resolve: unknown' };
    await rig.finalize([finalizeMessage(orderFor(HOST), { tag: 'v1' }, 'resolver', failure).message]);
    expect(rig.records).toMatchObject([{ status: 'failed', tag: 'v1', digest: undefined, ...failure }]);
  });
});

describe('a temporary failure of any call', () => {
  test('is thrown, and the next delivery writes the tag', async () => {
    for (let at = 1; ; at += 1) {
      const store = new MemoryStore();
      await using filled = new Rig({ store });
      await fill(filled, makeIndex([IMAGE]), []);
      for (const layer of [BASE, TOP]) await filled.archive.putReceipt(receiptOf(layer));
      const error = new Failure({ operation: 'test', side: 'archive', code: 'io', detail: 'on purpose' });
      const { port, faults } = failNth(store, at, error);
      await using rig = new Rig({ store: port });
      const outcome = await rig.finalize([told(makeIndex([IMAGE]))]).catch((thrown: unknown) => thrown);
      if (!faults.fired) break;
      expect(outcome).toMatchObject({ code: 'io' });
      expect(rig.records).toEqual([]);
      await filled.finalize([told(makeIndex([IMAGE]))]);
      expect(filled.records).toMatchObject([{ status: 'mirrored' }]);
      expect(await tagOf(filled)).toBeDefined();
    }
  });
});

describe('messages that are repeated or reordered', () => {
  test('change nothing', async () => {
    const { port, faults } = countCalls(new MemoryStore());
    await using rig = new Rig({ store: port });
    await fill(rig, IMAGE, [BASE, TOP]);
    await rig.finalize([told(IMAGE)]);
    const before = faults.calls.length;
    await rig.finalize([told(IMAGE), told(IMAGE)]);
    // It is reported again, because the first report may have been lost.
    expect(rig.records.map(({ status }) => status)).toEqual(['mirrored', 'mirrored']);
    expect(rig.again).toEqual([false, true]);
    expect(faults.calls.slice(before).filter((call) => call.includes('.put'))).toEqual([]);
    expect((await rig.archive.tagIndex(REPOSITORY))!.index.entries()).toHaveLength(1);
  });

  test.each([[[1000, 2000]], [[2000, 1000]]])('leave the tag at its latest observation: %j', async (times) => {
    const newer = makeImage({ layers: [TOP] });
    await using rig = new Rig();
    await fill(rig, IMAGE, [BASE, TOP]);
    await fill(rig, newer, [TOP]);
    for (const observed of times) await rig.finalize([told(observed === 2000 ? newer : IMAGE, { observed })]);
    expect(await tagOf(rig)).toMatchObject({ digest: newer.digest, observed: 2000 });
    // The record of the older request says why its tag is missing.
    expect(rig.records.map(({ code }) => code)).toEqual([undefined, times[1] === 1000 ? 'overtaken' : undefined]);
    expect((await rig.archive.tagIndex(REPOSITORY))!.index.byDigest(IMAGE.digest)).toMatchObject({ hadTag: 'v1' });
  });

  test('leave the tag at its latest observation within one batch', async () => {
    const newer = makeImage({ layers: [TOP] });
    await using rig = new Rig();
    await fill(rig, IMAGE, [BASE, TOP]);
    await fill(rig, newer, [TOP]);
    await rig.finalize([told(newer, { observed: 2000 }), told(IMAGE, { observed: 1000 })]);
    expect(await tagOf(rig)).toMatchObject({ digest: newer.digest });
  });

  test('of two concurrent writers keep both tags', async () => {
    const store = new MemoryStore();
    await using one = new Rig({ store });
    await using two = new Rig({ store });
    await fill(one, IMAGE, [BASE, TOP]);
    await Promise.all([one.finalize([told(IMAGE, { tag: 'a' })]), two.finalize([told(IMAGE, { tag: 'b' })])]);
    expect([await tagOf(one, 'a'), await tagOf(one, 'b')]).toMatchObject([{ tag: 'a' }, { tag: 'b' }]);
  });

  test('of two repositories are written separately', async () => {
    await using rig = new Rig();
    await expect(rig.finalize([told(IMAGE), told(IMAGE, {}, { repository: 'r.example/other' })])).rejects.toThrow(
      RangeError,
    );
    await rig.finalize([]);
  });
});

// A signature's blob has the same bytes as a gzip layer.
test('a blob that is an opaque blob in one image and a layer in another is proven as both', async () => {
  const asFile = makeArtifact({ blobs: [BASE.blob] });
  const asLayer = makeImage({ layers: [BASE] });
  await using rig = new Rig();
  await fill(rig, asLayer, []);
  await fill(rig, asFile, []);
  const { compression: _, ...opaque } = receiptOf(BASE, { diffIds: {} });
  await rig.archive.putReceipt(opaque);
  const empty = [...asFile.blobs.keys()][0]!;
  await rig.archive.putReceipt({ ...opaque, digest: empty, size: 2 });
  await rig.finalize([told(asFile, { tag: 'file' }), told(asLayer, { tag: 'layer' })]);
  expect([await tagOf(rig, 'file'), await tagOf(rig, 'layer')]).toMatchObject([{ tag: 'file' }, undefined]);
  // The finalizer asks the layer function for the proof, which then sends a finalize message.
  expect(rig.records).toMatchObject([{ tag: 'file', status: 'mirrored' }]);
  await rig.archive.putReceipt(receiptOf(BASE));
  await rig.finalize([told(asFile, { tag: 'again' }), told(asLayer, { tag: 'layer' })]);
  expect([await tagOf(rig, 'again'), await tagOf(rig, 'layer')]).toMatchObject([{ tag: 'again' }, { tag: 'layer' }]);
});

describe('a run with every message delivered twice, and layers in reverse', () => {
  let registry: TestRegistry;
  beforeEach(async () => {
    registry = await startRegistry();
  });
  afterEach(() => registry.close());

  test('mirrors the image without duplicates', async () => {
    const arm = makeImage({ layers: [BASE, makeLayer({ seed: 7 })], platform: parsePlatform('linux/arm64') });
    registry.push('library/app', makeIndex([IMAGE, arm]), 'multi');
    registry.push('library/app', IMAGE, 'v1');
    await using rig = new Rig();
    const order = { ...orderFor(registry), repository: REPOSITORY };
    const { message } = resolveMessage(order, { kind: 'images', images: [{ tag: 'multi' }, { tag: 'v1' }] });
    await rig.resolve(message);
    await rig.resolve(message);
    const layers = rig.sent('layer');
    for (const layer of layers.toReversed()) await rig.copy(layer);
    for (const layer of layers) await rig.copy(layer, { receiveCount: 2 });
    const done = rig.sent('finalize');
    for (const one of [...done.toReversed(), ...done]) await rig.finalize([one]);
    const entries = (await rig.archive.tagIndex(REPOSITORY))!.index.entries();
    expect(entries.map(({ tag }) => tag)).toEqual(['multi', 'v1']);
    expect(new Set(rig.records.map(({ status }) => status))).toEqual(new Set(['mirrored']));
    expect(registry.count({ kind: 'blob', digest: BASE.digest })).toBe(1);
  });
});
