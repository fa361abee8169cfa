import { beforeEach, describe, expect, test } from 'vitest';
import { bodyOf } from '../../../lib/store/body.ts';
import { Failure } from '../../../lib/core/failure.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import type { StoredBytes } from '../../../lib/store/store.ts';
import { makeImage, makeIndex, makeLayer, type Pushable } from '../../kit/images.ts';
import { KINDS } from '../../kit/kinds.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { digest } from '../archive/observations.ts';
import { bytesOf, refusal, Served } from './served.ts';

const REPOSITORY = 'registry.example.com:5000/team/app';
const NAME = 'registry.example.com_5000/team/app';
const LAYER = makeLayer({ seed: 1, size: 5_000 });
const IMAGE = makeImage({ layers: [LAYER] });
const OTHER = makeImage({ layers: [makeLayer({ seed: 2 })] });
const INDEX = makeIndex([IMAGE, OTHER]);
const IMMUTABLE = 'public, max-age=31536000, immutable';

let served: Served;
beforeEach(async () => {
  served = new Served();
  await served.add(REPOSITORY, INDEX, '1.0');
});

describe('manifests', () => {
  test('by tag and by digest have the bytes, the type and the digest of upstream', async () => {
    for (const [reference, cache] of [
      ['1.0', 'no-cache'],
      [INDEX.digest, IMMUTABLE],
    ] as const) {
      const response = await served.get(`/v2/${NAME}/manifests/${reference}`, { accept: 'text/html' });
      expect(response.status).toBe(200);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        'content-type': INDEX.mediaType,
        'content-length': String(INDEX.manifest.length),
        'docker-content-digest': INDEX.digest,
        etag: `"${INDEX.digest}"`,
        'cache-control': cache,
        'docker-distribution-api-version': 'registry/2.0',
      });
      expect(await bytesOf(response)).toEqual(INDEX.manifest);
    }
  });

  test('of every kind are the bytes of upstream', async () => {
    for (const [at, { image }] of KINDS.entries()) {
      await served.add(REPOSITORY, image, `kind-${at}`);
      const response = await served.get(`/v2/${NAME}/manifests/kind-${at}`);
      expect(response.headers.get('content-type')).toBe(image.mediaType);
      expect(await bytesOf(response)).toEqual(image.manifest);
      for (const [blob, bytes] of image.blobs)
        expect(await bytesOf(await served.get(`/v2/${NAME}/blobs/${blob}`))).toEqual(Buffer.from(bytes));
    }
  });

  test('HEAD has the headers of GET, and no body', async () => {
    const target = `/v2/${NAME}/manifests/1.0`;
    const [get, head] = [await served.get(target), await served.get(target, {}, 'HEAD')];
    expect(head.status).toBe(200);
    expect(Object.fromEntries(head.headers)).toEqual(Object.fromEntries(get.headers));
    expect(head.body).toBeNull();
  });

  test('are not sent again to a client that has them', async () => {
    const headers = { 'if-none-match': `"${INDEX.digest}"` };
    const response = await served.get(`/v2/${NAME}/manifests/1.0`, headers);
    expect(response.status).toBe(304);
    expect(response.headers.get('docker-content-digest')).toBe(INDEX.digest);
    expect(await bytesOf(response)).toHaveLength(0);
    await served.add(REPOSITORY, OTHER, '1.0', 2_000);
    expect((await served.get(`/v2/${NAME}/manifests/1.0`, headers)).status).toBe(200);
  });

  test('of an index are given by their digest, with one read of their record', async () => {
    for (const child of INDEX.children) {
      const response = await served.get(`/v2/${NAME}/manifests/${child.digest}`);
      expect(response.headers.get('content-type')).toBe(child.mediaType);
      expect(await bytesOf(response)).toEqual(child.manifest);
    }
  });

  test('of an index that was archived before children were recorded are found', async () => {
    const nested = makeIndex([INDEX]);
    await served.add(REPOSITORY, nested, '2.0');
    for (const { digest: of } of [IMAGE, OTHER, INDEX]) await served.store.delete(ociLayout.member(REPOSITORY, of));
    for (const { digest: of, manifest } of [IMAGE, OTHER, INDEX])
      expect(await bytesOf(await served.get(`/v2/${NAME}/manifests/${of}`))).toEqual(manifest);
  });

  test('of an image that a repair has removed are unknown, although the tag has its index for another platform', async () => {
    const arm = makeImage({ layers: [LAYER], platform: { os: 'linux', architecture: 'arm64' } });
    const both = makeIndex([IMAGE, arm]);
    await served.add(REPOSITORY, both, undefined, 3_000);
    expect((await served.get(`/v2/${NAME}/manifests/${arm.digest}`)).status).toBe(200);
    await served.archive.dropReferences(REPOSITORY, new Set([both.digest]), 4_000);
    expect(await refusal(await served.get(`/v2/${NAME}/manifests/${arm.digest}`))).toBe('404 MANIFEST_UNKNOWN');
    const { digest: of, mediaType, manifest } = both;
    const platforms = [{ os: 'linux', architecture: 'amd64' }];
    await served.archive.updateTags(REPOSITORY, [
      { descriptor: { digest: of, mediaType, size: manifest.length }, observed: 5_000, platforms, tag: '3.0' },
    ]);
    expect(await refusal(await served.get(`/v2/${NAME}/manifests/${arm.digest}`))).toBe('404 MANIFEST_UNKNOWN');
    expect((await served.get(`/v2/${NAME}/manifests/${IMAGE.digest}`)).status).toBe(200);
  });

  test('of a platform that an index was not mirrored for are unknown, although another repository has them', async () => {
    const arm = makeImage({ layers: [LAYER], platform: { os: 'linux', architecture: 'arm64' } });
    const both = makeIndex([IMAGE, arm]);
    await served.add('docker.io/library/other', both, '3.0');
    const { digest: of, mediaType, manifest } = both;
    const platforms = [{ os: 'linux', architecture: 'amd64' }];
    await served.archive.updateTags(REPOSITORY, [
      { descriptor: { digest: of, mediaType, size: manifest.length }, observed: 3_000, platforms, tag: '3.0' },
    ]);
    const found = await served.get(`/v2/${NAME}/manifests/${IMAGE.digest}`);
    expect(found.status).toBe(200);
    expect(await refusal(await served.get(`/v2/${NAME}/manifests/${arm.digest}`))).toBe('404 MANIFEST_UNKNOWN');
  });

  test('of another repository, and blobs that look like manifests, are unknown', async () => {
    const foreign = makeImage({ layers: [makeLayer({ seed: 3 })] });
    await served.add('docker.io/library/other', foreign, 'x');
    expect(await refusal(await served.get(`/v2/${NAME}/manifests/${foreign.digest}`))).toBe('404 MANIFEST_UNKNOWN');
    expect(await refusal(await served.get(`/v2/docker.io/other/manifests/${IMAGE.digest}`))).toBe(
      '404 MANIFEST_UNKNOWN',
    );
    expect(await refusal(await served.get(`/v2/${NAME}/manifests/${LAYER.digest}`))).toBe('404 MANIFEST_UNKNOWN');
  });

  test('that are missing or corrupt are unknown, and the log says so', async () => {
    await served.store.put(ociLayout.blob(INDEX.digest), Buffer.from('corrupt'));
    expect(await refusal(await served.get(`/v2/${NAME}/manifests/1.0`))).toBe('404 MANIFEST_UNKNOWN');
    expect(served.faults.join()).toContain(INDEX.digest);
    await served.store.delete(ociLayout.blob(INDEX.digest));
    expect(await refusal(await served.get(`/v2/${NAME}/manifests/1.0`))).toBe('404 MANIFEST_UNKNOWN');
  });

  test('that are larger than a manifest may be are unknown, and the log says so', async () => {
    await served.store.put(ociLayout.blob(INDEX.digest), Buffer.alloc(4 * 1024 * 1024 + 1));
    expect(await refusal(await served.get(`/v2/${NAME}/manifests/1.0`))).toBe('404 MANIFEST_UNKNOWN');
    expect(served.faults.join()).toContain(INDEX.digest);
  });

  test('of an unknown tag or repository are refused in words that help', async () => {
    expect(await refusal(await served.get(`/v2/${NAME}/manifests/2.0`))).toBe('404 MANIFEST_UNKNOWN');
    expect(await refusal(await served.get('/v2/docker.io/library/none/manifests/1'))).toBe('404 NAME_UNKNOWN');
    const response = await served.get('/v2/library/alpine/manifests/1');
    expect(await response.text()).toContain('library/alpine has no host; name it first');
  });
});

describe('blobs', () => {
  const target = `/v2/${NAME}/blobs/${LAYER.digest}`;

  test('have their bytes and headers', async () => {
    const response = await served.get(target);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': String(LAYER.size),
      'docker-content-digest': LAYER.digest,
      'accept-ranges': 'bytes',
      'cache-control': IMMUTABLE,
      etag: `"${LAYER.digest}"`,
    });
    expect(await bytesOf(response)).toEqual(LAYER.blob);
    const head = await served.get(target, { range: 'bytes=0-1' }, 'HEAD');
    expect([head.status, head.headers.get('content-length'), head.body]).toEqual([200, String(LAYER.size), null]);
  });

  test.each([
    ['bytes=0-0', 0, 1],
    ['bytes=10-', 10, LAYER.size],
    ['bytes=-7', LAYER.size - 7, LAYER.size],
    ['bytes=100-99999999', 100, LAYER.size],
  ])('give the range %s', async (range, start, end) => {
    for (const [of, bytes] of [
      [LAYER.digest, LAYER.blob],
      // Without a receipt.
      [configOf(IMAGE), undefined],
    ] as const) {
      if (bytes === undefined) continue;
      const response = await served.get(`/v2/${NAME}/blobs/${of}`, { range });
      expect(response.status).toBe(206);
      expect(response.headers.get('content-range')).toBe(`bytes ${start}-${end - 1}/${LAYER.size}`);
      expect(response.headers.get('content-length')).toBe(String(end - start));
      expect(await bytesOf(response)).toEqual(bytes.subarray(start, end));
    }
  });

  test('without a receipt have ranges as well', async () => {
    const config = IMAGE.config;
    const response = await served.get(`/v2/${NAME}/blobs/${configOf(IMAGE)}`, { range: 'bytes=5-9' });
    expect(response.status).toBe(206);
    expect(await bytesOf(response)).toEqual(config.subarray(5, 10));
  });

  test('refuse a range that they do not have', async () => {
    const response = await served.get(target, { range: `bytes=${LAYER.size}-` });
    expect(response.status).toBe(416);
    expect(response.headers.get('content-range')).toBe(`bytes */${LAYER.size}`);
  });

  test('are sent whole where If-Range names another version', async () => {
    expect((await served.get(target, { range: 'bytes=0-1', 'if-range': '"other"' })).status).toBe(200);
    expect((await served.get(target, { range: 'bytes=0-1', 'if-range': `"${LAYER.digest}"` })).status).toBe(206);
    expect((await served.get(target, { 'if-none-match': `"${LAYER.digest}"`, range: 'bytes=0-1' })).status).toBe(304);
  });

  test('without a proof are unknown', async () => {
    const [small, large] = [Buffer.from('not what its name says'), Buffer.alloc(4 * 1024 * 1024 + 1)];
    for (const bytes of [small, large]) {
      const name = digest(`blob of ${bytes.length} bytes`);
      await served.store.put(ociLayout.blob(name), bytes);
      expect(await refusal(await served.get(`/v2/${NAME}/blobs/${name}`))).toBe('404 BLOB_UNKNOWN');
    }
    await served.store.delete(ociLayout.receipt(LAYER.digest));
    // It is small, and its bytes are its proof.
    expect((await served.get(target)).status).toBe(200);
    await served.store.put(ociLayout.blob(LAYER.digest), Buffer.from('corrupt'));
    expect(await refusal(await served.get(target))).toBe('404 BLOB_UNKNOWN');
    expect(await refusal(await served.get(`/v2/${NAME}/blobs/${digest('none')}`))).toBe('404 BLOB_UNKNOWN');
  });

  test('are unknown if the receipt contradicts the object, also after they were served', async () => {
    expect((await served.get(target)).status).toBe(200);
    await served.store.put(ociLayout.blob(LAYER.digest), Buffer.from('shorter'));
    expect(await refusal(await served.get(target))).toBe('404 BLOB_UNKNOWN');
    expect(served.faults.join()).not.toBe('');
  });

  test('of a repository that the archive lacks are unknown', async () => {
    expect(await refusal(await served.get(`/v2/docker.io/x/blobs/${LAYER.digest}`))).toBe('404 NAME_UNKNOWN');
  });

  test('of zero bytes have an empty body', async () => {
    const empty = digest('');
    await served.archive.putContent(empty, new Uint8Array());
    const response = await served.get(`/v2/${NAME}/blobs/${empty}`);
    expect([response.status, response.headers.get('content-length')]).toEqual([200, '0']);
    expect(await bytesOf(response)).toHaveLength(0);
  });

  test('are read as fast as the client takes them, and are closed when it leaves', async () => {
    const store = new (class extends MemoryStore {
      chunks = 0;
      closed = 0;
      override async read(...of: Parameters<MemoryStore['read']>): ReturnType<MemoryStore['read']> {
        const found = await super.read(...of);
        if (found === undefined) return undefined;
        const count = (): void => void (this.chunks += 1);
        const close = (): void => void (this.closed += 1);
        async function* body(): AsyncGenerator<Uint8Array, void, void> {
          try {
            for await (const chunk of found!.body)
              for (let at = 0; at < chunk.length; at += 100) {
                count();
                yield chunk.subarray(at, at + 100);
              }
          } finally {
            close();
          }
        }
        return { ...found, body: bodyOf(body(), close) };
      }
    })();
    const slow = new Served({}, store);
    await slow.add(REPOSITORY, IMAGE, '1.0');
    const reader = (await slow.get(target)).body!.getReader();
    expect(store.chunks).toBe(0);
    await reader.read();
    expect(store.chunks).toBe(1);
    await reader.cancel();
    expect(store.closed).toBe(1);
    // A range ends before the object does, and closes it too.
    await bytesOf(await slow.get(target, { range: 'bytes=0-149' }));
    expect([store.chunks, store.closed]).toEqual([3, 2]);
    // A client that leaves before the first byte leaves nothing open.
    await (await slow.get(target)).body!.cancel();
    expect(store.closed).toBe(3);
  });
});

describe('lists', () => {
  test('of tags are sorted and paged', async () => {
    for (const tag of ['b', 'a', 'B']) await served.add(REPOSITORY, IMAGE, tag);
    await served.add(REPOSITORY, OTHER);
    const first = await served.get(`/v2/${NAME}/tags/list?n=3`);
    expect(await first.json()).toEqual({ name: NAME, tags: ['1.0', 'B', 'a'] });
    const link = `</v2/${NAME}/tags/list?n=3&last=a>; rel="next"`;
    expect(first.headers.get('link')).toBe(link);
    const second = await served.get(link.slice(1, link.indexOf('>')));
    expect(await second.json()).toEqual({ name: NAME, tags: ['b'] });
    expect(second.headers.get('link')).toBeNull();
    expect(await refusal(await served.get(`/v2/${NAME}/tags/list?n=x`))).toBe('400 PAGINATION_NUMBER_INVALID');
    expect(await refusal(await served.get('/v2/docker.io/x/tags/list'))).toBe('404 NAME_UNKNOWN');
  });

  test('of repositories have names that can be requested', async () => {
    await served.add('docker.io/library/alpine', IMAGE, '1.0');
    await served.add('[::1]:5000/app', IMAGE, '1.0');
    const response = await served.get('/v2/_catalog?n=1');
    expect(await response.json()).toEqual({ repositories: ['docker.io/library/alpine'] });
    const link = response.headers.get('link') ?? '';
    expect(await (await served.get(link.slice(1, link.indexOf('>')))).json()).toEqual({ repositories: [NAME] });
  });

  test('of referrers are empty, and never 404', async () => {
    const response = await served.get(`/v2/${NAME}/referrers/${digest('x')}?artifactType=a%2Fb`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/vnd.oci.image.index.v1+json');
    expect(response.headers.get('oci-filters-applied')).toBe('artifactType');
    expect(await response.json()).toMatchObject({ schemaVersion: 2, manifests: [] });
    const all = await served.get(`/v2/${NAME}/referrers/${digest('x')}`);
    expect(all.headers.has('oci-filters-applied')).toBe(false);
    expect(await refusal(await served.get(`/v2/${NAME}/referrers/x`))).toBe('400 DIGEST_INVALID');
  });
});

describe('names', () => {
  test('are found by namespace, and by the default host', async () => {
    await served.add('docker.io/library/alpine', IMAGE, '1.0');
    expect((await served.get('/v2/library/alpine/manifests/1.0?ns=docker.io')).status).toBe(200);
    expect((await served.get('/v2/alpine/manifests/1.0?ns=docker.io')).status).toBe(200);
    expect((await served.get('/v2/team/app/manifests/1.0?ns=registry.example.com:5000')).status).toBe(200);
    expect((await served.get('/v2/library/alpine/manifests/1.0')).status).toBe(404);
    served.with({ defaultHost: 'docker.io' });
    for (const name of ['library/alpine', 'alpine', 'docker.io/alpine', NAME])
      expect((await served.get(`/v2/${name}/manifests/1.0`)).status).toBe(200);
    expect(await refusal(await served.get('/v2/alpine/manifests/1.0?ns=..%2Fx'))).toBe('400 NAME_INVALID');
  });
});

describe('as of a time', () => {
  const at = (text: string): number => Date.parse(text);
  const digestAt = async (prefix: string): Promise<string | null> =>
    (await served.get(`/v2/${prefix}${NAME}/manifests/moved`)).headers.get('docker-content-digest');

  beforeEach(async () => {
    await served.add(REPOSITORY, IMAGE, 'moved', at('2026-01-01T10:00:00Z'));
    await served.add(REPOSITORY, OTHER, 'moved', at('2026-01-10T10:00:00Z'));
    await served.add(REPOSITORY, IMAGE, 'moved', at('2026-01-20T10:00:00Z'));
  });

  test('each instant has the digest of that instant', async () => {
    expect(await digestAt('')).toBe(IMAGE.digest);
    expect(await digestAt('at-20260101t095959z/')).toBeNull();
    expect(await digestAt('at-20260101/')).toBe(IMAGE.digest);
    expect(await digestAt('at-20260110t095959z/')).toBe(IMAGE.digest);
    expect(await digestAt('at-20260110t100000z/')).toBe(OTHER.digest);
    expect(await digestAt('at-20260119/')).toBe(OTHER.digest);
    expect(await digestAt('at-20260120/')).toBe(IMAGE.digest);
    expect(await refusal(await served.get(`/v2/at-20251231/${NAME}/manifests/moved`))).toBe('404 MANIFEST_UNKNOWN');
  });

  test('tags are those of that time, and content is found below the prefix', async () => {
    const list = async (prefix: string): Promise<unknown> =>
      ((await (await served.get(`/v2/${prefix}${NAME}/tags/list`)).json()) as { tags: unknown }).tags;
    await served.add(REPOSITORY, OTHER, 'later', at('2026-02-01T00:00:00Z'));
    expect(await list('at-20260131/')).toEqual(['1.0', 'moved']);
    expect(await list('')).toEqual(['1.0', 'later', 'moved']);
    expect((await served.get(`/v2/at-20260131/${NAME}/blobs/${LAYER.digest}`)).status).toBe(200);
    expect((await served.get(`/v2/at-20260131/${NAME}/manifests/${OTHER.digest}`)).status).toBe(200);
  });

  test('a registry may be of one time', async () => {
    served.with({ asOf: at('2026-01-15T00:00:00Z') });
    expect(await digestAt('')).toBe(OTHER.digest);
    expect(await digestAt('at-20260101/')).toBe(IMAGE.digest);
  });
});

describe('errors', () => {
  test.each(['POST', 'PUT', 'PATCH', 'DELETE'])('%s is not supported', async (method) => {
    for (const target of [`/v2/${NAME}/manifests/1.0`, `/v2/${NAME}/blobs/uploads/`, '/v2/', '/v2/../x']) {
      const response = await served.get(target, {}, method);
      expect(response.headers.get('allow')).toBe('GET, HEAD');
      expect(await refusal(response)).toBe('405 UNSUPPORTED');
    }
  });

  test('of HEAD have no body', async () => {
    const response = await served.get('/v2/docker.io/none/manifests/1', {}, 'HEAD');
    expect([response.status, response.body]).toEqual([404, null]);
    expect(Number(response.headers.get('content-length'))).toBeGreaterThan(0);
  });

  test('of a corrupt tag index concern its repository only, and the log says why', async () => {
    await served.add('docker.io/library/alpine', IMAGE, '1.0');
    await served.store.put(ociLayout.tagIndex(REPOSITORY), Buffer.from('{'));
    const response = await served.get(`/v2/${NAME}/manifests/1.0`);
    expect(await response.text()).not.toContain('index.json');
    expect(response.status).toBe(500);
    expect(served.faults).toEqual([expect.stringContaining('index.json: is not JSON') as string]);
    expect((await served.get('/v2/docker.io/library/alpine/manifests/1.0')).status).toBe(200);
  });

  test('of a store that is away ask the client to try again', async () => {
    const away = { operation: 'get', side: 'archive', code: 'network', detail: 'connection refused' } as const;
    served.store.get = () => Promise.reject(new Failure(away));
    expect(await refusal(await served.get(`/v2/${NAME}/manifests/1.0`))).toBe('503 UNAVAILABLE');
  });
});

test('a request by tag costs one conditional read of the tag index, and nothing else', async () => {
  const calls: string[] = [];
  const store = new (class extends MemoryStore {
    override get(...of: Parameters<MemoryStore['get']>): ReturnType<MemoryStore['get']> {
      calls.push(`get ${of[0]}`);
      return super.get(...of);
    }
    async getChanged(
      key: string,
      etag: string,
      options: Parameters<MemoryStore['get']>[1],
    ): Promise<StoredBytes | 'unchanged' | undefined> {
      calls.push(`getChanged ${key}`);
      const found = await super.get(key, options);
      return found?.etag === etag ? 'unchanged' : found;
    }
  })();
  const counted = new Served({}, store);
  await counted.add(REPOSITORY, IMAGE, '1.0');
  await counted.get(`/v2/${NAME}/manifests/1.0`);
  calls.length = 0;
  for (const method of ['GET', 'HEAD'])
    expect((await counted.get(`/v2/${NAME}/manifests/1.0`, {}, method)).status).toBe(200);
  expect(calls).toEqual(Array.from({ length: 2 }, () => `getChanged ${ociLayout.tagIndex(REPOSITORY)}`));
});

function configOf({ manifest }: Pushable): string {
  return (JSON.parse(manifest.toString()) as { config: { digest: string } }).config.digest;
}
