import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { contentOf, digestOfContent, generated, randomBytes, repeated, sha256 } from '../../kit/content.ts';
import { dockerEmptyLayer, generatedLayer, makeArtifact, makeImage, makeIndex, makeLayer } from '../../kit/images.ts';
import { makeSchema1 } from '../../kit/schema1.ts';
import { poisoned } from '../../kit/poisoned.ts';
import { startRegistry } from '../../kit/registry.ts';
import { tar } from '../../kit/tar.ts';
import { tempFolder } from '../../kit/temp.ts';
import { parseManifest } from '../../../lib/oci/manifest.ts';

/** Takes a zstd stream apart by its frames (RFC 8878); the kit's frames are found by their magic numbers. */
function unzstd(blob: Buffer): Buffer {
  const starts: number[] = [];
  for (let at = 0; at + 4 <= blob.length; at += 1) {
    const magic = blob.readUInt32LE(at);
    if (magic === 0xfd2fb528) starts.push(at);
    if (magic === 0x184d2a50) at += 7 + blob.readUInt32LE(at + 4);
  }
  return Buffer.concat(starts.map((start) => zstdDecompressSync(blob.subarray(start))));
}

describe('layers', () => {
  test.each([
    ['gzip', 'single'],
    ['gzip', 'several'],
    ['gzip', 'chunked'],
    ['zstd', 'single'],
    ['zstd', 'several'],
    ['zstd', 'chunked'],
    ['none', 'single'],
  ] as const)('unpack to the archive of their diffID: %s, %s', (compression, framing) => {
    const layer = makeLayer({ compression, framing, files: [{ path: 'text', content: 'words '.repeat(3000) }] });
    const unpacked = { gzip: gunzipSync, zstd: unzstd, none: (bytes: Buffer) => bytes }[compression](layer.blob);
    expect(sha256(unpacked)).toBe(layer.diffId);
    expect(sha256(layer.blob)).toBe(layer.digest);
    expect(layer.mediaType).toContain(compression === 'none' ? 'tar' : `+${compression}`);
    const members =
      layer.blob.toString('latin1').split(compression === 'gzip' ? '\x1f\x8b\x08' : '\x28\xb5\x2f\xfd').length - 1;
    if (compression !== 'none') expect(members).toBeGreaterThanOrEqual({ single: 1, several: 5, chunked: 17 }[framing]);
    if (compression === 'zstd') expect(layer.blob.includes('in between')).toBe(framing === 'chunked');
  });

  test('have the same bytes for the same options, and others for another seed', () => {
    expect(makeLayer({ seed: 5 })).toEqual(makeLayer({ seed: 5 }));
    expect(makeLayer({ seed: 5 }).digest).not.toBe(makeLayer({ seed: 6 }).digest);
    expect(makeImage().digest).toBe(makeImage().digest);
    expect(makeImage({ format: 'docker' }).digest).not.toBe(makeImage().digest);
  });

  test("include Docker's empty layer with its known digests", () => {
    expect(dockerEmptyLayer()).toMatchObject({
      digest: 'sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4',
      diffId: makeLayer({ files: [] }).diffId,
    });
  });

  test('of repeated gzip members unpack to their diffID', async () => {
    const plain = randomBytes(5000, 1);
    const member = makeLayer({ files: [{ path: 'x', content: plain }] }).blob;
    const unpacked = gunzipSync(member);
    const layer = await generatedLayer(repeated(member, 7), repeated(unpacked, 7), 'gzip');
    expect(layer.size).toBe(7 * member.length);
    const blob = Buffer.concat(await Array.fromAsync(layer.content.read(0, layer.size)));
    expect(sha256(gunzipSync(blob))).toBe(layer.diffId);
    expect(await digestOfContent(contentOf(blob))).toBe(layer.digest);
  });

  test.each([
    ['random', generated({ size: 1_000_001, seed: 4 })],
    ['compressible', generated({ size: 1_000_001, seed: 4, compressible: true })],
    ['repeated', repeated(randomBytes(1001, 4), 1000)],
    ['held', contentOf(randomBytes(1_000_000, 4))],
  ])('with %s content can be read from any offset', async (_, content) => {
    const read = async (start: number, end: number): Promise<Buffer> =>
      Buffer.concat(await Array.fromAsync(content.read(start, end)));
    const whole = await read(0, content.size);
    expect(whole.length).toBe(content.size);
    for (const [start, end] of [
      [0, 1],
      [17, 300_003],
      [262_143, 262_145],
      [999_999, 1_000_000],
      [5, 5],
    ] as const)
      expect((await read(start, end)).equals(whole.subarray(start, end))).toBe(true);
  });
});

test("the system's tar unpacks every kind of entry", async () => {
  await using folder = await tempFolder();
  const long = `${'deep/'.repeat(30)}${'n'.repeat(120)}`;
  const archive = tar([
    { path: 'dir', type: 'directory' },
    { path: 'dir/file', content: 'content', mode: 0o755, mtime: 1_000_000_000 },
    { path: 'dir/link', type: 'symlink', target: 'file' },
    { path: 'hard', type: 'hardlink', target: 'dir/file' },
    { path: long, content: randomBytes(1000, 1) },
    { path: 'naïve/名前', content: 'named' },
  ]);
  await writeFile(folder.join('a.tar'), archive);
  execFileSync('tar', ['-xf', folder.join('a.tar'), '-C', folder.path, '--no-same-owner'], { stdio: 'pipe' });
  expect(await readFile(folder.join('dir/link'), 'utf8')).toBe('content');
  expect(await readFile(folder.join('hard'), 'utf8')).toBe('content');
  expect(await readFile(folder.join(long))).toEqual(randomBytes(1000, 1));
  expect(await readFile(folder.join('naïve/名前'), 'utf8')).toBe('named');
  const { mode, mtimeMs } = await stat(folder.join('dir/file'));
  expect([mode & 0o777, mtimeMs]).toEqual([0o755, 1e12]);
});

test.each(['oci', 'docker'] as const)('documents in %s format agree with each other', (format) => {
  const layers = [makeLayer({ seed: 1 }), makeLayer({ seed: 2, compression: 'zstd' })];
  const image = makeImage({ layers, format, platform: { os: 'linux', architecture: 'arm', variant: 'v7' } });
  const manifest = JSON.parse(image.manifest.toString()) as Record<string, unknown>;
  expect(manifest).toMatchObject({
    mediaType: image.mediaType,
    config: { digest: sha256(image.config), size: image.config.length },
    layers: layers.map(({ digest, size }) => ({ digest, size, mediaType: expect.stringContaining(format) as string })),
  });
  expect(JSON.parse(image.config.toString())).toMatchObject({
    ...{ os: 'linux', architecture: 'arm', variant: 'v7' },
    rootfs: { diff_ids: layers.map(({ diffId }) => diffId) },
  });
  const index = makeIndex([image], format);
  expect(JSON.parse(index.manifest.toString())).toMatchObject({
    manifests: [{ digest: sha256(image.manifest), size: image.manifest.length, platform: { variant: 'v7' } }],
  });
});

test('invalid images can be pulled under their tags without affecting each other', async () => {
  await using registry = await startRegistry();
  const images = poisoned();
  images.forEach((image, index) => {
    image.push(registry, 'bad', `tag${index}`);
  });
  expect(new Set(images.map(({ name }) => name)).size).toBe(images.length);
  let missing = 0;
  let wrong = 0;
  for (const index of images.keys()) {
    const url = `http://${registry.host}/v2/bad`;
    const response = await fetch(`${url}/manifests/tag${index}`, { headers: { accept: '*/*' } });
    expect(response.status).toBe(200);
    const text = await response.text();
    if (!text.startsWith('{')) continue; // the error page
    const { layers = [] } = JSON.parse(text) as { layers?: { digest: string }[] };
    for (const { digest } of layers) {
      const blob = await fetch(`${url}/blobs/${digest}`);
      const hex = createHash('sha256')
        .update(Buffer.from(await blob.arrayBuffer()))
        .digest('hex');
      if (blob.status === 404) missing += 1;
      else if (digest !== `sha256:${hex}`) wrong += 1;
    }
  }
  expect({ missing, wrong }).toEqual({ missing: 1, wrong: 1 });
});

test.each([
  ['image', makeImage()],
  ['image', makeImage({ format: 'docker' })],
  ['index', makeIndex([makeImage()])],
  ['index', makeIndex([makeImage({ format: 'docker' })], 'docker')],
  ['image', makeArtifact({ subject: makeImage() })],
  ['schema1', makeSchema1()],
  ['schema1', makeSchema1({ signed: false, layers: [makeLayer(), dockerEmptyLayer()] })],
] as const)('a valid %s is accepted by the parsers', (kind, pushable) => {
  const manifest = parseManifest(pushable.manifest, pushable.mediaType);
  expect(manifest).toMatchObject({ kind, mediaType: pushable.mediaType });
  if (manifest.kind === 'schema1') expect(sha256(manifest.payload)).toBe(pushable.digest);
});
