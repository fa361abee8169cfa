import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { convertSchema1 } from '../../../lib/upkeep/convert.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { MANIFEST_LIMITS } from '../../../lib/oci/limits.ts';
import { parseReference } from '../../../lib/oci/reference.ts';
import { finalizeMessage, resolveMessage } from '../../../lib/queue/outgoing.ts';
import type { Source, Sources } from '../../../lib/registry/source.ts';
import { makeImage, makeIndex, makeLayer, type Pushable, pushable } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror } from '../../kit/mirror.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { makeSchema1 } from '../../kit/schema1.ts';
import { NEVER, orderFor, Rig } from './rig.ts';

const BASE = makeLayer({ seed: 1 });
const TOP = makeLayer({ seed: 2 });
const MORE = makeImage({ layers: [BASE], overrides: { diffIds: [BASE.diffId, TOP.diffId] } });

let registry: TestRegistry;
beforeEach(async () => {
  registry = await startRegistry();
});
afterEach(() => registry.close());

/** The result of the resolver alone. */
async function resolved(thing: Pushable): Promise<Rig> {
  registry.push('library/app', thing, 'v1');
  const rig = new Rig();
  await rig.resolve(resolveMessage(orderFor(registry), { kind: 'images', images: [{ tag: 'v1' }] }).message);
  return rig;
}

describe('before it requests a layer, the resolver refuses', () => {
  test('an image whose config has more diffIDs than layers', async () => {
    await using rig = await resolved(MORE);
    expect(rig.sent('layer')).toEqual([]);
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'layers-mismatch' } }]);
  });

  test('an index that is nested one level too deep, and it accepts one level less', async () => {
    const nested = (levels: number): Pushable =>
      Array.from({ length: levels }).reduce<Pushable>((inner) => makeIndex([inner]), makeImage({ layers: [BASE] }));
    await using rig = await resolved(nested(MANIFEST_LIMITS.nesting + 1));
    expect(rig.sent('layer')).toEqual([]);
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'too-deep' } }]);
    expect(registry.requests.filter(({ kind }) => kind === 'blob')).toEqual([]);
    await using allowed = await resolved(nested(MANIFEST_LIMITS.nesting));
    expect(allowed.sent('layer')).toHaveLength(1);
  });

  test('an image whose config is in the archive, and has another size in the manifest', async () => {
    const image = makeImage({ layers: [BASE] });
    const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(image.config) };
    const lying = makeImage({
      layers: [BASE],
      overrides: { manifest: { config: { ...config, size: image.config.length + 1 } } },
    });
    registry.push('library/app', lying, 'v1');
    await using rig = new Rig();
    await rig.archive.putContent(config.digest, image.config);
    await rig.resolve(resolveMessage(orderFor(registry), { kind: 'images', images: [{ tag: 'v1' }] }).message);
    expect(rig.sent('layer')).toEqual([]);
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'size-mismatch' } }]);
  });
});

test('the finalizer writes no tag for an image whose config has more diffIDs than layers', async () => {
  await using rig = new Rig();
  await rig.archive.putContent(MORE.digest, MORE.manifest);
  for (const [digest, bytes] of MORE.blobs) await rig.archive.putContent(digest, bytes);
  const { digest, size, diffId } = BASE;
  const proof = { version: 1, digest, size, diffIds: { sha256: diffId }, compression: 'gzip' } as const;
  await rig.archive.putReceipt({ ...proof, source: 's', verifiedAt: new Date(0).toISOString() });
  const order = orderFor({ host: 'registry.example' });
  const image = { digest: MORE.digest, mediaType: MORE.mediaType, size: MORE.manifest.length, tag: 'v1', observed: 1 };
  await rig.finalize([finalizeMessage(order, image, 'resolver').message]);
  expect(rig.records).toMatchObject([{ status: 'failed', code: 'layers-mismatch' }]);
  expect(await rig.archive.tagIndex(order.repository)).toBeUndefined();
});

test('a conversion writes no tag if a proof disappears before the closure is checked', async () => {
  registry.push('library/old', makeSchema1({ layers: [BASE, TOP] }), '1');
  const store = new MemoryStore();
  const name = `${registry.host}/library/old`;
  const { archive } = await mirror({ store, references: [`${name}:1`] });
  const receipt = archive.layout.receipt(TOP.digest);
  const get = store.get.bind(store);
  let reads = 0;
  store.get = async (key, options) => {
    if (key === receipt && (reads += 1) > 1) return undefined;
    return get(key, options);
  };
  const converting = convertSchema1(archive, parseReference(`${name}:1`), { as: 'x', now: Date.now(), signal: NEVER });
  await expect(converting).rejects.toMatchObject({ code: 'corrupt' });
  expect((await archive.tagIndex(name))?.index.byTag('x')).toBeUndefined();
});

describe('large manifests', () => {
  const padded = (n: number): Pushable =>
    makeImage({
      layers: [],
      overrides: { config: { n }, manifest: { annotations: { padding: 'x'.repeat(300_000) } } },
    });

  /** The number of concurrent calls, and the largest one. */
  class Concurrency {
    now = 0;
    most = 0;

    async during<T>(work: () => Promise<T>): Promise<T> {
      this.now += 1;
      this.most = Math.max(this.most, this.now);
      try {
        return await work();
      } finally {
        this.now -= 1;
      }
    }
  }

  /** Sources whose method `name` is replaced. */
  function replacing<Name extends 'manifest' | 'fetchTag'>(
    sources: Sources,
    name: Name,
    replace: (original: Source[Name]) => Source[Name],
  ): Sources {
    return {
      connections: (host) => sources.connections(host),
      repository(reference) {
        const source = sources.repository(reference);
        return Object.assign(source, { [name]: replace(source[name].bind(source) as Source[Name]) });
      },
      close: () => sources.close(),
    };
  }

  test.each<[string, (n: number) => Pushable, boolean]>([
    ['are read one at a time', padded, true],
    ['are read concurrently if they are small', (n) => makeImage({ layers: [], overrides: { config: { n } } }), false],
  ])('%s', async (_, child, alone) => {
    registry.push('library/app', makeIndex(Array.from({ length: 8 }, (_, n) => child(n))), 'v1');
    await using plain = new Rig();
    const reads = new Concurrency();
    const sources = replacing(plain.sources, 'manifest', (original) => {
      return (...args) => reads.during(() => original(...args));
    });
    const rig = new Rig({ sources });
    await rig.resolve(resolveMessage(orderFor(registry), { kind: 'images', images: [{ tag: 'v1' }] }).message);
    expect(rig.sent('finalize')).toMatchObject([{ image: { tag: 'v1' } }]);
    expect(rig.sent('finalize')[0]).not.toHaveProperty('failure');
    expect(reads.most > 1).toBe(!alone);
  });

  test('are fetched by their tags two at a time if the registry has none by its digest', async () => {
    const images = Array.from({ length: 8 }, (_, n) => ({ tag: `v${n}`, image: padded(n) }));
    for (const { tag, image } of images) {
      registry.push('library/app', image, tag);
      registry.misbehave({ match: { kind: 'manifest', method: 'GET', digest: image.digest }, do: { status: 404 } });
    }
    await using plain = new Rig();
    const reads = new Concurrency();
    const asked = new Set<string>();
    const sources = replacing(plain.sources, 'fetchTag', (original) => async (tag, options) => {
      // The first GET of a tag finds that its manifest is large.
      if (!asked.has(tag)) {
        asked.add(tag);
        return original(tag, options);
      }
      return reads.during(async () => {
        await vi.waitUntil(() =>
          images.every(({ image: { digest } }) => registry.count({ method: 'GET', digest }) > 0),
        );
        return original(tag, options);
      });
    });
    const rig = new Rig({ sources });
    const wanted = images.map(({ tag }) => ({ tag }));
    await rig.resolve(resolveMessage(orderFor(registry), { kind: 'images', images: wanted }).message);
    expect(rig.sent('finalize')).toHaveLength(images.length);
    for (const message of rig.sent('finalize')) expect(message).not.toHaveProperty('failure');
    expect(reads.most).toBe(2);
  });

  test.each([200, 405])(
    'are dropped and fetched again in their turn if the size was unknown (HEAD answers %i)',
    async (status) => {
      const large = padded(1);
      if (status !== 200) registry.misbehave({ match: { method: 'HEAD' }, do: { status, body: '' } });
      await using rig = await resolved(large);
      expect(rig.sent('finalize')).toMatchObject([{ image: { tag: 'v1', digest: large.digest } }]);
      expect(rig.sent('finalize')[0]).not.toHaveProperty('failure');
      expect(registry.count({ kind: 'manifest', method: 'GET' })).toBe(2);
    },
  );

  test('are refused before parsing if the index declares a small size', async () => {
    const large = pushable(Buffer.from(`{"x":"${'x'.repeat(300_000)}"`), 'application/vnd.oci.image.manifest.v1+json');
    const index = makeIndex([large], 'oci', { manifests: [{ ...large.descriptor, size: 10 }] });
    await using rig = await resolved({ ...index, children: [large] });
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'size-mismatch' } }]);
  });
});
