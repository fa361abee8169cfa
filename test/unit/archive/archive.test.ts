import { describe, expect, test } from 'vitest';
import { Archive } from '../../../lib/archive/archive.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { type Receipt, serialiseReceipt } from '../../../lib/archive/receipt.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import type { ObjectStore } from '../../../lib/store/store.ts';
import type { TagChange } from '../../../lib/archive/tag-index/tag-index.ts';
import { hasContent } from '../../kit/has-content.ts';
import { MemoryStore } from '../../kit/memory-store.ts';

const REPOSITORY = 'docker.io/library/alpine';
const INDEX = ociLayout.tagIndex(REPOSITORY);
const bytes = Buffer.from('content');
const digest = digestOf(bytes);

function open(store: ObjectStore = new MemoryStore()): { archive: Archive; store: ObjectStore } {
  return { archive: new Archive(store, ociLayout), store };
}

function saw(tag: string, image: string, observed: number): TagChange {
  const descriptor = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: digestOf(Buffer.from(image)),
    size: 1,
  };
  return { tag, descriptor, observed, platforms: 'all' };
}

/** The store, with the keys of all puts in order; `before` runs before each put. */
function watched(before: (key: string, memory: MemoryStore) => Promise<void> = () => Promise.resolve()): {
  store: ObjectStore;
  puts: string[];
} {
  const memory = new MemoryStore();
  const puts: string[] = [];
  const store = new Proxy<ObjectStore>(memory, {
    get(target, name) {
      if (name === 'put')
        return async (...args: Parameters<ObjectStore['put']>) => {
          await before(args[0], memory);
          puts.push(args[0]);
          return memory.put(...args);
        };
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  return { store, puts };
}

describe('content', () => {
  test('can be read after it was put, with either digest algorithm', async () => {
    const { archive } = open();
    for (const algorithm of ['sha256', 'sha512'] as const) {
      const name = digestOf(bytes, algorithm);
      expect(await archive.content(name, { maxBytes: 100 })).toBeUndefined();
      expect(await hasContent(archive, name)).toBe(false);
      await archive.putContent(name, bytes);
      await archive.putContent(name, bytes);
      expect(await hasContent(archive, name)).toBe(true);
      expect(Buffer.from((await archive.content(name, { maxBytes: 100 })) ?? [])).toEqual(bytes);
    }
  });

  test('is not stored if the bytes do not match the digest', async () => {
    const { archive, store } = open();
    await expect(archive.putContent(digest, Buffer.from('other'))).rejects.toMatchObject({
      code: 'digest-mismatch',
      side: 'archive',
    });
    expect(await store.head(ociLayout.blob(digest))).toBeUndefined();
  });

  test('is not returned if the stored bytes are corrupt, and putting the right bytes repairs it', async () => {
    const { archive, store } = open();
    await store.put(ociLayout.blob(digest), Buffer.from('cOntent'));
    await expect(archive.content(digest, { maxBytes: 100 })).rejects.toMatchObject({
      code: 'corrupt',
      side: 'archive',
      remedy: 'never',
    });
    await archive.putContent(digest, bytes);
    expect(await archive.content(digest, { maxBytes: 100 })).toHaveLength(7);
    await expect(archive.content(digest, { maxBytes: 6 })).rejects.toMatchObject({ code: 'too-large' });
  });
});

describe('receipts', () => {
  const receipt: Receipt = {
    version: 1,
    digest,
    size: 7,
    diffIds: {},
    source: REPOSITORY,
    verifiedAt: '2026-01-31T00:00:00.000Z',
  };

  test('can be read after they were put', async () => {
    const { archive } = open();
    expect(await archive.receipt(digest)).toBeUndefined();
    await archive.putReceipt(receipt);
    await archive.putReceipt(receipt);
    expect(await archive.receipt(digest)).toEqual(receipt);
  });

  // The bytes are a gzip layer in one image and an opaque file in another. Both stay proven in either order.
  test('keep the stronger of two proofs, and are not rewritten without a new proof', async () => {
    const layer: Receipt = { ...receipt, diffIds: { sha256: digestOf(Buffer.from('unpacked')) }, compression: 'gzip' };
    for (const order of [
      [receipt, layer, receipt],
      [layer, receipt, layer],
    ]) {
      const { store, puts } = watched();
      const { archive } = open(store);
      for (const one of order) await archive.putReceipt({ ...one, verifiedAt: new Date(puts.length).toISOString() });
      expect(await archive.receipt(digest)).toMatchObject({ compression: 'gzip', diffIds: layer.diffIds });
    }
  });

  test('are read again after a conflict with another writer', async () => {
    const layer: Receipt = { ...receipt, diffIds: { sha256: digestOf(Buffer.from('unpacked')) }, compression: 'gzip' };
    const { store } = open();
    const { archive } = open(store);
    await archive.putReceipt(receipt);
    const get = store.get.bind(store);
    store.get = async (...args) => {
      const found = await get(...args);
      store.get = get;
      await store.put(ociLayout.receipt(digest), serialiseReceipt(layer));
      return found;
    };
    await archive.putReceipt({ ...layer, source: 'example.com/other' });
    expect(await archive.receipt(digest)).toEqual(layer);
  });

  test('replace an unreadable receipt', async () => {
    const { archive, store } = open();
    await store.put(ociLayout.receipt(digest), Buffer.from('{"version":'));
    await archive.putReceipt(receipt);
    expect(await archive.receipt(digest)).toEqual(receipt);
  });

  test('that name another blob are not receipts', async () => {
    const { archive, store } = open();
    const other = JSON.stringify({ ...receipt, digest: digestOf(Buffer.from('other')) });
    await store.put(ociLayout.receipt(digest), Buffer.from(other));
    expect(await archive.receipt(digest)).toBeUndefined();
  });
});

describe('the tag index', () => {
  test('is parsed once per version', async () => {
    const { archive, store } = open();
    const other = new Archive(store, ociLayout);
    await archive.updateTags(REPOSITORY, [saw('v1', 'one', 1)]);
    const first = await archive.tagIndex(REPOSITORY);
    expect((await archive.tagIndex(REPOSITORY))?.index).toBe(first?.index);
    await other.updateTags(REPOSITORY, [saw('v1', 'two', 2)]);
    const second = await archive.tagIndex(REPOSITORY);
    expect(second?.index.byTag('v1')?.digest).toBe(digestOf(Buffer.from('two')));
    expect((await archive.tagIndex('docker.io/library/other'))?.index).toBeUndefined();
    await archive.updateTags(REPOSITORY, [saw('v2', 'three', 3)]);
    expect((await other.tagIndex(REPOSITORY))?.index.byTag('v2')).toBeDefined();
  });

  test('is parsed once for concurrent readers of one version', async () => {
    const { archive, store } = open();
    await archive.updateTags(REPOSITORY, [saw('v1', 'first', 1_000)]);
    const other = new Archive(store, ociLayout);
    const [first, ...others] = await Promise.all([1, 2, 3].map(() => other.tagIndex(REPOSITORY)));
    expect(first?.index.byTag('v1')).toBeDefined();
    for (const each of others) expect(each?.index).toBe(first?.index);
  });

  test('gets the layout marker before the first reference, and is not written without a change', async () => {
    const { store, puts } = watched();
    const { archive } = open(store);
    expect(await archive.tagIndex(REPOSITORY)).toBeUndefined();
    expect(await archive.updateTags(REPOSITORY, [])).toEqual([]);
    expect(puts).toEqual([]);
    expect(await archive.updateTags(REPOSITORY, [saw('v1', 'a', 2), saw('v1', 'b', 1)])).toEqual([
      { outcome: 'written' },
      { outcome: 'older' },
    ]);
    expect(puts).toEqual([ociLayout.marker(REPOSITORY).key, INDEX]);
    expect(await archive.updateTags(REPOSITORY, [saw('v1', 'a', 2)])).toMatchObject([{ outcome: 'unchanged' }]);
    expect(puts).toHaveLength(2);
    expect(await archive.updateTags(REPOSITORY, [saw('v2', 'a', 2)])).toEqual([{ outcome: 'written' }]);
    expect(puts.slice(2)).toEqual([INDEX]);
    const marker = await store.get(ociLayout.marker(REPOSITORY).key, { maxBytes: 100 });
    expect(JSON.parse(Buffer.from(marker?.bytes ?? []).toString())).toEqual({ imageLayoutVersion: '1.0.0' });
  });

  test('reports the digest that a moved tag had before', async () => {
    const { archive } = open();
    const before = digestOf(Buffer.from('a'));
    await archive.updateTags(REPOSITORY, [saw('v1', 'a', 1)]);
    expect(await archive.updateTags(REPOSITORY, [saw('v1', 'b', 2), saw('v2', 'b', 2)])).toEqual([
      { outcome: 'written', previous: before, since: 1 },
      { outcome: 'written' },
    ]);
    // The message is delivered again, because the process ended before the report.
    expect(await archive.updateTags(REPOSITORY, [saw('v1', 'b', 2)])).toEqual([
      { outcome: 'unchanged', previous: before, since: 1 },
    ]);
    expect(await archive.updateTags(REPOSITORY, [saw('v1', 'b', 3)])).toEqual([{ outcome: 'unchanged' }]);
  });

  test('keeps entries that another writer has put between the read and the write', async () => {
    const memory = new MemoryStore();
    const other = new Archive(memory, ociLayout);
    await other.updateTags(REPOSITORY, [saw('v0', 'zero', 1)]);
    const conditions: unknown[] = [];
    const overtaking = new Proxy<ObjectStore>(memory, {
      get(target, name) {
        if (name === 'put')
          return async (...args: Parameters<ObjectStore['put']>) => {
            conditions.push(args[2]?.condition);
            if (conditions.length === 1) await other.updateTags(REPOSITORY, [saw('v2', 'two', 3)]);
            return memory.put(...args);
          };
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    expect(await open(overtaking).archive.updateTags(REPOSITORY, [saw('v1', 'one', 2)])).toMatchObject([
      { outcome: 'written' },
    ]);
    const index = (await other.tagIndex(REPOSITORY))?.index;
    expect(index?.entries().map(({ tag }) => tag)).toEqual(['v0', 'v1', 'v2']);
    // Each put had the version that it replaced as its condition.
    expect(conditions).toEqual([{ etag: expect.any(String) as string }, { etag: expect.any(String) as string }]);
    expect(conditions[0]).not.toEqual(conditions[1]);
  });

  test('keeps entries that another writer has put before the first write', async () => {
    const { store, puts } = watched(async (key, memory) => {
      if (key === INDEX && !puts.includes(INDEX))
        await new Archive(memory, ociLayout).updateTags(REPOSITORY, [saw('v1', 'other', 10)]);
    });
    const { archive } = open(store);
    expect(await archive.updateTags(REPOSITORY, [saw('v1', 'late', 5), saw('v2', 'newer', 9)])).toMatchObject([
      { outcome: 'older' },
      { outcome: 'written' },
    ]);
    const index = (await archive.tagIndex(REPOSITORY))?.index;
    expect(index?.byTag('v1')?.digest).toBe(digestOf(Buffer.from('other')));
    expect(index?.byTag('v2')?.digest).toBe(digestOf(Buffer.from('newer')));
    expect(index?.entries().map(({ hadTag }) => hadTag)).toEqual([undefined, undefined, 'v1']);
  });

  // Four finalizers each write a tag of their own, and one that all of them observed at different times. All of them
  // have read the index before the first one writes, and again after each conflict.
  test.each([
    ['an index', true],
    ['no index', false],
  ])('loses no update of several writers that have all read %s', async (_, exists) => {
    const memory = new MemoryStore();
    if (exists) await new Archive(memory, ociLayout).updateTags(REPOSITORY, [saw('before', 'before', 1)]);
    await Promise.all(
      [1, 2, 3, 4].map((n) =>
        new Archive(memory, ociLayout).updateTags(REPOSITORY, [
          saw(`own-${n}`, `image ${n}`, n),
          saw('all', `image ${n}`, n),
        ]),
      ),
    );
    const index = (await new Archive(memory, ociLayout).tagIndex(REPOSITORY))?.index;
    expect(index?.byTag('before') !== undefined).toBe(exists);
    for (const n of [1, 2, 3, 4]) expect(index?.byTag(`own-${n}`)?.digest).toBe(digestOf(Buffer.from(`image ${n}`)));
    expect(index?.byTag('all')?.observed).toBe(4);
    expect(index?.entries().filter(({ hadTag }) => hadTag === 'all')).toHaveLength(3);
  });

  // Every later observation would count as older, forever.
  test.each([
    ['after now by more than clocks differ', Date.now() + 16 * 60_000],
    ['in the year 9999', Date.UTC(9999, 0, 1)],
    ['that no date can hold', Number.MAX_SAFE_INTEGER],
    ['that no date can hold', -Number.MAX_SAFE_INTEGER],
    ['that is not a number', NaN],
    ['with a fraction', 1.5],
  ])('refuses an observation of a time %s', async (_, observed) => {
    const { archive, store } = open();
    const updating = archive.updateTags(REPOSITORY, [saw('v1', 'a', 1), saw('v2', 'b', observed)]);
    await expect(updating).rejects.toMatchObject({ code: 'invalid', remedy: 'never' });
    expect(await Array.fromAsync(store.list(''))).toEqual([]);
  });

  test('accepts an observation of a clock that is slightly ahead', async () => {
    const { archive } = open();
    expect(await archive.updateTags(REPOSITORY, [saw('v1', 'a', Date.now() + 14 * 60_000)])).toMatchObject([
      { outcome: 'written' },
    ]);
    expect((await archive.tagIndex(REPOSITORY))?.index.byTag('v1')).toBeDefined();
  });

  test('stops an aborted update that waits for its next try', async () => {
    const controller = new AbortController();
    const { store } = watched(async (key, memory) => {
      if (key !== INDEX) return;
      await memory.put(INDEX, Buffer.from('{"schemaVersion":2,"manifests":[]}'));
      controller.abort();
    });
    const { archive } = open(store);
    const updating = archive.updateTags(REPOSITORY, [saw('v1', 'a', 1)], { signal: controller.signal });
    await expect(updating).rejects.toMatchObject({ code: 'aborted' });
  });

  test('is neither treated as empty nor overwritten if it is unreadable', async () => {
    const { archive, store } = open();
    const { etag } = await store.put(INDEX, Buffer.from('{"schemaVersion":2,"manifests":[{}]}'));
    await expect(archive.updateTags(REPOSITORY, [saw('v1', 'a', 1)])).rejects.toMatchObject({ code: 'corrupt' });
    expect((await store.head(INDEX))?.etag).toBe(etag);
  });

  test('makes every repository listable', async () => {
    const { archive, store } = open();
    const repositories = ['docker.io/library/alpine', 'docker.io/library/alpine/nested', 'localhost:5000/a_b'];
    for (const repository of repositories) await archive.updateTags(repository, [saw('v1', 'a', 1)]);
    await archive.putContent(digest, bytes);
    await store.put('repositories/stray.txt', bytes);
    expect((await Array.fromAsync(archive.repositories())).sort()).toEqual(repositories);
  });
});
