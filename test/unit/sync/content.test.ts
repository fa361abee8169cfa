import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkClosure } from '../../../lib/sync/closure.ts';
import { receiptReader } from '../../../lib/sync/receipt-reader.ts';
import { verifyArchive } from '../../../lib/upkeep/verify.ts';
import { digestOf, type Digest } from '../../../lib/oci/digest.ts';
import { parsePlatform } from '../../../lib/oci/platform.ts';
import { randomBytes, sha256 } from '../../kit/content.ts';
import {
  type Image,
  type ImageOptions,
  type Layer,
  makeArtifact,
  makeImage,
  makeIndex,
  makeLayer,
  type Pushable,
  pushable,
} from '../../kit/images.ts';
import { hasContent } from '../../kit/has-content.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { mirror, type MirrorOptions } from '../../kit/mirror.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { tar } from '../../kit/tar.ts';

const NEVER = new AbortController().signal;
const OCI = 'application/vnd.oci.image.layer.v1.tar';
const DOCKER = 'application/vnd.docker.image.rootfs.diff.tar';

let registry: TestRegistry;
beforeEach(async () => {
  registry = await startRegistry();
});
afterEach(() => registry.close());

/** Mirrors `thing` as team/app:v1, and verifies the archive. */
async function mirrored(thing: Pushable, options: Partial<MirrorOptions> = {}) {
  registry.push('team/app', thing, 'v1');
  const reference = `${registry.host}/team/app:v1`;
  const { archive, outcomes } = await mirror({ store: new MemoryStore(), references: [reference], ...options });
  const { problems } = await verifyArchive(archive, { signal: NEVER, concurrency: 2 });
  expect(problems).toEqual([]);
  const [outcome] = outcomes;
  const tagged = (await archive.tagIndex(`${registry.host}/team/app`))?.index.byTag('v1');
  expect(tagged?.digest).toBe(outcome?.status === 'mirrored' ? thing.digest : undefined);
  return { archive, outcome: outcome! };
}

function layerAs(mediaType: string, bytes: Buffer, unpacked: Uint8Array = bytes): Layer {
  return { blob: bytes, digest: sha256(bytes), diffId: sha256(unpacked), mediaType, size: bytes.length };
}

/** An image with the declarations of its layers. */
function imageOf(layers: readonly Layer[], overrides: ImageOptions['overrides'] = {}): Image {
  const descriptors = layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size }));
  return makeImage({ layers, overrides: { descriptors: () => descriptors, ...overrides } });
}

/** An image with these bytes as its config. */
function withConfig(layers: readonly Layer[], config: Buffer, more: object = {}): Pushable {
  const image = imageOf(layers, {
    manifest: {
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: sha256(config),
        size: config.length,
        ...more,
      },
    },
  });
  return {
    ...image,
    blobs: new Map([[sha256(config), config], ...layers.map(({ digest, blob }) => [digest, blob] as const)]),
  };
}

const small = tar([{ path: 'a', content: 'small' }]);
const large = tar([{ path: 'a', content: randomBytes(20 * 1024 * 1024, 1) }]);

describe('a layer whose bytes are not compressed as declared', () => {
  const packed = { none: (bytes: Buffer) => bytes, gzip: gzipSync, zstd: zstdCompressSync };
  const names = { none: 'plain tar', gzip: 'gzip', zstd: 'zstd' };
  const kinds = ['none', 'gzip', 'zstd'] as const;
  const pairs = kinds.flatMap((declared) =>
    kinds.filter((actual) => actual !== declared).map((actual) => [declared, actual] as const),
  );

  test.each(pairs)('is mirrored with a note: declared %s, found %s', async (declared, actual) => {
    for (const [family, separator] of [
      [OCI, '+'],
      [DOCKER, '.'],
    ] as const) {
      const type = declared === 'none' ? family : `${family}${separator}${declared}`;
      const layer = layerAs(
        type,
        packed[actual](Buffer.concat([small, Buffer.from(family)])),
        Buffer.concat([small, Buffer.from(family)]),
      );
      const { archive, outcome } = await mirrored(imageOf([layer]));
      expect(outcome).toMatchObject({
        status: 'mirrored',
        notes: [`layer ${layer.digest} is declared ${names[declared]}, its bytes are ${names[actual]}`],
      });
      expect(await archive.receipt(layer.digest)).toMatchObject({
        compression: actual,
        declared: type,
        diffIds: { sha256: layer.diffId },
      });
    }
  });

  test('is refused with the reason if only other readers could unpack it', async () => {
    const xz = Buffer.concat([Buffer.from('fd377a585a000004e6d6b446', 'hex'), Buffer.alloc(600, 7)]);
    const { outcome } = await mirrored(imageOf([layerAs(OCI, xz, small)]));
    expect(outcome).toMatchObject({ status: 'failed', code: 'diffid-mismatch' });
    expect(outcome.reason).toContain(
      `${sha256(xz)}) is neither gzip nor zstd (xz and bzip2 are not unpacked), so its diffID is ${sha256(xz)}, config`,
    );
  });

  test('is refused with strict media types, and its blob is not stored', async () => {
    const layer = layerAs(`${OCI}+gzip`, small);
    const { archive, outcome } = await mirrored(imageOf([layer]), { strictMediaTypes: true });
    expect(outcome).toMatchObject({ status: 'failed', code: 'not-as-declared' });
    expect(outcome.reason).toContain(
      `it is declared as ${OCI}+gzip, but does not unpack as that: its bytes are a plain tar`,
    );
    expect(await hasContent(archive, layer.digest)).toBe(false);
    const right = await mirrored(imageOf([layerAs(OCI, small)]), { strictMediaTypes: true });
    expect(right.outcome).toMatchObject({ status: 'mirrored' });
    expect(right.outcome).not.toHaveProperty('notes');
  });

  test('is unpacked while it is streamed, even with 20 MiB', async () => {
    const layer = layerAs(`${OCI}+gzip`, large);
    const { archive, outcome } = await mirrored(imageOf([layer]));
    expect(outcome).toMatchObject({ status: 'mirrored' });
    expect(await archive.receipt(layer.digest)).toMatchObject({
      compression: 'none',
      diffIds: { sha256: layer.digest },
    });
  });

  test('must unpack to the diffID of the config', async () => {
    const { outcome } = await mirrored(imageOf([layerAs(`${OCI}+gzip`, small, Buffer.from('other'))]));
    expect(outcome).toMatchObject({ status: 'failed', code: 'diffid-mismatch' });
  });

  test('is fetched once if two images declare it differently', async () => {
    const asGzip = imageOf([layerAs(`${OCI}+gzip`, small)]);
    const asTar = imageOf([layerAs(OCI, small)]);
    registry.push('team/app', asTar, 'other');
    const first = await mirrored(asGzip);
    const { store } = first.archive;
    const { outcomes } = await mirror({ store, references: [`${registry.host}/team/app:other`] });
    expect(outcomes).toMatchObject([{ status: 'mirrored' }]);
    expect(outcomes[0]).not.toHaveProperty('notes');
    expect(registry.count({ digest: sha256(small), method: 'GET' })).toBe(1);
  });
});

describe('a layer of zero bytes', () => {
  const nothing = Buffer.alloc(0);
  test.each([OCI, `${OCI}+gzip`, `${OCI}+zstd`, DOCKER, `${DOCKER}.gzip`, 'application/vnd.example.layer'])(
    'is an empty layer under %s, and is not requested',
    async (type) => {
      const image = imageOf([layerAs(`${OCI}+gzip`, gzipSync(small), small), layerAs(type, nothing)]);
      const blobs = new Map([...image.blobs].filter(([digest]) => digest !== sha256(nothing)));
      const { outcome } = await mirrored({ ...image, blobs }, { strictMediaTypes: true });
      expect(outcome).toMatchObject({ status: 'mirrored' });
      expect(outcome).not.toHaveProperty('notes');
      expect(registry.count({ digest: sha256(nothing) })).toBe(0);
    },
  );
});

describe('a blob of any other type is opaque', () => {
  const squashfs = Buffer.concat([Buffer.from('hsqs'), randomBytes(3000, 3)]);

  test.each([
    'application/vnd.stacker.image.layer.squashfs+zstd',
    'application/vnd.stacker.image.layer.squashfs+gzip',
    'application/vnd.example.tar.gzip',
  ])('a layer of type %s is mirrored if its diffID is its digest', async (type) => {
    const { archive, outcome } = await mirrored(imageOf([layerAs(type, squashfs)]));
    expect(outcome).toMatchObject({ status: 'mirrored' });
    expect(outcome).not.toHaveProperty('notes');
    expect(await archive.receipt(sha256(squashfs))).toEqual({
      version: 1,
      digest: sha256(squashfs),
      size: squashfs.length,
      diffIds: {},
      source: `${registry.host}/team/app`,
      verifiedAt: expect.any(String) as string,
    });
  });

  test('a layer whose diffID is that of its unpacked content is mirrored with a note', async () => {
    const layer = layerAs(`${OCI}+xz`, randomBytes(500, 4), small);
    const { outcome } = await mirrored(imageOf([layer]));
    expect(outcome).toMatchObject({
      status: 'mirrored',
      notes: [`layer ${layer.digest} is of type "${OCI}+xz": its diffID cannot be proven`],
    });
  });

  test('an encrypted layer is mirrored with a note', async () => {
    const layer = layerAs(`${OCI}+gzip+encrypted`, randomBytes(500, 5), small);
    const { outcome } = await mirrored(imageOf([layer]));
    expect(outcome).toMatchObject({
      status: 'mirrored',
      notes: [`layer ${layer.digest} is encrypted: its diffID cannot be proven`],
    });
  });

  test.each<[string, string, Buffer]>([
    ['zeros after gzip data', 'application/vnd.example.tar+gzip', Buffer.concat([gzipSync(small), Buffer.alloc(99)])],
    ['gzip data that is cut short', 'application/vnd.example.tar+gzip', gzipSync(small).subarray(0, -9)],
    ['arbitrary bytes', 'application/vnd.example.rootfs.v1.erofs+zstd', randomBytes(700, 6)],
    ['arbitrary bytes of a layer type', `${OCI}+gzip`, randomBytes(700, 7)],
  ])('an artifact with %s as %s is mirrored', async (_, type, bytes) => {
    const config = Buffer.from('{"a":1}');
    const image = withConfig([layerAs(type, bytes)], config, { mediaType: 'application/vnd.example.config' });
    const { outcome } = await mirrored(image);
    expect(outcome).toMatchObject({ status: 'mirrored' });
    expect(outcome).not.toHaveProperty('notes');
  });
});

describe('a config that claims no diffIDs', () => {
  const layer = layerAs(`${OCI}+gzip`, randomBytes(300, 8));
  const disk = layerAs('application/vnd.example.vm.disk.v2', randomBytes(300, 9));
  test.each<[string, string, readonly Layer[]]>([
    ['has no rootfs', '{"architecture":"arm64","os":"darwin"}', [disk, layer]],
    ['is empty', '{}', [layer]],
    ['has a rootfs that is null', '{"architecture":"amd64","os":"linux","rootfs":null}', []],
    ['has no bytes', '', [layer]],
    ['is not JSON', 'disk: 1', [layer]],
    ['is an array', '[1]', [layer]],
    ['has the rootfs of a Go program that left it out', '{"rootfs":{"type":"","diff_ids":null}}', [layer]],
  ])('leads to layers that are proven by digest and size, with a note: it %s', async (_, text, layers) => {
    const { outcome } = await mirrored(withConfig(layers, Buffer.from(text)));
    expect(outcome).toMatchObject({ status: 'mirrored', notes: ['no diffIDs claimed'] });
  });

  test.each<[string, string, string]>([
    ['a rootfs of another type', '{"rootfs":{"type":"x","diff_ids":[]}}', 'unsupported'],
    ['a rootfs that is a string', '{"rootfs":"layers"}', 'invalid'],
    ['an empty list of diffIDs', '{"rootfs":{"type":"layers","diff_ids":[]}}', 'layers-mismatch'],
    ['a rootfs in another case', `{"Rootfs":{"type":"layers","diff_ids":["${layer.diffId}"]}}`, 'invalid'],
    ['two of them', `{"rootfs":null,"rootfs":{"type":"layers","diff_ids":["${layer.diffId}"]}}`, 'invalid'],
  ])('does not include one with %s', async (_, text, code) => {
    const { outcome } = await mirrored(withConfig([layer], Buffer.from(text)));
    expect(outcome).toMatchObject({ status: 'failed', code });
  });

  test('does not include one with other invalid fields: its diffIDs are compared', async () => {
    const odd = { os: 5, architecture: [], 'os.features': 'x', rootfs: { diff_ids: [sha256(Buffer.from('other'))] } };
    const { outcome } = await mirrored(
      withConfig([layerAs(`${OCI}+gzip`, gzipSync(small), small)], Buffer.from(JSON.stringify(odd))),
    );
    expect(outcome).toMatchObject({ status: 'failed', code: 'diffid-mismatch' });
  });
});

describe('diffIDs are proven with the algorithm that the config names', () => {
  const blob = gzipSync(small);
  const sha512 = digestOf(small, 'sha512');
  const rightSha256 = { diffIds: [sha256(small)] };

  test('sha512 diffIDs are proven, also for a blob and a config with sha512 digests', async () => {
    const layer = { ...layerAs(`${OCI}+gzip`, blob, small), digest: digestOf(blob, 'sha512') };
    const config = Buffer.from(JSON.stringify({ rootfs: { type: 'layers', diff_ids: [sha512] } }));
    const image = withConfig([layer], config, { digest: digestOf(config, 'sha512') });
    const { outcome, archive } = await mirrored({
      ...image,
      blobs: new Map([
        [layer.digest, blob],
        [digestOf(config, 'sha512'), config],
      ]),
    });
    expect(outcome).toMatchObject({ status: 'mirrored' });
    expect(await archive.receipt(layer.digest)).toMatchObject({ diffIds: { sha512 } });
  });

  test('a sha512 diffID that does not match is refused', async () => {
    const other = digestOf(Buffer.from('other'), 'sha512');
    const { outcome } = await mirrored(imageOf([layerAs(`${OCI}+gzip`, blob, small)], { diffIds: [other] }));
    expect(outcome).toMatchObject({ status: 'failed', code: 'diffid-mismatch' });
  });

  test.each<[string, readonly Digest[], readonly Digest[]]>([
    ['sha256, then sha512', [sha256(small)], [sha512]],
    ['sha512, then sha256', [sha512], [sha256(small)]],
  ])('two images that need %s of one blob fetch it once', async (_, first, second) => {
    const layer = layerAs(`${OCI}+gzip`, blob, small);
    registry.push('team/app', imageOf([layer], { diffIds: second }), 'other');
    const { archive } = await mirrored(imageOf([layer], { diffIds: first }));
    const { outcomes } = await mirror({ store: archive.store, references: [`${registry.host}/team/app:other`] });
    expect(outcomes).toMatchObject([{ status: 'mirrored' }]);
    expect(await archive.receipt(layer.digest)).toMatchObject({ diffIds: { sha256: sha256(small), sha512 } });
    expect(registry.count({ digest: layer.digest, method: 'GET' })).toBe(1);
  });

  test('an image that lists a blob under both algorithms proves both at once', async () => {
    const layer = layerAs(`${OCI}+gzip`, blob, small);
    const { outcome } = await mirrored(imageOf([layer, layer], { diffIds: [...rightSha256.diffIds, sha512] }));
    expect(outcome).toMatchObject({ status: 'mirrored' });
  });
});

describe('known content is not requested', () => {
  test.each<[string, Buffer, string]>([
    ['{} with data', Buffer.from('{}'), 'e30='],
    ['{} without data', Buffer.from('{}'), ''],
    ['nothing', Buffer.alloc(0), ''],
    ['other bytes in data', Buffer.from('{"a":1}'), Buffer.from('{"a":1}').toString('base64')],
  ])('a config is known from its descriptor: %s', async (_, config, data) => {
    for (const mediaType of ['application/vnd.oci.empty.v1+json', 'application/vnd.oci.image.config.v1+json']) {
      const image = withConfig([layerAs('a/b', randomBytes(99, 1))], config, {
        mediaType,
        ...(data === '' ? {} : { data }),
      });
      const blobs = new Map([...image.blobs].filter(([digest]) => digest !== sha256(config)));
      const { outcome } = await mirrored({ ...image, blobs });
      expect(outcome).toMatchObject({ status: 'mirrored' });
      expect(registry.count({ digest: sha256(config) })).toBe(0);
    }
  });

  test('data that does not match the digest is ignored', async () => {
    const config = Buffer.from('{"a":1}');
    const { outcome } = await mirrored(withConfig([], config, { mediaType: 'a/b', data: 'eyJhIjoyfQ==' }));
    expect(outcome).toMatchObject({ status: 'mirrored' });
    expect(registry.count({ digest: sha256(config), method: 'GET' })).toBe(1);
  });

  test('layers in their descriptors are fetched once the data of an image exceeds 256 KiB', async () => {
    const layers = [1, 2, 3, 4].map((seed) => layerAs('a/b', randomBytes(60_000, seed)));
    const descriptors = layers.map(({ mediaType, digest, blob: bytes }) => {
      return { mediaType, digest, size: bytes.length, data: bytes.toString('base64') };
    });
    const { outcome } = await mirrored(makeImage({ layers, overrides: { descriptors: () => descriptors } }));
    expect(outcome).toMatchObject({ status: 'mirrored' });
    expect(layers.map(({ digest }) => registry.count({ digest, method: 'GET' }))).toEqual([0, 0, 0, 1]);
  });

  test('a layer in its descriptor is proven like any other layer', async () => {
    const layer = layerAs(`${OCI}+gzip`, gzipSync(small), small);
    const image = (data: Buffer, diffId: Digest): Pushable => {
      const descriptors = [
        { mediaType: layer.mediaType, digest: sha256(data), size: data.length, data: data.toString('base64') },
      ];
      const made = makeImage({ layers: [layer], overrides: { diffIds: [diffId], descriptors: () => descriptors } });
      return { ...made, blobs: new Map([...made.blobs].filter(([digest]) => digest !== layer.digest)) };
    };
    expect((await mirrored(image(layer.blob, layer.diffId))).outcome).toMatchObject({ status: 'mirrored' });
    expect((await mirrored(image(layer.blob, sha256(Buffer.from('x'))))).outcome).toMatchObject({
      code: 'diffid-mismatch',
    });
    const bad = layer.blob.subarray(0, -3);
    expect((await mirrored(image(bad, layer.diffId))).outcome).toMatchObject({ code: 'not-as-declared' });
    expect(registry.count({ digest: layer.digest })).toBe(0);
  });
});

describe('a manifest that other tools copy is mirrored with its own bytes', () => {
  test('if the index declares the type of another vendor', async () => {
    const child = makeImage();
    const descriptor = { ...child.descriptor, mediaType: 'application/vnd.docker.distribution.manifest.v2+json' };
    const { outcome } = await mirrored(makeIndex([{ ...child, descriptor }], 'docker'));
    expect(outcome).toMatchObject({ status: 'mirrored' });
  });

  test('if an annotation is in Latin-1', async () => {
    const { manifest, mediaType, ...image } = makeImage({ overrides: { manifest: { annotations: { by: 'Jörg' } } } });
    const bytes = Buffer.from(manifest.toString(), 'latin1');
    expect(bytes.length).toBe(manifest.length - 1);
    const { archive, outcome } = await mirrored({ ...image, ...pushable(bytes, mediaType), blobs: image.blobs });
    expect(outcome).toMatchObject({ status: 'mirrored' });
    const stored = await archive.content(sha256(bytes), { maxBytes: 10_000 });
    expect(stored === undefined ? undefined : bytes.equals(stored)).toBe(true);
  });
});

describe('platforms', () => {
  const on = (platform: string, seed: number): Image =>
    makeImage({ layers: [makeLayer({ seed })], platform: parsePlatform(platform) });
  const amd64 = on('linux/amd64', 1);
  const arm64 = on('linux/arm64', 2);
  const only = (...names: string[]): Partial<MirrorOptions> => ({ platforms: names.map(parsePlatform) });

  test('that were requested and do not exist are noted', async () => {
    const { outcome, archive } = await mirrored(makeIndex([amd64, arm64]), only('linux/s390x', 'linux/arm64'));
    expect(outcome).toMatchObject({ status: 'mirrored', notes: ['platform linux/s390x is not in the image'] });
    const scope = { platforms: ['linux/s390x', 'linux/arm64'].map(parsePlatform) };
    const state = await checkClosure(outcome.digest!, scope, receiptReader(archive, NEVER));
    expect(state).toMatchObject({ absent: [parsePlatform('linux/s390x')] });
  });

  test('that were requested of a single image are noted only if they are missing', async () => {
    const { outcome } = await mirrored(amd64, only('linux/amd64', 'linux/arm64'));
    expect(outcome).toMatchObject({ notes: ['platform linux/arm64 is not in the image'] });
    const whole = await mirrored(makeIndex([amd64, arm64]), only('linux/amd64', 'linux/arm64'));
    expect(whole.outcome).not.toHaveProperty('notes');
  });

  test('without OS features select images with any features', async () => {
    const windows = { os: 'windows', architecture: 'amd64', osVersion: '10.0.20348.1' };
    const plain = makeImage({ layers: [makeLayer({ seed: 4 })], platform: windows });
    const featured = makeImage({ layers: [makeLayer({ seed: 5 })], platform: { ...windows, osFeatures: ['win32k'] } });
    const both = await mirrored(makeIndex([plain, featured]), only('windows/amd64'));
    expect(both.outcome).not.toHaveProperty('notes');
    for (const { digest } of [plain, featured]) expect(await hasContent(both.archive, digest)).toBe(true);
    const one = await mirrored(makeIndex([featured]), only('windows/amd64'));
    expect(one.outcome).toMatchObject({ status: 'mirrored' });
  });

  test('that are left out although the user did not name any are noted', async () => {
    const v3 = makeImage({
      layers: [makeLayer({ seed: 6 })],
      platform: { ...parsePlatform('linux/amd64'), variant: 'v3' },
    });
    const { outcome } = await mirrored(makeIndex([amd64, v3, arm64]), only('linux/amd64'));
    expect(outcome).toMatchObject({
      notes: ['platform linux/amd64/v3 is left out: linux/amd64 does not name it'],
    });
  });

  test('are mirrored with a note if their attestation is missing upstream', async () => {
    const attestation = makeArtifact({
      platform: { os: 'unknown', architecture: 'unknown' },
      annotations: { 'vnd.docker.reference.digest': amd64.digest },
    });
    const index = makeIndex([amd64, arm64, attestation]);
    const lost: Pushable = { ...index, children: [amd64, arm64] };
    const { outcome } = await mirrored(lost, only('linux/amd64'));
    expect(outcome).toMatchObject({
      status: 'mirrored',
      notes: [`attestation ${attestation.digest} is missing upstream`],
    });
    const all = await mirror({ store: new MemoryStore(), references: [`${registry.host}/team/app:v1`] });
    expect(all.outcomes).toMatchObject([{ status: 'failed', code: 'manifest-unknown' }]);
  });
});

describe('limits of one image', () => {
  test('allow 8,192 blobs, and refuse one more before a layer is fetched', async () => {
    const layers = (from: number, count: number): object[] =>
      Array.from({ length: count }, (_, n) => ({
        mediaType: 'application/vnd.example',
        digest: digestOf(Buffer.from(`blob ${from + n}`)),
        size: 1,
      }));
    const child = (from: number, count: number): Pushable => {
      const config = { mediaType: 'application/vnd.oci.empty.v1+json', digest: sha256(Buffer.from('{}')), size: 2 };
      const manifest = {
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config,
        layers: layers(from, count),
      };
      return pushable(Buffer.from(JSON.stringify(manifest)), manifest.mediaType);
    };
    const children = Array.from({ length: 8 }, (_, n) => child(n * 1024, 1024));
    registry.push('team/app', makeIndex(children), 'v1');
    const { outcomes } = await mirror({ store: new MemoryStore(), references: [`${registry.host}/team/app:v1`] });
    expect(outcomes).toMatchObject([{ status: 'failed', code: 'too-large' }]);
    expect(outcomes[0]?.reason).toContain('the image has more than 8192 blobs');
    expect(registry.requests.filter(({ kind }) => kind === 'blob')).toEqual([]);
  });

  test('count the size of each object once', async () => {
    const shared = makeLayer({ seed: 20 });
    const images = [1, 2, 3].map((n) => makeImage({ layers: [shared, shared, makeLayer({ seed: 20 + n })] }));
    const index = makeIndex(images);
    const { archive, outcome } = await mirrored(index);
    const state = await checkClosure(outcome.digest!, { platforms: 'all' }, receiptReader(archive, NEVER));
    const blobs = new Map(images.flatMap((image) => [[image.digest, image.manifest] as const, ...image.blobs]));
    const sum = [index.manifest, ...blobs.values()].reduce((total, { length }) => total + length, 0);
    expect(state).toMatchObject({ complete: true, bytes: sum });
  });
});
