import { brotliCompressSync, deflateRawSync, deflateSync, gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { digestOf } from '../../../lib/oci/digest.ts';
import type { BlobSource } from '../../../lib/registry/source.ts';
import { randomBytes } from '../../kit/content.ts';
import { serveHttp, type HttpServer, type Reply } from '../../kit/http-server.ts';
import { makeImage } from '../../kit/images.ts';
import { collect, failureOf, testSources } from './helpers.ts';

const image = makeImage();
const MANIFEST = { 'content-type': image.mediaType, 'docker-content-digest': image.digest };

const CODINGS: readonly (readonly [string, (bytes: Uint8Array) => Buffer])[] = [
  ['gzip', gzipSync],
  ['x-gzip', gzipSync],
  ['GZIP', gzipSync],
  ['deflate', deflateSync],
  ['br', brotliCompressSync],
  ['zstd', zstdCompressSync],
  ['gzip, br', (bytes) => brotliCompressSync(gzipSync(bytes))],
];

/** Every response is encoded, for any Accept-Encoding. */
function encoded(name: string, encode: (bytes: Uint8Array) => Buffer): Promise<HttpServer> {
  const label = { 'content-encoding': name };
  return serveHttp(({ path, headers, method }): Reply => {
    if (path.startsWith('/token')) return [200, label, encode(Buffer.from('{"token":"t"}'))];
    if (headers.authorization !== 'Bearer t') {
      const realm = `http://${headers.host ?? ''}/token`;
      return [401, { ...label, 'www-authenticate': `Bearer realm="${realm}"` }, encode(Buffer.from('{}'))];
    }
    if (method === 'HEAD') return [200, { ...MANIFEST, ...label }];
    if (path.includes('/manifests/')) return [200, { ...MANIFEST, ...label }, encode(image.manifest)];
    return [200, label, encode(Buffer.from('{"tags":["v1"]}'))];
  });
}

describe('short bodies that arrive encoded', () => {
  test.each(CODINGS)('are decoded: %s', async (name, encode) => {
    await using server = await encoded(name, encode);
    await using sources = testSources();
    const source = sources.at(server.host);
    expect((await source.resolve('v1')).digest).toBe(image.digest);
    const { bytes, digest } = await source.manifest(image.digest);
    expect([digest, Buffer.from(bytes)]).toEqual([image.digest, image.manifest]);
    expect(await Array.fromAsync(source.tags())).toEqual([['v1']]);
  });

  test('are decoded in errors', async () => {
    await using server = await serveHttp(() => [
      404,
      { 'content-encoding': 'gzip' },
      gzipSync('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"it has gone"}]}'),
    ]);
    await using sources = testSources();
    const failure = await failureOf(sources.at(server.host).manifest(image.digest), 'manifest-unknown');
    expect(failure.detail).toContain('404 MANIFEST_UNKNOWN: it has gone');
  });

  test.each(['gzip', 'br', 'zstd', 'deflate', 'identity', 'utf-8', 'aws-chunked'])(
    'stay unchanged if they are only labelled as encoded: %s',
    async (label) => {
      await using server = await serveHttp(() => [200, { ...MANIFEST, 'content-encoding': label }, image.manifest]);
      await using sources = testSources();
      expect((await sources.at(server.host).manifest(image.digest)).digest).toBe(image.digest);
    },
  );

  test('are decoded without the zlib header as well', async () => {
    await using server = await serveHttp(() => [
      200,
      { ...MANIFEST, 'content-encoding': 'deflate' },
      deflateRawSync(image.manifest),
    ]);
    await using sources = testSources();
    expect((await sources.at(server.host).manifest(image.digest)).digest).toBe(image.digest);
  });

  test.each(CODINGS)('are too large if the decoded bytes exceed the limit: %s', async (name, encode) => {
    const bomb = encode(Buffer.alloc(5 * 1024 * 1024));
    await using server = await serveHttp(() => [200, { ...MANIFEST, 'content-encoding': name }, bomb]);
    await using sources = testSources();
    await failureOf(sources.at(server.host).manifest(image.digest), 'too-large');
  });

  const times = (count: number): string => Array<string>(count).fill('gzip').join(', ');
  const gzipped = (bytes: Uint8Array, count: number): Uint8Array =>
    count === 0 ? bytes : gzipped(gzipSync(bytes), count - 1);

  test('are decoded with three codings, and refused with four', async () => {
    await using server = await serveHttp(({ path }) => {
      const count = path.endsWith(image.digest) ? 3 : 4;
      return [200, { ...MANIFEST, 'content-encoding': times(count) }, gzipped(image.manifest, count)];
    });
    await using sources = testSources();
    const source = sources.at(server.host);
    expect((await source.manifest(image.digest)).digest).toBe(image.digest);
    const failure = await failureOf(source.manifest(digestOf(Buffer.from('other'))), 'invalid');
    expect(failure.detail).toBe(`${server.host} sent a body with more than 3 content codings`);
  });

  test('with thousands of codings are left out of errors', async () => {
    await using server = await serveHttp(({ path }) =>
      path === '/v2/' ? [200, {}, ''] : [404, { 'content-encoding': times(5000) }, gzipSync('gone')],
    );
    await using sources = testSources();
    const failure = await failureOf(sources.at(server.host).manifest(image.digest), 'manifest-unknown');
    expect(failure.detail).toBe(`${server.host} answered 404`);
  });

  test('that cannot be decoded are reported as such, and not as another manifest', async () => {
    const broken = gzipSync(image.manifest).subarray(0, -10);
    await using server = await serveHttp(() => [200, { ...MANIFEST, 'content-encoding': 'gzip' }, broken]);
    await using sources = testSources();
    const failure = await failureOf(sources.at(server.host).manifest(image.digest), 'truncated');
    expect(failure.detail).toBe(`${server.host} sent a body that does not match its Content-Encoding`);
  });
});

describe('a blob that arrives encoded', () => {
  const bytes = Buffer.concat([randomBytes(3000, 1), Buffer.alloc(3000)]);
  const digest = digestOf(bytes);

  /** Serves the encoded form, with ranges or without a length. */
  function blobServer(form: Buffer, label: string, how: 'length' | 'chunked' | 'ranges'): Promise<HttpServer> {
    return serveHttp(({ headers }) => {
      const head = { 'content-encoding': label, ...(how === 'chunked' ? { 'transfer-encoding': 'chunked' } : {}) };
      const [, start, end] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? [];
      if (how !== 'ranges' || start === undefined) return [200, head, form];
      const piece = form.subarray(Number(start), end ? Number(end) + 1 : undefined);
      const range = `bytes ${start}-${Number(start) + piece.length - 1}/${form.length}`;
      return [206, { ...head, 'content-range': range }, piece];
    });
  }

  test.each(
    CODINGS.flatMap(([name, encode]) =>
      (['length', 'chunked', 'ranges'] as const).map((how) => [name, how, encode] as const),
    ),
  )('is decoded: %s, with its %s', async (name, how, encode) => {
    await using server = await blobServer(encode(bytes), name, how);
    await using sources = testSources();
    const source = sources.at(server.host);
    const blob = source.blob(digest, { size: bytes.length });
    expect(await collect(await blob.open({ start: 0 }))).toEqual(bytes);
    const part = await blob.open({ start: 0, end: 100 });
    expect(part.ranged).toBe(false);
    expect(await collect(part)).toEqual(bytes);
    await failureOf(blob.open({ start: 100 }), 'range-ignored');
    expect(Buffer.from(await source.smallBlob(digest, { maxBytes: 10_000, size: bytes.length }))).toEqual(bytes);
  });

  test.each(['length', 'chunked', 'ranges'] as const)(
    'stays unchanged if it is only labelled as encoded, with its %s',
    async (how) => {
      const layer = gzipSync(bytes);
      await using server = await blobServer(layer, 'gzip', how);
      await using sources = testSources();
      const blob = sources.at(server.host).blob(digestOf(layer), { size: layer.length });
      expect(await collect(await blob.open({ start: 0 }))).toEqual(layer);
      if (how !== 'ranges') return;
      expect(await collect(await blob.open({ start: 10, end: 20 }))).toEqual(layer.subarray(10, 20));
    },
  );

  describe('without its length, and too large to be buffered,', () => {
    const large = Buffer.concat([randomBytes(5 * 1024 * 1024, 4), Buffer.alloc(1_000_000)]);
    const random = randomBytes(5 * 1024 * 1024, 5);

    test.each([
      ['shorter', large],
      ['longer', random],
    ])('restarts once, and is decoded then, if its encoded form is %s', async (_, plain) => {
      await using server = await blobServer(gzipSync(plain, { level: 1 }), 'gzip', 'chunked');
      await using sources = testSources();
      const source = sources.at(server.host);
      const options = { size: plain.length };
      const first = await source.blob(digestOf(plain), options).open({ start: 0, end: 100 });
      expect(await failureOf(collect(first), 'size-mismatch')).toMatchObject({ remedy: 'restart' });
      const second = await source.blob(digestOf(plain), options).open({ start: 0, end: 100 });
      expect(second.ranged).toBe(false);
      expect((await collect(second)).equals(plain)).toBe(true);
    });

    test('is received as it is after a restart if it is only labelled as encoded and was cut', async () => {
      const layer = gzipSync(random, { level: 0 });
      let form = layer.subarray(0, 5_000_000);
      await using server = await serveHttp(() => [
        200,
        { 'content-encoding': 'gzip', 'transfer-encoding': 'chunked' },
        form,
      ]);
      await using sources = testSources();
      const open = (): ReturnType<BlobSource['open']> =>
        sources.at(server.host).blob(digestOf(layer), { size: layer.length }).open({ start: 0 });
      expect(await failureOf(collect(await open()), 'size-mismatch')).toMatchObject({ remedy: 'restart' });
      form = layer;
      expect(await failureOf(collect(await open()), 'size-mismatch')).toMatchObject({ remedy: 'never' });
      expect((await collect(await open())).equals(layer)).toBe(true);
    });
  });

  test.each(['length', 'chunked', 'ranges'] as const)(
    'is refused with thousands of codings, with its %s',
    async (how) => {
      await using server = await blobServer(gzipSync(bytes), Array<string>(5000).fill('br').join(), how);
      await using sources = testSources();
      const blob = sources.at(server.host).blob(digest, { size: bytes.length });
      const failure = await failureOf(blob.open({ start: 0, end: 100 }), 'invalid');
      expect(failure.detail).toContain('sent a body with more than 3 content codings');
    },
  );

  test.each([100, 1_000_000])('is decoded if its encoded form is longer: %i bytes', async (size) => {
    const random = randomBytes(size, 3);
    const form = gzipSync(random);
    expect(form.length).toBeGreaterThan(size);
    await using server = await blobServer(form, 'gzip', 'chunked');
    await using sources = testSources();
    const body = await sources.at(server.host).blob(digestOf(random), { size }).open({ start: 0 });
    expect(await collect(body)).toEqual(random);
  });

  test('is cut if its encoded form is so long that it could fill the memory', async () => {
    const form = gzipSync(bytes);
    const emptyBlocks = Buffer.alloc(1_000_000, Buffer.from([0, 0, 0, 0xff, 0xff]));
    const long = Buffer.concat([form.subarray(0, 10), emptyBlocks, form.subarray(10)]);
    expect(gunzipSync(long)).toEqual(bytes);
    await using server = await blobServer(long, 'gzip', 'chunked');
    await using sources = testSources();
    const body = await sources.at(server.host).blob(digest, { size: bytes.length }).open({ start: 0 });
    await failureOf(collect(body), 'truncated');
  });

  test('is refused if it cannot be decoded', async () => {
    await using server = await blobServer(randomBytes(500, 2), 'gzip', 'length');
    await using sources = testSources();
    const body = await sources.at(server.host).blob(digest, { size: bytes.length }).open({ start: 0 });
    const failure = await failureOf(collect(body), 'invalid');
    expect(failure.detail).toContain('sent a body that does not match its Content-Encoding');
  });
});
