import { describe, expect, test } from 'vitest';
import { generated, randomBytes, sha256 } from '../../kit/content.ts';
import { makeArtifact, makeImage, makeIndex } from '../../kit/images.ts';
import { errorBody, startRegistry, type TestRegistry } from '../../kit/registry.ts';

const ANY = { headers: { accept: '*/*' } };

/** A registry that serves one blob of 1000 random bytes. */
interface OneBlob extends AsyncDisposable {
  readonly registry: TestRegistry;
  readonly url: string;
  readonly bytes: Buffer;
  readonly digest: string;
}

async function oneBlob(): Promise<OneBlob> {
  const registry = await startRegistry();
  const bytes = randomBytes(1000, 7);
  const digest = sha256(bytes);
  registry.push('a/b', makeImage());
  registry.pushBlob(digest, bytes);
  return {
    registry,
    bytes,
    digest,
    url: `http://${registry.host}/v2/a/b/blobs/${digest}`,
    [Symbol.asyncDispose]: () => registry.close(),
  };
}

async function bytesOf(response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer());
}

function get(url: string, range?: string, method = 'GET'): Promise<Response> {
  return fetch(url, { method, redirect: 'manual', headers: range === undefined ? {} : { range } });
}

describe('pull', () => {
  test('returns manifests and blobs byte for byte, by tag and by digest', async () => {
    await using registry = await startRegistry();
    const image = makeImage({ format: 'docker' });
    const index = makeIndex([image], 'docker');
    registry.push('library/thing', index, '1.0');
    const base = `http://${registry.host}/v2/library/thing`;
    expect((await fetch(`http://${registry.host}/v2/`)).status).toBe(200);
    const byTag = await fetch(`${base}/manifests/1.0`, { headers: { accept: index.mediaType } });
    expect(byTag.headers.get('content-type')).toBe(index.mediaType);
    expect(byTag.headers.get('docker-content-digest')).toBe(index.digest);
    expect(await bytesOf(byTag)).toEqual(index.manifest);
    const child = await fetch(`${base}/manifests/${image.digest}`, ANY);
    expect(sha256(await bytesOf(child))).toBe(image.digest);
    for (const [digest, blob] of image.blobs)
      expect(await bytesOf(await fetch(`${base}/blobs/${digest}`))).toEqual(blob);
    expect(registry.count({ kind: 'blob', method: 'GET', status: 200 })).toBe(2);
    expect(registry.count({ kind: 'manifest' })).toBe(2);
  });

  test('is refused with the codes of the specification', async () => {
    await using registry = await startRegistry({ refuseHead: true });
    const image = makeImage();
    registry.push('a', image, 'x');
    const url = `http://${registry.host}/v2/a/manifests/`;
    const accept = { accept: 'application/vnd.docker.distribution.manifest.v2+json' };
    expect(await (await fetch(`${url}x`, { headers: accept })).json()).toMatchObject({
      errors: [{ code: 'MANIFEST_UNKNOWN' }],
    });
    expect((await fetch(`${url}y`, ANY)).status).toBe(404);
    expect((await fetch(`${url}x`, { ...ANY, method: 'HEAD' })).status).toBe(405);
    const unknown = await fetch(`http://${registry.host}/v2/b/tags/list`);
    expect(await unknown.json()).toMatchObject({ errors: [{ code: 'NAME_UNKNOWN' }] });
    registry.removeBlob(image.layers[0]?.digest ?? image.digest);
    const blob = await fetch(`http://${registry.host}/v2/a/blobs/${image.layers[0]?.digest ?? ''}`);
    expect(await blob.json()).toMatchObject({ errors: [{ code: 'BLOB_UNKNOWN' }] });
  });

  test('supports closed, open and suffix ranges, and If-Range', async () => {
    await using served = await oneBlob();
    const { url, bytes, digest } = served;
    for (const [range, start, end] of [
      ['bytes=10-19', 10, 20],
      ['bytes=990-', 990, 1000],
      ['bytes=-5', 995, 1000],
      ['bytes=5-5000', 5, 1000],
    ] as const) {
      const part = await get(url, range);
      expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes ${start}-${end - 1}/1000`]);
      expect(await bytesOf(part)).toEqual(bytes.subarray(start, end));
    }
    const beyond = await get(url, 'bytes=1000-');
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, 'bytes */1000']);
    const same = await fetch(url, { headers: { range: 'bytes=1-', 'if-range': `"${digest}"` } });
    const other = await fetch(url, { headers: { range: 'bytes=1-', 'if-range': '"other"' } });
    expect([same.status, other.status, (await bytesOf(other)).length]).toEqual([206, 200, 1000]);
    const head = await get(url, undefined, 'HEAD');
    expect([head.headers.get('content-length'), head.headers.get('etag')]).toEqual(['1000', `"${digest}"`]);
  });

  test('returns pages of tags with links', async () => {
    await using registry = await startRegistry({ pageSize: 2 });
    const image = makeImage();
    registry.push('a', image);
    for (const tag of ['c', 'a', 'b']) registry.tag('a', tag, image.digest);
    const first = await fetch(`http://${registry.host}/v2/a/tags/list?n=100`);
    expect(await first.json()).toEqual({ name: 'a', tags: ['a', 'b'] });
    const link = /<(.+)>; rel="next"/.exec(first.headers.get('link') ?? '')?.[1] ?? '';
    const second = await fetch(new URL(link, first.url));
    expect(await second.json()).toEqual({ name: 'a', tags: ['c'] });
    expect(second.headers.get('link')).toBeNull();
  });

  test('lists referrers, filtered by type', async () => {
    await using registry = await startRegistry();
    const image = makeImage();
    const artifact = makeArtifact({ subject: image, artifactType: 'a/sbom' });
    registry.push('a', image);
    registry.push('a', artifact);
    const url = `http://${registry.host}/v2/a/referrers/${image.digest}`;
    expect(await (await fetch(url)).json()).toMatchObject({
      manifests: [{ digest: artifact.digest, artifactType: 'a/sbom' }],
    });
    expect(await (await fetch(`${url}?artifactType=other`)).json()).toMatchObject({ manifests: [] });
  });

  test('returns generated blobs from any offset', async () => {
    await using registry = await startRegistry();
    registry.push('a', makeImage());
    const size = 5 * 1024 ** 3;
    for (const compressible of [false, true]) {
      registry.pushBlob(sha256(Buffer.from('big')), generated({ size, seed: 3, compressible }));
      const url = `http://${registry.host}/v2/a/blobs/${sha256(Buffer.from('big'))}`;
      const tail = await bytesOf(await get(url, `bytes=${size - 1001}-`));
      const within = await bytesOf(await get(url, `bytes=${size - 500}-${size - 401}`));
      expect(tail.length).toBe(1001);
      expect(within).toEqual(tail.subarray(501, 601));
    }
  });
});

describe('authentication', () => {
  test('by GET returns a bearer token for one repository and a number of requests', async () => {
    await using registry = await startRegistry({
      auth: { kind: 'bearer', user: 'u', password: 'p', expiresAfterRequests: 1 },
    });
    registry.push('a', makeImage(), 'x');
    registry.push('b', makeImage(), 'x');
    const refused = await fetch(`http://${registry.host}/v2/a/tags/list`);
    const challenge = refused.headers.get('www-authenticate') ?? '';
    expect([refused.status, challenge]).toEqual([
      401,
      `Bearer realm="http://${registry.host}/token",service="test-registry",scope="repository:a:pull"`,
    ]);
    const realm = `http://${registry.host}/token?service=test-registry&scope=repository:a:pull`;
    expect((await fetch(realm)).status).toBe(401);
    const basic = { headers: { authorization: `Basic ${btoa('u:p')}` } };
    const { token } = (await (await fetch(realm, basic)).json()) as { token: string };
    const bearer = { headers: { authorization: `Bearer ${token}` } };
    const other = await fetch(`http://${registry.host}/v2/b/tags/list`, bearer);
    expect([other.status, other.headers.get('www-authenticate')]).toEqual([
      401,
      expect.stringContaining('insufficient_scope'),
    ]);
    expect((await fetch(`http://${registry.host}/v2/a/tags/list`, bearer)).status).toBe(200);
    const again = await fetch(`http://${registry.host}/v2/a/tags/list`, bearer);
    expect([again.status, again.headers.get('www-authenticate')]).toEqual([
      401,
      expect.stringContaining('invalid_token'),
    ]);
    expect(registry.count({ kind: 'token' })).toBe(2);
  });

  test('by POST returns a bearer token for a password or a refresh token', async () => {
    await using registry = await startRegistry({
      auth: { kind: 'bearer', user: 'u', password: 'p', refreshToken: 'r', form: 'post', field: 'access_token' },
    });
    const ask = async (fields: Record<string, string>): Promise<unknown> => {
      const body = new URLSearchParams({ service: 'test-registry', scope: 'repository:a:pull', ...fields });
      return (await fetch(`http://${registry.host}/token`, { method: 'POST', body })).json();
    };
    const granted = { access_token: expect.any(String) as string, expires_in: 300 };
    expect(await ask({ grant_type: 'password', username: 'u', password: 'p' })).toMatchObject(granted);
    expect(await ask({ grant_type: 'refresh_token', refresh_token: 'r' })).toMatchObject(granted);
    expect(await ask({ grant_type: 'refresh_token', refresh_token: 'wrong' })).toHaveProperty('errors');
    expect((await fetch(`http://${registry.host}/token?service=test-registry`)).status).toBe(405);
  });

  test('accepts Basic', async () => {
    await using registry = await startRegistry({ auth: { kind: 'basic', user: 'u', password: 'p' } });
    expect((await fetch(`http://${registry.host}/v2/`)).headers.get('www-authenticate')).toMatch(/^Basic realm=/);
    expect(
      (await fetch(`http://${registry.host}/v2/`, { headers: { authorization: `Basic ${btoa('u:p')}` } })).status,
    ).toBe(200);
  });
});

describe('misbehaviour', () => {
  test('counts requests before it begins and until it ends', async () => {
    await using served = await oneBlob();
    const { registry, url } = served;
    const body = errorBody('TOOMANYREQUESTS', 'slow down');
    const busy = registry.misbehave({
      match: { kind: 'blob', method: 'GET' },
      after: 1,
      times: 1,
      do: { status: 429, headers: { 'Retry-After': '7' }, body },
    });
    const statuses: number[] = [];
    for (const method of ['HEAD', 'GET', 'GET', 'GET']) {
      const response = await get(url, undefined, method);
      statuses.push(response.status);
      if (response.status === 429) {
        expect(response.headers.get('retry-after')).toBe('7');
        expect(await response.json()).toEqual(body);
      } else await response.arrayBuffer();
    }
    expect(statuses).toEqual([200, 200, 429, 200]);
    expect(busy.hits()).toBe(1);
  });

  test('delivers exactly the requested bytes before it cuts a connection', async () => {
    await using served = await oneBlob();
    const { registry, url, bytes } = served;
    registry.misbehave({ times: 2, do: { cutAfter: 100 } });
    for (const range of [undefined, 'bytes=200-']) {
      const cut = await get(url, range);
      const received: Uint8Array[] = [];
      await expect(
        (async () => {
          for await (const chunk of cut.body ?? []) received.push(chunk as Uint8Array);
        })(),
      ).rejects.toThrow();
      expect(Buffer.concat(received)).toEqual(bytes.subarray(range === undefined ? 0 : 200).subarray(0, 100));
    }
    registry.misbehave({ times: 1, do: { hangUp: true } });
    await expect(get(url)).rejects.toThrow();
    expect((await get(url)).status).toBe(200);
  });

  test('ends a body early, or omits its length', async () => {
    await using served = await oneBlob();
    const { registry, url, bytes } = served;
    registry.misbehave({ times: 1, do: { endAfter: 10 } });
    const short = await get(url);
    expect([short.headers.get('content-length'), await bytesOf(short)]).toEqual([null, bytes.subarray(0, 10)]);
    registry.misbehave({ do: { noContentLength: true } });
    const whole = await get(url);
    expect([whole.headers.get('content-length'), await bytesOf(whole)]).toEqual([null, bytes]);
  });

  test('flips a byte at its place in the blob for any range', async () => {
    await using served = await oneBlob();
    const { registry, url, bytes } = served;
    registry.misbehave({ do: { flipByteAt: 500 } });
    const bad = Buffer.from(bytes);
    bad[500] = (bad[500] ?? 0) ^ 1;
    expect(await bytesOf(await get(url))).toEqual(bad);
    expect(await bytesOf(await get(url, 'bytes=400-600'))).toEqual(bad.subarray(400, 601));
    expect(await bytesOf(await get(url, 'bytes=501-'))).toEqual(bytes.subarray(501));
  });

  test('ignores ranges, or answers with a wrong range, length or version', async () => {
    await using served = await oneBlob();
    const { registry, url, bytes } = served;
    const ignored = registry.misbehave({ do: { ignoreRange: true } });
    const whole = await get(url, 'bytes=10-19');
    expect([whole.status, (await bytesOf(whole)).length]).toEqual([200, 1000]);
    ignored.stop();
    const wrong = registry.misbehave({ do: { wrongContentRange: true } });
    const other = await get(url, 'bytes=10-19');
    expect([other.status, other.headers.get('content-range')]).toEqual([206, 'bytes 9-19/1000']);
    expect(await bytesOf(other)).toEqual(bytes.subarray(9, 20));
    wrong.stop();
    registry.misbehave({ do: { wrongContentRange: 'total', changeEtag: true } });
    const [first, second] = [await get(url, 'bytes=10-'), await get(url, 'bytes=10-')];
    expect(first.headers.get('content-range')).toBe('bytes 10-999/1001');
    expect(first.headers.get('etag')).not.toBe(second.headers.get('etag'));
  });

  test('stalls until it is released, and then continues', async () => {
    await using registry = await startRegistry();
    const bytes = randomBytes(1_000_000, 8);
    registry.push('a', makeImage());
    registry.pushBlob(sha256(bytes), bytes);
    const url = `http://${registry.host}/v2/a/blobs/${sha256(bytes)}`;
    const stall = registry.misbehave({ do: { stallAfter: 300_000 } });
    const response = await get(url);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await stall.begun;
    const received: Uint8Array[] = [];
    const length = (): number => received.reduce((sum, { length }) => sum + length, 0);
    while (length() < 300_000) received.push((await reader.read()).value ?? Buffer.alloc(0));
    expect(length()).toBe(300_000);
    stall.stop();
    for (let next = await reader.read(); !next.done; next = await reader.read()) received.push(next.value);
    expect(Buffer.concat(received).equals(bytes)).toBe(true);
  });

  test('does not prevent the server from closing', async () => {
    await using served = await oneBlob();
    const { registry, url } = served;
    const hang = registry.misbehave({ do: { noAnswer: true } });
    const asking = expect(get(url)).rejects.toThrow();
    await hang.begun;
    await registry.close();
    await asking;
  });

  test('redirects once to a signed address that refuses an Authorization', async () => {
    await using served = await oneBlob();
    const { registry, url, bytes } = served;
    await using cdn = await startRegistry();
    registry.misbehave({ match: { kind: 'blob' }, do: { redirectTo: cdn, expires: 1 } });
    const redirect = await get(url);
    const location = redirect.headers.get('location') ?? '';
    expect([redirect.status, new URL(location).host]).toEqual([307, cdn.host]);
    expect((await fetch(location, { headers: { authorization: 'Bearer leaked' } })).status).toBe(400);
    expect(cdn.requests[0]?.authorization).toBe('Bearer leaked');
    const part = await get(location, 'bytes=990-');
    expect([part.status, await bytesOf(part)]).toEqual([206, bytes.subarray(990)]);
    expect((await get(location)).status).toBe(403);
  });

  test('drops and replaces headers', async () => {
    await using registry = await startRegistry({ headWithoutDigest: true });
    registry.push('a', makeImage(), 'x');
    const url = `http://${registry.host}/v2/a/manifests/x`;
    expect((await fetch(url, { ...ANY, method: 'HEAD' })).headers.get('docker-content-digest')).toBeNull();
    expect((await fetch(url, ANY)).headers.get('docker-content-digest')).not.toBeNull();
    registry.misbehave({ do: { headers: { 'Docker-Content-Digest': null, 'content-type': 'text/html' } } });
    const spoilt = await fetch(url, ANY);
    expect([spoilt.headers.get('docker-content-digest'), spoilt.headers.get('content-type')]).toEqual([
      null,
      'text/html',
    ]);
  });
});

test('the registry measures concurrent requests', async () => {
  await using registry = await startRegistry();
  registry.push('a', makeImage());
  registry.push('b', makeImage());
  const urls = ['a', 'b'].map((repository) => `http://${registry.host}/v2/${repository}/tags/list`);
  for (const url of urls) await (await fetch(url)).text();
  expect(registry.mostAtOnce).toBe(1);
  const holds = ['a', 'b'].map((repository) => registry.misbehave({ match: { repository }, do: { noAnswer: true } }));
  const both = urls.map((url) => fetch(url));
  await Promise.all(holds.map(({ begun }) => begun));
  expect(registry.mostAtOnce).toBe(2);
  for (const hold of holds) hold.stop();
  await Promise.all(both);
});
