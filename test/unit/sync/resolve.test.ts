import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { withDecisionIn } from '../../../lib/archive/tag-index/withheld.ts';
import { isUnknownRequest } from '../../../lib/app/missing.ts';
import { resolve } from '../../../lib/sync/resolver/resolve.ts';
import { NO_POLICY, type Policy } from '../../../lib/policy/policy.ts';
import { verifyArchive } from '../../../lib/upkeep/verify.ts';
import type { Digest } from '../../../lib/oci/digest.ts';
import { parsePlatform } from '../../../lib/oci/platform.ts';
import type { Order, ResolveMessage, Wanted } from '../../../lib/queue/messages.ts';
import { finalizeMessage, resolveMessage } from '../../../lib/queue/outgoing.ts';
import { sha256 } from '../../kit/content.ts';
import { countCalls, failNth, Faults } from '../../kit/faults.ts';
import {
  dockerEmptyLayer,
  makeArtifact,
  makeImage,
  makeIndex,
  makeLayer,
  pushable,
  type Pushable,
} from '../../kit/images.ts';
import { errorBody, startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { makeSchema1 } from '../../kit/schema1.ts';
import { NEVER, orderFor, partStore, Rig } from './rig.ts';

const BASE = makeLayer({ seed: 1, size: 5000 });
const TOP = makeLayer({ seed: 2, size: 2000, compression: 'zstd' });
const IMAGE = makeImage({ layers: [BASE, TOP] });
const CACHE_CONFIG = Buffer.from('{"layers":[],"records":[]}');
const AMD64 = parsePlatform('linux/amd64');
const ARM64 = parsePlatform('linux/arm64');

let registry: TestRegistry;
beforeEach(async () => {
  registry = await startRegistry();
});
afterEach(() => registry.close());

function wanting(images: readonly Wanted[], order: Partial<Order> = {}): ResolveMessage {
  return resolveMessage({ ...orderFor(registry), ...order }, { kind: 'images', images }).message;
}

/** Everything that mirrors these images, from the resolver to the last finalize message. */
async function mirrored(rig: Rig, images: readonly Wanted[], order: Partial<Order> = {}): Promise<void> {
  const from = rig.outgoing.length;
  await rig.resolve(wanting(images, order));
  await rig.deliver(from);
}

async function indexOf(rig: Rig) {
  return (await rig.archive.tagIndex(`${registry.host}/library/app`))!.index;
}

/** Asserts that a digest can be pulled: every manifest below it, and every blob of those. */
async function expectPullable(rig: Rig, image: Pushable): Promise<void> {
  expect((await rig.blob(image.digest))?.equals(image.manifest)).toBe(true);
  for (const [digest, bytes] of image.blobs) expect((await rig.blob(digest))?.equals(bytes)).toBe(true);
  for (const child of image.children) await expectPullable(rig, child);
}

/** The last result of each image; results are reported at least once. */
function finals(rig: Rig): (readonly [string | undefined, string])[] {
  const words = [...rig.events, ...rig.records].flatMap((event) =>
    event.type === 'image' && event.status !== 'pending' ? [[event.tag, event.status] as const] : [],
  );
  return words.filter(
    ([tag, status], at) => words.findIndex(([otherTag, other]) => otherTag === tag && other === status) === at,
  );
}

describe('an image that is incomplete', () => {
  test('is recorded as pending only after its layers are in the queue', async () => {
    registry.push('library/app', IMAGE, 'v1');
    await using rig = new Rig();
    const calls: string[] = [];
    const context = {
      ...rig.context,
      queues: { send: (queue: string) => Promise.resolve(void calls.push(queue)) },
      pending: () => Promise.resolve(void calls.push('pending')),
    };
    await resolve(context, wanting([{ tag: 'v1' }]), { receiveCount: 1, last: false, signal: NEVER });
    expect(calls).toEqual(['layer', 'pending']);
    const failing = { ...context, queues: { send: () => Promise.reject(new Error('no queue')) } };
    calls.length = 0;
    await expect(
      resolve(failing, wanting([{ tag: 'v1' }]), { receiveCount: 1, last: false, signal: NEVER }),
    ).rejects.toThrow('no queue');
    expect(calls).toEqual([]);
  });
});

describe('an image that is in the archive', () => {
  test('costs one HEAD, one read of the tag index, and no write', async () => {
    registry.push('library/app', IMAGE, 'v1');
    const { port, faults } = countCalls(partStore());
    await using rig = new Rig({ store: port });
    await mirrored(rig, [{ tag: 'v1' }]);
    expect(finals(rig)).toEqual([['v1', 'mirrored']]);
    registry.forgetRequests();
    const before = faults.calls.length;
    await rig.resolve(wanting([{ tag: 'v1' }], { run: 'run-2' }));
    expect(registry.requests.map(({ method, kind }) => `${method} ${kind}`)).toEqual(['HEAD manifest']);
    expect(faults.calls.slice(before)).toEqual([expect.stringMatching(/^port\.get repositories\/.*index\.json$/)]);
    expect(rig.events.at(-1)).toMatchObject({ type: 'image', status: 'unchanged', tag: 'v1', digest: IMAGE.digest });
  });

  test('costs one HEAD per tag and one read in a slice of a hundred tags', async () => {
    const tags = Array.from({ length: 100 }, (_, n) => `v${n}`);
    for (const tag of tags) registry.push('library/app', IMAGE, tag);
    const { port, faults } = countCalls(partStore());
    await using rig = new Rig({ store: port });
    await mirrored(
      rig,
      tags.map((tag) => ({ tag })),
    );
    registry.forgetRequests();
    const before = faults.calls.length;
    await rig.resolve(
      wanting(
        tags.map((tag) => ({ tag })),
        { run: 'run-2' },
      ),
    );
    expect(registry.count({ method: 'HEAD', kind: 'manifest' })).toBe(100);
    expect(registry.requests).toHaveLength(100);
    expect(faults.calls.length - before).toBe(1);
  });

  test('costs no request to the registry if it was requested by digest', async () => {
    registry.push('library/app', IMAGE);
    await using rig = new Rig();
    await mirrored(rig, [{ digest: IMAGE.digest }]);
    expect((await indexOf(rig)).byDigest(IMAGE.digest)).toMatchObject({ digest: IMAGE.digest, tag: undefined });
    registry.forgetRequests();
    await rig.resolve(wanting([{ digest: IMAGE.digest }]));
    expect(registry.requests).toEqual([]);
    expect(rig.events.at(-1)).toMatchObject({ status: 'unchanged', digest: IMAGE.digest });
  });

  test('is found by GET if the registry refuses HEAD, and the response is not requested again', async () => {
    await using strict = await startRegistry({ refuseHead: true });
    strict.push('library/app', IMAGE, 'v1');
    await using rig = new Rig();
    const message = resolveMessage(orderFor(strict), { kind: 'images', images: [{ tag: 'v1' }] }).message;
    await rig.resolve(message);
    await rig.deliver();
    expect(strict.count({ method: 'GET', kind: 'manifest' })).toBe(1);
    strict.forgetRequests();
    await rig.resolve(message);
    await rig.resolve(message);
    // The first HEAD shows that HEAD is refused.
    const requests = strict.requests.map(({ method, kind }) => `${method} ${kind}`);
    expect(requests).toEqual(['HEAD manifest', 'GET ping', 'GET manifest', 'GET manifest']);
    expect(rig.events.at(-1)).toMatchObject({ status: 'unchanged' });
  });
});

describe('the requested image', () => {
  test('gets its tag if it names a tag and a digest that upstream has together', async () => {
    registry.push('library/app', IMAGE, 'v1');
    await using rig = new Rig();
    await mirrored(rig, [{ tag: 'v1', digest: IMAGE.digest }]);
    expect((await indexOf(rig)).byTag('v1')?.digest).toBe(IMAGE.digest);
    expect(rig.records.at(-1)).toMatchObject({ status: 'mirrored', tag: 'v1', digest: IMAGE.digest });
    expect(rig.records.at(-1)).not.toHaveProperty('reason');
  });

  // No tag is moved back or invented (invariant 5), and the outcome gives the reason.
  test.each([
    ['names something else', true, /^the tag names sha256:[0-9a-f]{64} upstream; kept by its digest$/],
    ['is not there', false, /^upstream has no such tag; kept by its digest$/],
  ])('is kept by its digest alone if the tag %s upstream', async (_, moved, reason) => {
    const newer = makeImage({ layers: [BASE] });
    registry.push('library/app', IMAGE);
    await using rig = new Rig();
    if (moved) {
      registry.push('library/app', newer, 'v1');
      await mirrored(rig, [{ tag: 'v1' }]);
    }
    const wanted = [{ tag: 'v1', digest: IMAGE.digest }];
    rig.now = () => 2_000_000;
    await mirrored(rig, wanted, { run: 'run-2' });
    const index = await indexOf(rig);
    expect(index.byTag('v1')?.digest).toBe(moved ? newer.digest : undefined);
    expect(index.byDigest(IMAGE.digest)).toMatchObject({ tag: undefined });
    await expectPullable(rig, IMAGE);
    const reference = `${orderFor(registry).source}:v1@${IMAGE.digest}`;
    const word = { reference, tag: undefined, digest: IMAGE.digest, reason: expect.stringMatching(reason) };
    expect(rig.records.at(-1)).toMatchObject({ status: 'mirrored', ...word });
    // The second run finds it in the archive.
    await rig.resolve(wanting(wanted, { run: 'run-3' }));
    expect(rig.events.at(-1)).toMatchObject({ status: 'unchanged', ...word });
  });

  test('fails if it names a tag with a digest and the tag cannot be looked up', async () => {
    registry.push('library/app', IMAGE, 'v1');
    registry.misbehave({ match: { tag: 'v1' }, do: { status: 403 } });
    await using rig = new Rig();
    await rig.resolve(wanting([{ tag: 'v1', digest: IMAGE.digest }]));
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'denied' } }]);
  });

  // The first run mirrors amd64, and the second one all platforms of the same digest.
  test('costs only the new content if it adds platforms to those of an earlier run', async () => {
    const arm = makeImage({ layers: [BASE, makeLayer({ seed: 8 })], platform: ARM64 });
    const index = makeIndex([IMAGE, arm]);
    registry.push('library/app', index, 'v1');
    await using rig = new Rig();
    await mirrored(rig, [{ tag: 'v1' }], { platforms: [AMD64] });
    expect((await rig.blob(index.digest))?.equals(index.manifest)).toBe(true);
    expect(await rig.blob(arm.digest)).toBeUndefined();
    registry.forgetRequests();
    await mirrored(rig, [{ tag: 'v1' }], { run: 'run-2' });
    await expectPullable(rig, index);
    // The base layer, the index and the first image exist.
    expect(registry.count({ method: 'GET', kind: 'manifest' })).toBe(1);
    expect(registry.count({ kind: 'blob' })).toBe(2);
    // Fewer platforms require no work.
    registry.forgetRequests();
    await rig.resolve(wanting([{ tag: 'v1' }], { run: 'run-3', platforms: [ARM64] }));
    expect(registry.requests).toHaveLength(1);
    expect(rig.events.at(-1)).toMatchObject({ status: 'unchanged' });
  });

  test('fails for a missing platform, and the error lists the available ones', async () => {
    registry.push('library/app', makeIndex([IMAGE]), 'v1');
    await using rig = new Rig();
    await rig.resolve(wanting([{ tag: 'v1' }], { platforms: [ARM64] }));
    expect(rig.sent('finalize')).toMatchObject([
      { failure: { code: 'no-platform', reason: expect.stringContaining('linux/amd64') } },
    ]);
  });
});

// One choice applies to an image, however its indexes are nested. The finalizer proves what the resolver chooses.
describe('platforms', () => {
  const arm = makeImage({ layers: [makeLayer({ seed: 70 })], platform: ARM64 });
  const amd = makeImage({ layers: [makeLayer({ seed: 71 })] });
  const unnamed = (image: Pushable): Pushable => {
    const { platform: _, ...descriptor } = image.descriptor;
    return { ...image, descriptor };
  };

  test.each<[string, Pushable, Pushable[]]>([
    ['an index below the index has none of them', makeIndex([makeIndex([arm]), makeIndex([amd])]), [amd]],
    ['the image is there alone', amd, [amd]],
    ['the index does not say, and the config does', makeIndex([unnamed(amd), arm]), [amd]],
    ['there are artifacts only', makeIndex([makeArtifact()]), [makeArtifact()]],
  ])('are found if %s', async (_, thing, pullable) => {
    registry.push('library/app', thing, 'v1');
    await using rig = new Rig();
    await mirrored(rig, [{ tag: 'v1' }], { platforms: [AMD64] });
    expect(finals(rig)).toEqual([['v1', 'mirrored']]);
    for (const one of pullable) await expectPullable(rig, one);
    if (thing !== amd) expect(await rig.blob(arm.layers[0]!.digest)).toBeUndefined();
    expect(await verifyArchive(rig.archive, { signal: NEVER, concurrency: 1 })).toMatchObject({ problems: [] });
  });

  test.each<[string, Pushable]>([
    ['the index has another, and an artifact', makeIndex([arm, makeArtifact()])],
    ['the image is another, and alone', arm],
    ['no index of several has it', makeIndex([makeIndex([arm]), makeIndex([arm])])],
  ])('are missing if %s', async (_, thing) => {
    registry.push('library/app', thing, 'v1');
    await using rig = new Rig();
    await mirrored(rig, [{ tag: 'v1' }], { platforms: [AMD64] });
    const name = `${orderFor(registry).source}@${thing.digest}`;
    expect(rig.records).toMatchObject([{ status: 'failed', code: 'no-platform' }]);
    expect(rig.records[0]?.reason).toMatch(new RegExp(`${name}.*linux/amd64.*linux/arm64`));
    // The finalizer decides the same for an archive with all platforms.
    await mirrored(rig, [{ digest: thing.digest }], { run: 'run-2' });
    const { digest, mediaType, manifest } = thing;
    const image = { digest, mediaType, size: manifest.length, tag: 'v2', observed: 1 };
    await rig.finalize([finalizeMessage({ ...orderFor(registry), platforms: [AMD64] }, image, 'resolver').message]);
    expect(rig.records.at(-1)).toMatchObject({ status: 'failed', code: 'no-platform', tag: 'v2' });
  });

  // A missing platform fails as with an empty archive, without a further request. An existing one costs one HEAD and
  // one read of the root.
  test('are looked up in the archive if an earlier run mirrored others', async () => {
    registry.push('library/app', makeIndex([amd, arm]), 'v1');
    registry.push('library/app', amd, 'single');
    const { port, faults } = countCalls(partStore());
    await using rig = new Rig({ store: port });
    await mirrored(rig, [{ tag: 'v1' }, { tag: 'single' }]);
    registry.forgetRequests();
    const [calls, sent] = [faults.calls.length, rig.outgoing.length];
    await rig.resolve(wanting([{ tag: 'v1' }], { run: 'run-2', platforms: [ARM64] }));
    expect(rig.events.at(-1)).toMatchObject({ status: 'unchanged' });
    expect(faults.calls.length - calls).toBe(2);
    const platforms = [parsePlatform('linux/s390x')];
    await rig.resolve(wanting([{ tag: 'v1' }, { tag: 'single' }], { run: 'run-3', platforms }));
    expect(rig.outgoing.slice(sent).map(({ message }) => message)).toMatchObject([
      { type: 'finalize', failure: { code: 'no-platform', reason: expect.stringMatching(/^resolve .*:v1: choose/) } },
      {
        type: 'finalize',
        failure: { code: 'no-platform', reason: expect.stringMatching(/^resolve .*:single: choose/) },
      },
    ]);
    expect(registry.requests.map(({ method }) => method)).toEqual(['HEAD', 'HEAD', 'HEAD']);
  });
});

describe('a tag', () => {
  const foreign = makeLayer({ seed: 20 });
  const shared = makeLayer({ seed: 21 });
  const image = makeImage({ layers: [shared, makeLayer({ seed: 22 })] });
  const things: [string, () => Pushable][] = [
    ['an OCI image', () => IMAGE],
    ['a Docker image', () => makeImage({ layers: [BASE, TOP], format: 'docker' })],
    ['an image of one layer that is not compressed', () => makeImage({ layers: [makeLayer({ compression: 'none' })] })],
    [
      'an image that has a blob both as a layer that is compressed and as one that is not',
      () =>
        makeImage({
          layers: [BASE, BASE],
          overrides: {
            diffIds: [BASE.diffId, BASE.diffId],
            descriptors: ([first, second]) => [
              { ...first!, mediaType: 'application/vnd.oci.image.layer.v1.tar' },
              second!,
            ],
          },
        }),
    ],
    ['an image without layers', () => makeImage({ layers: [] })],
    ['an image that has the same layer twice', () => makeImage({ layers: [BASE, TOP, BASE, BASE] })],
    [
      'an image with layers that change nothing',
      () => makeImage({ layers: [makeLayer({ files: [] }), dockerEmptyLayer()] }),
    ],
    [
      'layers of many frames',
      () =>
        makeImage({
          layers: [makeLayer({ compression: 'zstd', framing: 'chunked' }), makeLayer({ framing: 'chunked' })],
        }),
    ],
    ['an OCI index', () => makeIndex([IMAGE, makeImage({ layers: [BASE], platform: ARM64 })])],
    ['a manifest list', () => makeIndex([makeImage({ layers: [BASE], format: 'docker' })], 'docker')],
    ['an index of indexes', () => makeIndex([makeIndex([IMAGE]), makeIndex([makeIndex([image])])].slice(0, 1))],
    ['an index that names an image twice', () => makeIndex([IMAGE, IMAGE])],
    ['an index of nothing', () => makeIndex([])],
    [
      'a build cache, which is an index of layers',
      () => ({
        ...makeIndex([], 'oci', {
          manifests: [
            ...[BASE, TOP].map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
            {
              mediaType: 'application/vnd.buildkit.cacheconfig.v0',
              digest: sha256(CACHE_CONFIG),
              size: CACHE_CONFIG.length,
            },
          ],
        }),
        blobs: new Map([
          [BASE.digest, BASE.blob],
          [TOP.digest, TOP.blob],
          [sha256(CACHE_CONFIG), CACHE_CONFIG],
        ]),
      }),
    ],
    ['an artifact', () => makeArtifact({ blobs: [Buffer.from('one'), Buffer.from('two')] })],
    ['an artifact about an image', () => makeArtifact({ subject: IMAGE })],
    [
      'an image with an attestation beside it',
      () =>
        makeIndex([
          IMAGE,
          makeArtifact({
            platform: { os: 'unknown', architecture: 'unknown' },
            annotations: {
              'vnd.docker.reference.type': 'attestation-manifest',
              'vnd.docker.reference.digest': IMAGE.digest,
            },
          }),
        ]),
    ],
    [
      'a foreign layer that the registry has',
      () =>
        makeImage({
          layers: [foreign, BASE],
          overrides: {
            descriptors: ([first, ...rest]) => [
              {
                ...first!,
                mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
                urls: [`http://${registry.host}/nowhere`],
              },
              ...rest,
            ],
          },
        }),
    ],
  ];

  test.each(things)('can name %s', async (_, make) => {
    const thing = make();
    registry.push('library/app', thing, 'v1');
    await using rig = new Rig();
    await mirrored(rig, [{ tag: 'v1' }]);
    expect(finals(rig)).toEqual([['v1', 'mirrored']]);
    expect((await indexOf(rig)).byTag('v1')).toMatchObject({
      digest: thing.digest,
      mediaType: thing.mediaType,
      size: thing.manifest.length,
    });
    await expectPullable(rig, thing);
    // Each blob is requested once, however many layers and images name it.
    const asked = registry.requests
      .filter(({ kind, status }) => kind === 'blob' && status < 300)
      .map(({ digest }) => digest);
    expect(asked).toHaveLength(new Set(asked).size);
  });

  test.each([true, false])(
    'can name a schema1 manifest (signed: %s), which is stored under the digest of its payload',
    async (signed) => {
      const old = makeSchema1({ layers: [BASE, makeLayer({ seed: 30 })], signed });
      registry.push('library/app', old, 'v1');
      await using rig = new Rig();
      await mirrored(rig, [{ tag: 'v1' }]);
      expect(finals(rig)).toEqual([['v1', 'mirrored']]);
      const entry = (await indexOf(rig)).byTag('v1')!;
      expect(entry).toMatchObject({
        digest: old.digest,
        mediaType: 'application/vnd.docker.distribution.manifest.v1+json',
      });
      const stored = (await rig.blob(old.digest))!;
      expect(sha256(stored)).toBe(old.digest);
      expect(entry.size).toBe(stored.length);
      for (const digest of old.blobs.keys()) expect(await rig.blob(digest)).toBeDefined();
      // The second run reads it from the archive, under its stored type.
      registry.forgetRequests();
      await rig.resolve(wanting([{ tag: 'v1' }], { run: 'run-2' }));
      expect(rig.events.at(-1)).toMatchObject({ status: 'unchanged' });
    },
  );

  // Docker images from before the config type existed.
  test.each(['application/octet-stream', 'application/json', 'text/html', ''])(
    'can name a Docker image with the config type %j, whose layers are proven',
    async (mediaType) => {
      await using rig = new Rig();
      for (const [tag, diffIds] of [
        ['v1', [BASE.diffId]],
        ['v2', [TOP.diffId]],
      ] as const) {
        const plain = makeImage({ layers: [BASE], format: 'docker', overrides: { diffIds } });
        const config = { mediaType, digest: sha256(plain.config), size: plain.config.length };
        registry.push(
          'library/app',
          makeImage({ layers: [BASE], format: 'docker', overrides: { diffIds, manifest: { config } } }),
          tag,
        );
      }
      await mirrored(rig, [{ tag: 'v1' }]);
      await mirrored(rig, [{ tag: 'v2' }]);
      expect(rig.records).toMatchObject([
        { tag: 'v1', status: 'mirrored' },
        { tag: 'v2', status: 'failed', code: 'diffid-mismatch' },
      ]);
      expect((await verifyArchive(rig.archive, { signal: NEVER, concurrency: 1 })).problems).toEqual([]);
    },
  );

  test('can name an image with missing throwaway layers', async () => {
    const throwaway = makeLayer({ seed: 40 });
    const old = makeSchema1({ layers: [BASE, throwaway], v1: (index) => (index === 1 ? { throwaway: true } : {}) });
    registry.push('library/app', old, 'v1');
    registry.removeBlob(throwaway.digest);
    await using rig = new Rig();
    await mirrored(rig, [{ tag: 'v1' }]);
    expect(finals(rig)).toEqual([['v1', 'mirrored']]);
  });
});

describe('several images', () => {
  // Three tags of one repository and an index have one base.
  test('fetch each shared layer once', async () => {
    const images = [3, 4, 5].map((seed) => makeImage({ layers: [BASE, makeLayer({ seed })] }));
    images.forEach((image, n) => registry.push('library/app', image, `v${n}`));
    registry.push('library/app', makeIndex(images.slice(0, 1)), 'multi');
    await using rig = new Rig();
    await mirrored(rig, [{ tag: 'v0' }, { tag: 'v1' }, { tag: 'v2' }, { tag: 'multi' }]);
    expect(registry.count({ kind: 'blob', digest: BASE.digest })).toBe(1);
    expect(finals(rig).map(([, status]) => status)).toEqual(Array.from({ length: 4 }, () => 'mirrored'));
  });

  // Of thirty tags, one names an invalid manifest, one lacks its manifest, and one lacks its layer.
  test('are mirrored without the invalid ones', async () => {
    const tags = Array.from({ length: 30 }, (_, n) => `v${n}`);
    tags.forEach((tag, n) => registry.push('library/app', makeImage({ layers: [makeLayer({ seed: 50 + n })] }), tag));
    registry.tag('library/app', 'v3', sha256(Buffer.from('nothing')));
    const lost = makeLayer({ seed: 1000 });
    registry.push('library/app', makeImage({ layers: [lost] }), 'v7');
    registry.removeBlob(lost.digest);
    registry.push('library/app', makeImage({ layers: [BASE], overrides: { diffIds: [] } }), 'v9');
    await using rig = new Rig();
    await mirrored(
      rig,
      tags.map((tag) => ({ tag })),
    );
    const failed = finals(rig).filter(([, status]) => status === 'failed');
    expect(failed.map(([tag]) => tag).toSorted()).toEqual(['v3', 'v7', 'v9']);
    expect(finals(rig)).toHaveLength(30);
    const index = await indexOf(rig);
    expect(tags.filter((tag) => index.byTag(tag) === undefined)).toEqual(['v3', 'v7', 'v9']);
    // The one whose layers do not match its config is refused before a layer is fetched.
    expect(registry.count({ kind: 'blob', digest: BASE.digest })).toBe(0);
  });

  test.each([
    [5, 50],
    [50, 5],
  ])('are done before the message of a temporary failure waits, for the longest wait (%i and %i s)', async (a, b) => {
    for (const [seed, tag] of ['a', 'b', 'c'].entries())
      registry.push('library/app', makeImage({ layers: [makeLayer({ seed })] }), tag);
    const busy = (tag: string, seconds: number) =>
      registry.misbehave({ match: { tag }, do: { status: 429, headers: { 'retry-after': String(seconds) } } });
    const [first] = [busy('a', a), busy('b', b)];
    let now = Date.now();
    await using rig = new Rig({ registry: { now: () => now } });
    const message = wanting([{ tag: 'a' }, { tag: 'b' }, { tag: 'c' }]);
    await expect(rig.resolve(message)).rejects.toMatchObject({ code: 'rate-limited', retryAfterMs: 50_000 });
    expect(rig.sent('layer').map(({ image }) => image.tag)).toEqual(['c']);
    expect(rig.sent('finalize')).toEqual([]);
    // On the last delivery, remaining failures are recorded.
    first.stop();
    now += 50_000;
    await rig.resolve(message, { last: true });
    expect(rig.sent('layer').map(({ image }) => image.tag)).toEqual(['c', 'a']);
    expect(rig.sent('finalize')).toMatchObject([{ image: { tag: 'b' }, failure: { code: 'rate-limited' } }]);
  });

  test('are not recorded as failed if the run is stopped', async () => {
    registry.push('library/app', IMAGE, 'v1');
    await using rig = new Rig();
    const controller = new AbortController();
    const held = registry.misbehave({ do: { noAnswer: true } });
    const resolving = rig.resolve(wanting([{ tag: 'v1' }]), { last: true, signal: controller.signal });
    await held.begun;
    controller.abort(new DOMException('stop', 'AbortError'));
    await expect(resolving).rejects.toMatchObject({ code: 'aborted' });
    held.stop();
    expect(rig.outgoing).toEqual([]);
  });

  test('fail one by one if the tag index is unreadable', async () => {
    registry.push('library/app', IMAGE, 'v1');
    await using rig = new Rig();
    await rig.store.put(rig.archive.layout.tagIndex(orderFor(registry).repository), Buffer.from('{'));
    await rig.resolve(wanting([{ tag: 'v1' }, { tag: 'v2' }]));
    expect(rig.sent('finalize')).toMatchObject([
      { image: { tag: 'v1' }, failure: { code: 'corrupt' } },
      { image: { tag: 'v2' }, failure: { code: 'corrupt' } },
    ]);
  });
});

describe('all tags', () => {
  const list = (): ResolveMessage => resolveMessage(orderFor(registry), { kind: 'list' }).message;

  test('are sent on in slices of a hundred, page by page', async () => {
    await using paged = await startRegistry({ pageSize: 250 });
    for (let n = 0; n < 600; n += 1) paged.push('library/app', IMAGE, `v${String(n).padStart(3, '0')}`);
    await using rig = new Rig();
    await rig.resolve(resolveMessage(orderFor(paged), { kind: 'list' }).message);
    const slices = rig.sent('resolve').map(({ what }) => (what.kind === 'images' ? what.images : []));
    expect(slices.map((slice) => slice.length)).toEqual([100, 100, 50, 100, 100, 50, 100]);
    expect(new Set(slices.flat().map(({ tag }) => tag)).size).toBe(600);
    const listed = rig.events.flatMap((event) => (event.type === 'listed' ? event.tags : []));
    expect(new Set(listed).size).toBe(600);
  });

  test('are one failure of the repository if their listing fails permanently', async () => {
    await using rig = new Rig();
    await rig.resolve(list());
    expect(rig.sent('finalize')).toMatchObject([{ image: {}, failure: { code: 'name-unknown' } }]);
    expect(rig.sent('finalize')[0]?.image).toEqual({});
  });

  test('are reported as missing if there are none', async () => {
    registry.push('library/app', IMAGE, 'v1');
    registry.untag('library/app', 'v1');
    await using rig = new Rig();
    await rig.resolve(list());
    expect(rig.outgoing).toEqual([]);
    expect(rig.events).toMatchObject([{ type: 'listed', tags: [] }]);
  });

  test('are mirrored except for invalid names, which are one failure with these names', async () => {
    registry.push('library/app', IMAGE, 'v1');
    for (const name of ['-bad', 'x'.repeat(129)]) registry.tag('library/app', name, IMAGE.digest);
    await using rig = new Rig();
    await rig.resolve(list());
    expect(rig.sent('resolve')).toMatchObject([{ what: { images: [{ tag: 'v1' }] } }]);
    expect(rig.sent('finalize')).toMatchObject([
      { image: {}, failure: { code: 'invalid', reason: expect.stringMatching(/invalid tag names, .*: "-bad", "xxx/) } },
    ]);
  });

  test('are listed later if their listing fails temporarily, and recorded as failed on the last delivery', async () => {
    registry.push('library/app', IMAGE, 'v1');
    registry.misbehave({ match: { kind: 'tags' }, do: { status: 503 } });
    await using rig = new Rig();
    await expect(rig.resolve(list())).rejects.toMatchObject({ code: 'unavailable' });
    expect(rig.outgoing).toEqual([]);
    await rig.resolve(list(), { last: true });
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'unavailable' } }]);
  });

  // The second page fails, so the first page is sent again and deduplicated.
  test('are sent on once, even if a later page of the listing fails', async () => {
    await using paged = await startRegistry({ pageSize: 2 });
    for (const tag of ['a', 'b', 'c']) paged.push('library/app', IMAGE, tag);
    const rule = paged.misbehave({ match: { kind: 'tags' }, after: 1, do: { status: 503 } });
    await using rig = new Rig();
    const message = resolveMessage(orderFor(paged), { kind: 'list' }).message;
    await expect(rig.resolve(message)).rejects.toMatchObject({ code: 'unavailable' });
    rule.stop();
    await rig.resolve(message);
    expect(rig.sent('resolve').flatMap(({ what }) => (what.kind === 'images' ? what.images : []))).toEqual(
      ['a', 'b', 'c'].map((tag) => ({ tag })),
    );
  });
});

describe('tags move', () => {
  test('and keep the digest that they had before', async () => {
    const newer = makeImage({ layers: [BASE, makeLayer({ seed: 60 })] });
    registry.push('library/app', IMAGE, 'v1');
    await using rig = new Rig();
    await mirrored(rig, [{ tag: 'v1' }]);
    registry.push('library/app', newer, 'v1');
    rig.now = () => 2_000_000;
    await mirrored(rig, [{ tag: 'v1' }], { run: 'run-2' });
    const index = await indexOf(rig);
    expect(index.byTag('v1')?.digest).toBe(newer.digest);
    expect(index.byDigest(IMAGE.digest)).toMatchObject({ tag: undefined, hadTag: 'v1' });
    await expectPullable(rig, IMAGE);
    await expectPullable(rig, newer);
  });

  test('only forward, even if an older run finishes later', async () => {
    const newer = makeImage({ layers: [makeLayer({ seed: 61 })] });
    registry.push('library/app', IMAGE, 'v1');
    await using rig = new Rig();
    await rig.resolve(wanting([{ tag: 'v1' }]));
    const slow = rig.outgoing.length;
    registry.push('library/app', newer, 'v1');
    rig.now = () => 2_000_000;
    await mirrored(rig, [{ tag: 'v1' }], { run: 'run-2' });
    expect((await indexOf(rig)).byTag('v1')?.digest).toBe(newer.digest);
    expect(slow).toBe(2);
    await rig.deliver();
    const index = await indexOf(rig);
    expect(index.byTag('v1')?.digest).toBe(newer.digest);
    // Its content is kept by digest nevertheless.
    expect(index.byDigest(IMAGE.digest)).toBeDefined();
  });
});

describe('content of the archive', () => {
  test('is not requested again: manifests and configs', async () => {
    registry.push('library/app', makeIndex([IMAGE]), 'v1');
    await using rig = new Rig();
    await rig.resolve(wanting([{ tag: 'v1' }]));
    registry.forgetRequests();
    await rig.resolve(wanting([{ tag: 'v1' }], { run: 'run-2' }));
    // The referrers of the index and of its child are listed.
    const requests = registry.requests.map(({ method, kind }) => `${method} ${kind}`);
    expect(requests).toEqual(['GET manifest', 'GET referrers', 'GET referrers']);
  });

  test.each<[string, Digest]>([
    ['manifest', IMAGE.digest],
    ['config', sha256(IMAGE.config)],
  ])('that is a corrupt %s is fetched again', async (_, digest) => {
    registry.push('library/app', IMAGE, 'v1');
    await using rig = new Rig();
    await rig.store.put(rig.archive.layout.blob(digest), Buffer.from('corrupt'));
    await mirrored(rig, [{ tag: 'v1' }]);
    expect(finals(rig)).toEqual([['v1', 'mirrored']]);
    await expectPullable(rig, IMAGE);
  });

  test.each([
    ['nothing at all', 'receipt', undefined],
    ['an object', 'everything', async (rig: Rig) => rig.store.put(rig.archive.layout.blob(BASE.digest), BASE.blob)],
    [
      'an unfinished upload',
      'everything',
      async (rig: Rig) => rig.store.createUpload(rig.archive.layout.blob(BASE.digest), { partSize: 5 }),
    ],
  ] as const)('decides what the layer function looks up if there is %s: %s', async (_, look, prepare) => {
    registry.push('library/app', makeImage({ layers: [BASE] }), 'v1');
    await using rig = new Rig();
    await prepare?.(rig);
    await rig.resolve(wanting([{ tag: 'v1' }]));
    expect(rig.sent('layer').map((message) => message.look)).toEqual([look]);
  });

  test('sends the messages of an image with the largest blob first', async () => {
    const layers = [1, 3, 2].map((n) => makeLayer({ seed: 200 + n, size: n * 1000 }));
    registry.push('library/app', makeImage({ layers }), 'v1');
    await using rig = new Rig();
    await rig.resolve(wanting([{ tag: 'v1' }]));
    const sizes = rig.sent('layer').map(({ blob }) => blob.size ?? 0);
    expect(sizes).toHaveLength(3);
    expect(sizes).toEqual(sizes.toSorted((x, y) => y - x));
  });

  test('is looked up once per blob and slice, even if several images have the blob', async () => {
    const tags = Array.from({ length: 20 }, (_, index) => `v${index}`);
    for (const [seed, tag] of tags.entries())
      registry.push('library/app', makeImage({ layers: [BASE, makeLayer({ seed: 100 + seed })] }), tag);
    await using rig = new Rig();
    const key = rig.archive.layout.receipt(BASE.digest);
    const get = vi.spyOn(rig.store, 'get');
    await rig.resolve(wanting(tags.map((tag) => ({ tag }))));
    expect(get.mock.calls.filter(([asked]) => asked === key)).toHaveLength(1);
    expect(rig.sent('layer').filter(({ blob }) => blob.digest === BASE.digest)).toHaveLength(tags.length);
  });

  test.each(['get', 'uploads'] as const)('that cannot be looked up once (%s) fails only one image', async (method) => {
    const tags = Array.from({ length: 20 }, (_, index) => `v${index}`);
    for (const tag of tags)
      registry.push('library/app', makeImage({ layers: [BASE], overrides: { config: { author: tag } } }), tag);
    await using rig = new Rig();
    const key = method === 'get' ? rig.archive.layout.receipt(BASE.digest) : rig.archive.layout.blobs;
    const original = rig.store[method].bind(rig.store) as (...args: unknown[]) => unknown;
    let failures = 1;
    rig.store[method] = ((asked: string, ...more: unknown[]): unknown => {
      if (asked !== key || failures === 0) return original(asked, ...more);
      failures -= 1;
      throw new Failure({ operation: method, side: 'archive', code: 'unavailable', detail: 'once' });
    }) as never;
    await rig.resolve(wanting(tags.map((tag) => ({ tag }))), { last: true });
    expect(rig.sent('finalize').filter(({ failure }) => failure !== undefined)).toHaveLength(1);
  });
});

// The base layer of a Windows image is not in the registry, and its own address may answer or not.
describe('foreign layers', () => {
  const own = makeLayer({ seed: 90 });
  const base = makeLayer({ seed: 91 });
  const windows = (url: string): Pushable =>
    makeImage({
      layers: [base, own],
      format: 'docker',
      platform: parsePlatform('windows/amd64'),
      overrides: {
        descriptors: ([first, second]) => [
          { ...first!, mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', urls: [url] },
          second!,
        ],
      },
    });

  test('are left out on request, and fetched by a later run without that option', async () => {
    await using owner = await startRegistry();
    const image = windows(`http://${owner.host}/v2/windows/blobs/${base.digest}`);
    registry.push('library/app', image, 'v1');
    registry.removeBlob(base.digest);
    await using rig = new Rig();
    const skip = { foreignLayers: 'skip' } as const;
    await mirrored(rig, [{ tag: 'v1' }], skip);
    expect(finals(rig)).toEqual([['v1', 'mirrored']]);
    expect([await rig.blob(base.digest), await rig.blob(own.digest)]).toMatchObject([undefined, own.blob]);
    expect((await verifyArchive(rig.archive, { signal: NEVER, concurrency: 1 })).problems).toEqual([]);
    await rig.resolve(wanting([{ tag: 'v1' }], { run: 'run-2', ...skip }));
    expect(rig.events.at(-1)).toMatchObject({ status: 'unchanged' });

    // All platforms require more than the archive has.
    await mirrored(rig, [{ tag: 'v1' }], { run: 'run-3' });
    expect(rig.records.at(-1)).toMatchObject({ status: 'failed', code: 'name-unknown' });
    owner.push('windows', image);
    await mirrored(rig, [{ tag: 'v1' }], { run: 'run-4' });
    expect(rig.records.at(-1)).toMatchObject({ status: 'mirrored' });
    await expectPullable(rig, image);
    for (const order of [{ run: 'run-5' }, { run: 'run-6', ...skip }]) {
      await rig.resolve(wanting([{ tag: 'v1' }], order));
      expect(rig.events.at(-1)).toMatchObject({ status: 'unchanged' });
    }
  });

  test('that are left out do not shift the check of the other layers', async () => {
    const wrong = makeImage({
      layers: [base, own],
      overrides: {
        diffIds: [own.diffId, base.diffId],
        descriptors: ([first, second]) => [
          { ...first!, mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip' },
          second!,
        ],
      },
    });
    registry.push('library/app', wrong, 'v1');
    await using rig = new Rig();
    await mirrored(rig, [{ tag: 'v1' }], { foreignLayers: 'skip' });
    expect(rig.records).toMatchObject([{ status: 'failed', code: 'diffid-mismatch' }]);
  });
});

describe('an image beyond the limits is refused before a layer is fetched', () => {
  test('an index with too many manifests fails, however they are nested', async () => {
    const child = (n: number): Pushable => makeImage({ layers: [], overrides: { config: { n } } });
    const full = Array.from({ length: 1024 }, (_, n) => child(n));
    registry.push('library/app', makeIndex(full), 'full');
    registry.push('library/app', makeIndex([makeIndex(full.slice(0, 700)), makeIndex(full.slice(700))]), 'more');
    await using rig = new Rig();
    await mirrored(rig, [{ tag: 'full' }, { tag: 'more' }]);
    expect(finals(rig).toSorted()).toEqual([
      ['full', 'mirrored'],
      ['more', 'failed'],
    ]);
    expect(rig.records.find(({ tag }) => tag === 'more')?.reason).toMatch(/more than 1025 manifests/);
  });
});

// Go encodes an empty slice as null.
test('an index with null manifests is empty', async () => {
  const index = pushable(Buffer.from('{"schemaVersion":2,"manifests":null}'), makeIndex([]).mediaType);
  registry.push('library/app', index, 'v1');
  await using rig = new Rig();
  await mirrored(rig, [{ tag: 'v1' }]);
  expect(finals(rig)).toEqual([['v1', 'mirrored']]);
});

describe('manifests that do not match their index are refused', () => {
  test('for another size', async () => {
    const index = makeIndex([IMAGE], 'oci', { manifests: [{ ...IMAGE.descriptor, size: IMAGE.manifest.length + 1 }] });
    registry.push('library/app', { ...index, children: [IMAGE] }, 'v1');
    await using rig = new Rig();
    await rig.resolve(wanting([{ tag: 'v1' }]));
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'size-mismatch' } }]);
  });

  test('for another type', async () => {
    const index = makeIndex([IMAGE], 'oci', {
      manifests: [{ ...IMAGE.descriptor, mediaType: 'application/vnd.oci.image.index.v1+json' }],
    });
    registry.push('library/app', { ...index, children: [IMAGE] }, 'v1');
    await using rig = new Rig();
    await rig.resolve(wanting([{ tag: 'v1' }]));
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'not-as-declared' } }]);
  });

  test('if they are missing', async () => {
    const index = makeIndex([IMAGE]);
    registry.push('library/app', index, 'v1');
    registry.removeManifest('library/app', IMAGE.digest);
    await using rig = new Rig();
    await rig.resolve(wanting([{ tag: 'v1' }]));
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'manifest-unknown' } }]);
    expect(await rig.archive.tagIndex(orderFor(registry).repository)).toBeUndefined();
  });

  test('a blob with two declared sizes is refused', async () => {
    const image = makeImage({
      layers: [BASE, BASE],
      overrides: { descriptors: ([first, second]) => [first!, { ...second!, size: second!.size + 1 }] },
    });
    registry.push('library/app', image, 'v1');
    await using rig = new Rig();
    await rig.resolve(wanting([{ tag: 'v1' }]));
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'size-mismatch' } }]);
    expect(registry.count({ kind: 'blob', digest: BASE.digest })).toBe(0);
  });
});

test('after a failure of any archive call, the next delivery finishes', async () => {
  registry.push('library/app', makeIndex([IMAGE]), 'v1');
  for (let at = 1; ; at += 1) {
    const store = partStore();
    const { port, faults } = failNth(
      store,
      at,
      new Failure({ operation: 'test', side: 'archive', code: 'io', detail: 'on purpose' }),
    );
    await using rig = new Rig({ store: port });
    const message = wanting([{ tag: 'v1' }]);
    const outcome = await rig.resolve(message).catch((error: unknown) => error);
    if (!faults.fired) break;
    expect(outcome).toMatchObject({ code: 'io' });
    await using again = new Rig({ store });
    await again.resolve(message);
    await again.deliver();
    expect(finals(again)).toEqual([['v1', 'mirrored']]);
  }
});

test('a failed slice makes no further call once resolve has settled', async () => {
  registry.push(
    'library/app',
    makeImage({ layers: Array.from({ length: 30 }, (_, seed) => makeLayer({ seed })) }),
    'v1',
  );
  const act = new Failure({ operation: 'test', side: 'archive', code: 'io', detail: 'on purpose' });
  const faults = new Faults({ at: 12, act });
  await using rig = new Rig({ store: faults.wrap(partStore()) });
  await rig.resolve(wanting([{ tag: 'v1' }])).catch(() => undefined);
  const calls = faults.calls.length;
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
  expect(faults.fired).toBe(true);
  expect(faults.calls).toHaveLength(calls);
});

// HEAD is the first request for a tag that the archive has.
describe('a moved tag whose digest cannot be fetched', () => {
  const FIRST = makeImage({ layers: [BASE], overrides: { config: { author: 'first' } } });
  const OLD = makeImage({ layers: [BASE], overrides: { config: { author: 'old' } } });
  let rig: Rig;

  beforeEach(async () => {
    rig = new Rig();
    registry.push('library/app', FIRST, 'v1');
    await mirrored(rig, [{ tag: 'v1' }], { run: 'run-0' });
    rig.records.length = 0;
  });
  afterEach(() => rig[Symbol.asyncDispose]());
  const UNKNOWN = { status: 404, body: errorBody('MANIFEST_UNKNOWN', 'manifest unknown') };

  test('is fetched by its name if every GET of a digest is 404', async () => {
    registry.push('library/app', IMAGE, 'v1');
    registry.misbehave({ match: { kind: 'manifest', method: 'GET', digest: IMAGE.digest }, do: UNKNOWN });
    rig.now = () => 2_000_000;
    await mirrored(rig, [{ tag: 'v1' }]);
    expect(finals(rig)).toEqual([['v1', 'mirrored']]);
    expect((await indexOf(rig)).byTag('v1')?.digest).toBe(IMAGE.digest);
  });

  // A cache answers HEAD with an older digest, in every sync.
  test('is recorded with the digest that GET of the tag returns', async () => {
    registry.push('library/app', OLD, 'v1');
    registry.push('library/app', IMAGE, 'v1');
    registry.removeManifest('library/app', OLD.digest);
    const stale = { 'docker-content-digest': OLD.digest };
    registry.misbehave({ match: { method: 'HEAD' }, do: { headers: stale } });
    registry.forgetRequests();
    // A second passes with every request.
    const began = 2_000_000;
    rig.now = () => began + 1000 * registry.requests.length;
    const before = rig.sent('layer').length;
    await mirrored(rig, [{ tag: 'v1' }]);
    expect(finals(rig)).toEqual([['v1', 'mirrored']]);
    expect((await indexOf(rig)).byTag('v1')?.digest).toBe(IMAGE.digest);
    // The time before that GET, not before the HEAD with another digest.
    expect(rig.sent('layer')[before]?.image.observed).toBeGreaterThanOrEqual(began + 2000);
    registry.forgetRequests();
    await rig.resolve(wanting([{ tag: 'v1' }], { run: 'run-2' }));
    expect(rig.events.at(-1)).toMatchObject({ status: 'unchanged', digest: IMAGE.digest });
  });

  test('fails if GET of the tag returns another digest than the requested one', async () => {
    registry.push('library/app', IMAGE, 'v1');
    registry.misbehave({ match: { method: 'HEAD' }, do: { headers: { 'docker-content-digest': OLD.digest } } });
    await rig.resolve(wanting([{ tag: 'v1', digest: OLD.digest }]));
    expect(rig.sent('finalize').at(-1)).toMatchObject({ failure: { code: 'manifest-unknown' } });
  });

  test('fails if GET of the tag fails as well', async () => {
    registry.push('library/app', IMAGE, 'v1');
    registry.misbehave({ match: { kind: 'manifest', method: 'GET' }, do: UNKNOWN });
    await rig.resolve(wanting([{ tag: 'v1' }]));
    expect(rig.sent('finalize').at(-1)).toMatchObject({ failure: { code: 'manifest-unknown' } });
  });
});

test('a failure that the context expects is not recorded', async () => {
  await using rig = new Rig();
  const context = { ...rig.context, isExpected: isUnknownRequest };
  const options = { receiveCount: 1, last: true, signal: NEVER };
  await resolve(context, wanting([{ tag: 'none' }], { run: 'fill-1' }), options);
  expect(rig.sent('finalize')).toEqual([]);
  await resolve(context, wanting([{ tag: 'none' }], { run: 'webhook-1' }), options);
  expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'name-unknown' } }]);
});

test('the observation time of an image is the time of the request, and not of the response', async () => {
  registry.push('library/app', IMAGE, 'v1');
  let now = 1000;
  await using rig = new Rig({ now: () => now });
  const held = registry.misbehave({ match: { kind: 'manifest' }, times: 1, do: { noAnswer: true } });
  const resolving = rig.resolve(wanting([{ tag: 'v1' }]));
  await held.begun;
  now = 60_000;
  held.stop();
  await resolving;
  expect(rig.sent('layer').map(({ image }) => image.observed)).toEqual([1000, 1000]);
});

test('one 503 in a slice of 20 images does not delay the other 19', async () => {
  const tags = Array.from({ length: 20 }, (_, n) => `t${n}`);
  for (const [seed, tag] of tags.entries())
    registry.push('library/app', makeImage({ layers: [makeLayer({ seed })] }), tag);
  registry.misbehave({ match: { tag: 't7' }, do: { status: 503 } });
  await using rig = new Rig();
  await expect(rig.resolve(wanting(tags.map((tag) => ({ tag }))))).rejects.toMatchObject({ code: 'unavailable' });
  expect(new Set(rig.sent('layer').map(({ image }) => image.tag))).toEqual(new Set(tags.filter((tag) => tag !== 't7')));
});

test('each new tag of an image costs one GET of its manifest, and all together cost one of its config', async () => {
  const tags = Array.from({ length: 50 }, (_, n) => `t${n}`);
  for (const tag of tags) registry.push('library/app', IMAGE, tag);
  await using rig = new Rig();
  await rig.resolve(wanting(tags.map((tag) => ({ tag }))));
  expect(registry.count({ kind: 'manifest' })).toBe(50);
  expect(registry.count({ method: 'GET', kind: 'manifest' })).toBe(50);
  expect(registry.count({ method: 'GET', kind: 'blob' })).toBe(1);
});

describe('the first request for a tag', () => {
  const HOLDS: Policy = { ...NO_POLICY, minimumAgeMs: 1000 };

  test.each<[string, string, string | undefined, Policy | undefined]>([
    ['GET, if the archive lacks the tag', 'GET', undefined, undefined],
    ['GET, if a policy withholds no image', 'GET', undefined, { ...NO_POLICY, referrers: 'none' }],
    ['HEAD, if a policy withholds images', 'HEAD', undefined, HOLDS],
    ['HEAD, if Docker Hub counts a GET as a pull', 'HEAD', 'docker.io/library/app', undefined],
  ])('is %s', async (_, method, source, policy) => {
    registry.push('library/app', IMAGE, 'v1');
    await using rig = new Rig({ registry: { endpoints: { 'docker.io': [registry.host] } } });
    const { message } = resolveMessage(
      { ...orderFor(registry), ...(source === undefined ? {} : { source }) },
      { kind: 'images', images: [{ tag: 'v1' }] },
    );
    const context = { ...rig.context, ...(policy === undefined ? {} : { policyOf: () => policy }) };
    await resolve(context, message, { receiveCount: 1, last: true, signal: NEVER });
    expect(registry.requests.find(({ kind }) => kind === 'manifest')).toMatchObject({ method });
    expect(rig.sent('layer')).toHaveLength(2);
  });

  test('is HEAD, if a person has rejected an image of the repository', async () => {
    registry.push('library/app', IMAGE, 'v1');
    await using rig = new Rig();
    await mirrored(rig, [{ tag: 'v1' }]);
    const { repository } = orderFor(registry);
    const decision = { action: 'reject' as const, digest: IMAGE.digest, by: 'alice', reason: 'broken', at: rig.now() };
    await rig.archive.updatePolicy(repository, (index) => withDecisionIn(index, decision));
    registry.forgetRequests();
    await rig.resolve(wanting([{ tag: 'v1' }], { run: 'run-2' }));
    expect(registry.requests.map(({ method, kind }) => `${method} ${kind}`)).toEqual(['HEAD manifest']);
    expect(rig.events.at(-1)).toMatchObject({ status: 'rejected' });
  });
});

// Otherwise all manifests of the images that are resolved concurrently would be in memory.
test.each(['v1', `sha256-${'a'.repeat(64)}`])(
  'a large manifest of the new tag %s is read again in its turn',
  async (tag) => {
    const image = makeImage({ layers: [TOP], overrides: { manifest: { annotations: { pad: 'x'.repeat(300_000) } } } });
    registry.push('library/app', image, tag);
    await using rig = new Rig();
    const what = { kind: 'images' as const, images: [{ tag }], listed: true as const };
    await rig.resolve(resolveMessage(orderFor(registry), what).message);
    const manifests = registry.requests.filter(({ kind }) => kind === 'manifest');
    expect(manifests.map(({ method, digest }) => [method, digest])).toEqual([
      ['GET', undefined],
      ['GET', image.digest],
    ]);
    expect(rig.sent('layer')).toHaveLength(1);
  },
);

describe('a new tag whose GET is not a manifest', () => {
  test.each<[string, Parameters<TestRegistry['misbehave']>[0]['do']]>([
    ['a login page', { status: 200, body: '<html>log in</html>' }],
    ['a refusal of the request', { status: 405, body: '' }],
  ])('is found by HEAD and its digest: %s', async (_, wrong) => {
    registry.push('library/app', IMAGE, 'v1');
    registry.misbehave({ match: { method: 'GET', tag: 'v1' }, do: wrong });
    await using rig = new Rig();
    await mirrored(rig, [{ tag: 'v1' }]);
    expect(finals(rig)).toEqual([['v1', 'mirrored']]);
    await expectPullable(rig, IMAGE);
  });

  test('fails with the first reason if HEAD fails as well', async () => {
    registry.push('library/app', IMAGE, 'v1');
    registry.misbehave({ match: { tag: 'v1' }, do: { status: 400, body: errorBody('UNSUPPORTED', 'no') } });
    await using rig = new Rig();
    await rig.resolve(wanting([{ tag: 'v1' }]));
    expect(rig.sent('finalize')).toMatchObject([{ failure: { reason: expect.stringContaining('get manifest') } }]);
  });
});

test('an index of which each child is an image costs one GET for each of them', async () => {
  registry.push('library/app', makeIndex([IMAGE]), 'v1');
  registry.push('library/app', makeIndex([IMAGE]), 'v2');
  await using rig = new Rig();
  await rig.resolve(wanting([{ tag: 'v1' }, { tag: 'v2' }]));
  expect(registry.count({ kind: 'manifest' })).toBe(3);
});

describe('a tag that upstream lacks', () => {
  test('fails with a hint at similar tags, which are listed once', async () => {
    for (const tag of ['1.35', '1.36', '1.36-oci', '2.0', '3.0', '4.0', 'stable'])
      registry.push('library/app', IMAGE, tag);
    await using rig = new Rig();
    await rig.resolve(wanting([{ tag: '1.37' }, { tag: 'latest' }]));
    const reasons = rig.sent('finalize').map(({ failure }) => failure?.reason);
    expect(reasons[0]).toContain(
      '; upstream has 1.35, 1.36, 1.36-oci, 2.0, 3.0 and 2 more; --all-tags, or tags: all in mirror.yaml, mirrors all of them',
    );
    expect(reasons[1]).toContain('upstream has 1.35,');
    expect(registry.count({ kind: 'tags' })).toBe(1);
  });

  // The list may be long, and it has the tag.
  test('fails without a hint if it is from a list of tags', async () => {
    registry.push('library/app', IMAGE, 'v1');
    await using rig = new Rig();
    await rig.resolve(
      resolveMessage(orderFor(registry), { kind: 'images', images: [{ tag: 'v2' }], listed: true }).message,
    );
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'manifest-unknown' } }]);
    expect(registry.count({ kind: 'tags' })).toBe(0);
  });

  test('fails without a hint if the tags cannot be listed', async () => {
    registry.push('library/app', IMAGE, 'v1');
    registry.misbehave({ match: { kind: 'tags' }, do: { status: 403 } });
    await using rig = new Rig();
    await rig.resolve(wanting([{ tag: 'v2' }]));
    const [{ failure } = {}] = rig.sent('finalize');
    expect(failure).toMatchObject({ code: 'manifest-unknown', reason: expect.not.stringContaining('upstream has') });
  });
});

test('a rate limit is thrown on the last delivery if the message can be queued again', async () => {
  for (const tag of ['v1', 'v2']) registry.push('library/app', IMAGE, tag);
  registry.misbehave({ match: { tag: 'v1' }, do: { status: 429, headers: { 'retry-after': '600' } } });
  await using rig = new Rig({ registry: { longestWaitMs: 1000 } });
  const message = wanting([{ tag: 'v1' }]);
  const limited = { code: 'rate-limited', retryAfterMs: 600_000 };
  await expect(rig.resolve(message, { last: true, requeues: true })).rejects.toMatchObject(limited);
  expect(rig.outgoing).toEqual([]);
  await rig.resolve(message, { last: true });
  expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'rate-limited' } }]);
});

// Addresses of ordinary layers would send each mirror to a third party.
test.each([
  ['application/vnd.docker.image.rootfs.diff.tar.gzip', 0],
  ['application/vnd.oci.image.layer.v1.tar+gzip', 0],
  ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', 4],
  ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', 4],
])('a layer of type %s keeps %i of its 32 addresses', async (mediaType, count) => {
  const urls = Array.from({ length: 32 }, (_, n) => `https://victim.example/${n}`);
  const layers = [{ mediaType, digest: BASE.digest, size: BASE.size, urls }];
  registry.push('library/app', makeImage({ layers: [BASE], overrides: { manifest: { layers } } }), 'v1');
  await using rig = new Rig();
  await rig.resolve(wanting([{ tag: 'v1' }]));
  expect(rig.sent('layer').map(({ blob }) => blob.urls?.length ?? 0)).toEqual([count]);
});
