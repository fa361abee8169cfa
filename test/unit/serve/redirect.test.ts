import { beforeEach, describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { ociLayout } from '../../../lib/archive/oci-layout.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { bytesOf, refusal, Served } from './served.ts';

const REPOSITORY = 'docker.io/library/app';
const LAYER = makeLayer({ seed: 1, size: 5_000 });
const IMAGE = makeImage({ layers: [LAYER] });
const BLOB = `/v2/${REPOSITORY}/blobs/${LAYER.digest}`;

/** As S3: a client can read the objects itself. */
class LinkedStore extends MemoryStore {
  readonly links: string[] = [];
  ending: Failure | undefined;

  link(key: string, { contentType = 'none' } = {}): Promise<string> {
    if (this.ending !== undefined) return Promise.reject(this.ending);
    this.links.push(key);
    return Promise.resolve(`https://bucket.example/${key}?type=${contentType}&X-Amz-Signature=${this.links.length}`);
  }
}

let store: LinkedStore;
let served: Served;
beforeEach(async () => {
  store = new LinkedStore();
  served = new Served({}, store);
  await served.add(REPOSITORY, IMAGE, '1.0');
});

describe('a blob of a store with links', () => {
  test('is answered with a redirect that no cache keeps', async () => {
    for (const at of [1, 2]) {
      const response = await served.get(BLOB, { range: 'bytes=1-2' });
      expect(response.status).toBe(307);
      expect(Object.fromEntries(response.headers)).toEqual({
        location: `https://bucket.example/${ociLayout.blob(LAYER.digest)}?type=none&X-Amz-Signature=${at}`,
        'content-length': '0',
        'cache-control': 'no-store',
        'docker-content-digest': LAYER.digest,
        'docker-distribution-api-version': 'registry/2.0',
      });
      expect(await bytesOf(response)).toHaveLength(0);
    }
  });

  test('is answered directly for HEAD, and with 304 for a client that has it', async () => {
    const head = await served.get(BLOB, {}, 'HEAD');
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(LAYER.size)]);
    const unchanged = await served.get(BLOB, { 'if-none-match': `"${LAYER.digest}"` });
    expect([unchanged.status, unchanged.headers.get('etag')]).toEqual([304, `"${LAYER.digest}"`]);
    expect(unchanged.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect(store.links).toEqual([]);
  });

  test('is sent directly if it has no receipt, after its bytes are hashed', async () => {
    const config = [...IMAGE.blobs.keys()].find((digest) => digest !== LAYER.digest);
    const response = await served.get(`/v2/${REPOSITORY}/blobs/${config}`);
    expect(response.status).toBe(200);
    expect(await bytesOf(response)).toEqual(Buffer.from(IMAGE.blobs.get(config!)!));
  });

  test('has no redirect while its object is missing, or has another size than its proof', async () => {
    const key = ociLayout.blob(LAYER.digest);
    await store.put(key, Buffer.from('short'));
    expect(await refusal(await served.get(BLOB))).toBe('404 BLOB_UNKNOWN');
    await store.delete(key);
    expect(await refusal(await served.get(BLOB))).toBe('404 BLOB_UNKNOWN');
    expect(store.links).toEqual([]);
    expect(served.faults).toHaveLength(2);
  });

  test('is answered with 503 while the credentials of the store end', async () => {
    const detail = 'the credentials end now; renew them';
    store.ending = new Failure({ operation: 'sign', side: 'archive', code: 'token-expired', detail });
    expect(await refusal(await served.get(BLOB))).toBe('503 UNAVAILABLE');
    expect(served.faults.join()).toContain(detail);
    store.ending = undefined;
    expect((await served.get(BLOB)).status).toBe(307);
  });

  test('is streamed with its ranges if the host proxies blobs', async () => {
    served.with({ proxyBlobs: true });
    const whole = await served.get(BLOB);
    expect([whole.status, await bytesOf(whole)]).toEqual([200, LAYER.blob]);
    const part = await served.get(BLOB, { range: 'bytes=10-19' });
    expect([part.status, await bytesOf(part)]).toEqual([206, LAYER.blob.subarray(10, 20)]);
    expect(store.links).toEqual([]);
  });
});

describe('a host with a limit for its responses', () => {
  const CONFIG = [...IMAGE.blobs].find(([digest]) => digest !== LAYER.digest)!;

  test('redirects to a manifest and a config above it, each with its media type', async () => {
    served.with({ maxBodyBytes: 10 });
    for (const [target, type, digest] of [
      [`manifests/1.0`, IMAGE.mediaType, IMAGE.digest],
      [`manifests/${IMAGE.digest}`, IMAGE.mediaType, IMAGE.digest],
      [`blobs/${CONFIG[0]}`, 'application/octet-stream', CONFIG[0]],
    ] as const) {
      const response = await served.get(`/v2/${REPOSITORY}/${target}`);
      expect(response.status).toBe(307);
      expect(response.headers.get('location')).toContain(`/${ociLayout.blob(digest)}?type=${type}&`);
      expect(response.headers.get('docker-content-digest')).toBe(digest);
      const head = await served.get(`/v2/${REPOSITORY}/${target}`, {}, 'HEAD');
      expect([head.status, Number(head.headers.get('content-length'))]).toEqual([200, expect.any(Number)]);
    }
  });

  test('sends content of exactly the limit', async () => {
    served.with({ maxBodyBytes: IMAGE.manifest.length });
    const response = await served.get(`/v2/${REPOSITORY}/manifests/1.0`);
    expect([response.status, await bytesOf(response)]).toEqual([200, IMAGE.manifest]);
  });
});
