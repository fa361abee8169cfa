import { expect, test } from 'vitest';
import { digestOf, type Digest } from '../../../lib/oci/digest.ts';
import { MEDIA_TYPES } from '../../../lib/oci/mediatype.ts';
import { makeImage } from '../../kit/images.ts';
import { errorBody, startRegistry } from '../../kit/registry.ts';
import { makeSchema1 } from '../../kit/schema1.ts';
import { failureOf, testSources } from './helpers.ts';

const REPOSITORY = 'library/alpine';
const image = makeImage();

// Docker Hub does not count HEAD requests.
test('a tag is resolved with one HEAD', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.push(REPOSITORY, image, '3.20');
  expect(await sources.at(registry.host).resolve('3.20')).toEqual({
    digest: image.digest,
    mediaType: image.mediaType,
  });
  expect(registry.requests.map(({ method, kind }) => `${method} ${kind}`)).toEqual(['HEAD manifest']);
});

test('GET replaces HEAD once HEAD is refused, and returns the manifest as well', async () => {
  await using registry = await startRegistry({ refuseHead: true });
  await using sources = testSources();
  registry.push(REPOSITORY, image, '3.20');
  const source = sources.at(registry.host);
  for (let time = 0; time < 2; time += 1) {
    const { digest, fetched } = await source.resolve('3.20');
    expect(digest).toBe(image.digest);
    expect(fetched).toMatchObject({ digest, mediaType: image.mediaType });
    expect(Buffer.from(fetched?.bytes ?? [])).toEqual(image.manifest);
  }
  const sent = registry.requests.map(({ method, kind }) => `${method} ${kind}`);
  expect(sent).toEqual(['HEAD manifest', 'GET ping', 'GET manifest', 'GET manifest']);
});

test.each([401, 403, 404, 400])('a HEAD that is answered %i is repeated as GET', async (status) => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.push(REPOSITORY, image, '3.20');
  registry.misbehave({ match: { method: 'HEAD' }, do: { status } });
  expect(await sources.at(registry.host).resolve('3.20')).toMatchObject({ digest: image.digest });
});

test('the digest is computed from the bytes if HEAD has none', async () => {
  await using registry = await startRegistry({ headWithoutDigest: true });
  await using sources = testSources();
  registry.push(REPOSITORY, image, '3.20');
  registry.misbehave({ match: { method: 'GET' }, do: { headers: { 'docker-content-digest': null } } });
  expect(await sources.at(registry.host).resolve('3.20')).toMatchObject({ digest: image.digest });
});

test('a schema 1 manifest is proven by its payload', async () => {
  await using registry = await startRegistry({ headWithoutDigest: true });
  await using sources = testSources();
  const old = makeSchema1();
  registry.push(REPOSITORY, old, 'old');
  registry.misbehave({ match: { method: 'GET' }, do: { headers: { 'docker-content-digest': null } } });
  const source = sources.at(registry.host);
  expect((await source.resolve('old')).digest).toBe(old.digest);
  expect(Buffer.from((await source.manifest(old.digest)).bytes)).toEqual(old.manifest);
});

test('a manifest by digest has the same bytes as the pushed one', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.push(REPOSITORY, image);
  const { bytes, digest, mediaType } = await sources.at(registry.host).manifest(image.digest);
  expect(Buffer.from(bytes)).toEqual(image.manifest);
  expect({ digest, mediaType }).toEqual({ digest: image.digest, mediaType: image.mediaType });
});

test('a manifest may be addressed by sha512', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  const digest = digestOf(image.manifest, 'sha512');
  registry.push(REPOSITORY, { ...image, digest });
  expect((await sources.at(registry.host).manifest(digest)).digest).toBe(digest);
});

test.each(['digest', 'tag'])('a corrupt manifest is refused by %s', async (by) => {
  await using registry = await startRegistry({ refuseHead: true });
  await using sources = testSources();
  registry.push(REPOSITORY, image, 'corrupt');
  registry.misbehave({ match: { method: 'GET' }, do: { flipByteAt: 100 } });
  const source = sources.at(registry.host);
  const failure = await failureOf(
    by === 'tag' ? source.resolve('corrupt') : source.manifest(image.digest),
    'digest-mismatch',
  );
  expect(failure.remedy).toBe('never');
  expect(sources.waits).toEqual([]);
});

test('a wrong digest with a tag is ignored if the registry serves the manifest by its own digest', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.push(REPOSITORY, image, '1');
  const headers = { 'docker-content-digest': `sha256:${'0'.repeat(64)}` };
  registry.misbehave({ match: { tag: '1' }, do: { headers } });
  const { digest, bytes } = await sources.at(registry.host).fetchTag('1');
  expect([digest, Buffer.from(bytes)]).toEqual([image.digest, image.manifest]);
  registry.removeManifest(REPOSITORY, image.digest);
  registry.misbehave({ match: { tag: '1' }, do: { status: 200, body: image.manifest.toString(), headers } });
  await failureOf(sources.at(registry.host).fetchTag('1'), 'digest-mismatch');
});

test('the digest in the header of a tag counts if its manifest exists, whatever the body is', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  const other = makeImage({ overrides: { config: { author: 'another' } } });
  registry.push(REPOSITORY, image, '1');
  registry.push(REPOSITORY, other);
  const headers = { 'docker-content-digest': image.digest };
  for (const body of [other.manifest.toString(), `${image.manifest.toString()} `]) {
    const wrong = registry.misbehave({ match: { tag: '1' }, do: { status: 200, body, headers } });
    const { digest, bytes } = await sources.at(registry.host).fetchTag('1');
    expect([digest, Buffer.from(bytes)]).toEqual([image.digest, image.manifest]);
    wrong.stop();
  }
});

test('a manifest above the size limit is refused, and not truncated', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  const manifest = Buffer.alloc(4 * 1024 * 1024 + 1, ' ');
  const digest = digestOf(manifest);
  registry.push(REPOSITORY, { ...image, manifest, digest }, 'big');
  await failureOf(sources.at(registry.host).manifest(digest), 'too-large');
  registry.misbehave({ match: { method: 'GET' }, do: { noContentLength: true } });
  await failureOf(sources.at(registry.host).manifest(digest), 'too-large');
});

test('the error for a missing manifest names the image, the registry and the reason', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.push(REPOSITORY, image, '3.20');
  const failure = await failureOf(sources.at(registry.host).resolve('4'), 'manifest-unknown');
  expect(failure.message).toBe(
    `resolve ${registry.host}/library/alpine:4: ${registry.host} answered 404 MANIFEST_UNKNOWN: manifest unknown`,
  );
  expect(failure).toMatchObject({ status: 404, remedy: 'never' });
  const unknown = digestOf(Buffer.from('unknown'));
  await failureOf(sources.at(registry.host).manifest(unknown), 'manifest-unknown');
  await failureOf(sources.at(registry.host, 'library/nothing').resolve('1'), 'name-unknown');
});

test('Retry-After is honoured in full', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.push(REPOSITORY, image, '3.20');
  registry.misbehave({ times: 1, do: { status: 429, headers: { 'retry-after': '3600' } } });
  expect((await sources.at(registry.host).resolve('3.20')).digest).toBe(image.digest);
  expect(sources.waits).toEqual([3_600_000]);
  expect(sources.failures[0]).toMatchObject({ code: 'rate-limited', status: 429 });
});

test('a registry that is briefly down is retried with growing waits, up to a limit', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.push(REPOSITORY, image, '3.20');
  registry.misbehave({ times: 2, do: { status: 503 } });
  expect((await sources.at(registry.host).resolve('3.20')).digest).toBe(image.digest);
  expect(sources.waits).toEqual([100, 200]);
  registry.misbehave({ do: { hangUp: true } });
  await failureOf(sources.at(registry.host).resolve('3.20'), 'network');
  // The waits of 100 and 200; between them the pace of the registry after its refusals.
  expect(sources.waits).toEqual([100, 200, 100, 100, 200]);
});

test.each([{ status: 500 }, { status: 503 }, { status: 503, headers: { 'retry-after': '1' } }, { hangUp: true }])(
  'GET is used once if every HEAD does %o, and HEAD is not tried again',
  async (misbehaviour) => {
    await using registry = await startRegistry();
    await using sources = testSources();
    for (const tag of ['1', '2']) registry.push(REPOSITORY, image, tag);
    registry.misbehave({ match: { method: 'HEAD' }, do: misbehaviour });
    const source = sources.at(registry.host);
    const { digest, fetched } = await source.resolve('1');
    expect([digest, fetched?.digest]).toEqual([image.digest, image.digest]);
    expect(registry.requests.map(({ method }) => method)).toEqual(['HEAD', 'HEAD', 'HEAD', 'GET']);
    // The pauses after three refusals end at once, because the registry refuses only HEAD.
    const waited = sources.waits.length;
    await source.resolve('2');
    expect(registry.requests.at(-1)?.method).toBe('GET');
    expect(sources.waits.length).toBe(waited);
  },
);

test('the error of GET is reported if both HEAD and GET fail', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.misbehave({ match: { method: 'HEAD' }, do: { status: 500 } });
  registry.misbehave({ match: { method: 'GET' }, do: { status: 404, body: errorBody('MANIFEST_UNKNOWN', 'gone') } });
  await failureOf(sources.at(registry.host).resolve('1'), 'manifest-unknown');
});

test('a registry that refuses HEAD and GET for its rate limit is asked with both, and fails as rate-limited', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.misbehave({ do: { status: 429 } });
  await failureOf(sources.at(registry.host).resolve('1'), 'rate-limited');
  expect(registry.count({ method: 'HEAD' })).toBe(3);
  expect(registry.count({ method: 'GET' })).toBe(3);
});

test('a truncated manifest is requested again', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.push(REPOSITORY, image);
  registry.misbehave({ times: 1, do: { cutAfter: 10 } });
  expect((await sources.at(registry.host).manifest(image.digest)).digest).toBe(image.digest);
  expect(sources.waits).toEqual([100]);
});

test('a silent registry times out', async () => {
  await using registry = await startRegistry();
  await using sources = testSources({ limits: { stallMs: 30 } });
  registry.push(REPOSITORY, image, '3.20');
  registry.misbehave({ times: 1, do: { noAnswer: true } });
  expect((await sources.at(registry.host).resolve('3.20')).digest).toBe(image.digest);
  expect(sources.failures[0]).toMatchObject({ code: 'stalled' });
});

test('a denial is not retried, and the error says that no credentials were sent', async () => {
  await using registry = await startRegistry({ auth: { kind: 'basic', user: 'u', password: 'p' } });
  await using sources = testSources();
  const failure = await failureOf(sources.at(registry.host).resolve('3.20'), 'denied');
  expect(failure.detail).toContain(`there are no credentials for ${registry.host}`);
  expect(sources.waits).toEqual([]);
});

test('an aborted request rejects, and frees its connection and its permit', async () => {
  await using registry = await startRegistry();
  await using sources = testSources({ connections: 1 });
  registry.push(REPOSITORY, image, '3.20');
  const hanging = registry.misbehave({ times: 1, do: { noAnswer: true } });
  const abort = new AbortController();
  const source = sources.at(registry.host);
  const waiting = source.resolve('3.20', { signal: abort.signal });
  const queued = source.resolve('3.20', { signal: abort.signal });
  await hanging.begun;
  abort.abort();
  await failureOf(waiting, 'aborted');
  await failureOf(queued, 'aborted');
  expect((await source.resolve('3.20')).digest).toBe(image.digest);
  expect(sources.waits).toEqual([]);
});

// Registries behind a CDN also redirect manifests and small configs.
test('redirects are followed, without Authorization to another host', async () => {
  await using cdn = await startRegistry();
  await using registry = await startRegistry({ auth: { kind: 'bearer' } });
  await using sources = testSources();
  registry.push(REPOSITORY, image);
  registry.misbehave({ match: { kind: 'manifest' }, do: { redirectTo: cdn } });
  const { digest } = await sources.at(registry.host).manifest(image.digest);
  expect(digest).toBe(image.digest);
  expect(cdn.requests.map(({ authorization }) => authorization)).toEqual([undefined]);
});

test('a loop of redirects fails', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.misbehave({ do: { status: 302, headers: { location: '/v2/library/alpine/manifests/x' } } });
  const failure = await failureOf(sources.at(registry.host).resolve('x'), 'invalid');
  expect(failure.detail).toContain('redirected more than 10 times');
  expect(registry.requests.length).toBe(11);
});

// A host that only speaks v1, or that is not a registry, answers every request with 404.
test('an endpoint without /v2/ is distinguished from a missing tag', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.misbehave({ do: { status: 404, body: '<html>not found</html>' } });
  const failure = await failureOf(sources.at(registry.host).resolve('3.20'), 'unsupported');
  expect(failure.detail).toContain('v1 protocol');
});

test('a bare 404 of a v2 registry means a missing tag', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.misbehave({ match: { kind: 'manifest' }, do: { status: 404 } });
  await failureOf(sources.at(registry.host).resolve('3.20'), 'manifest-unknown');
});

test("a denial by the registry's own code is a denial", async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.misbehave({ do: { status: 403, body: errorBody('DENIED', 'requested access is denied') } });
  const failure = await failureOf(sources.at(registry.host).manifest(`sha256:${'0'.repeat(64)}` as Digest), 'denied');
  expect(failure.detail).toContain('403 DENIED: requested access is denied');
});

test.each([
  ...['text/html', 'application/x-json', 'text/plain; charset=utf-8', 'image/png', ''],
  ...['application/vnd.foo+json', 'application/vnd.oci.image.config.v1+json', `${MEDIA_TYPES.ociManifest}, x/y`],
])('with a Content-Type of "%s", the manifest itself decides its kind', async (type) => {
  await using registry = await startRegistry({ headWithoutDigest: true });
  await using sources = testSources();
  registry.push(REPOSITORY, image, '1');
  registry.misbehave({ do: { headers: { 'content-type': type } } });
  expect(await sources.at(registry.host).resolve('1')).toMatchObject({ digest: image.digest, mediaType: '' });
});

test('a Content-Type of another kind of manifest is kept, so that the contradiction is refused', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.push(REPOSITORY, image, '1');
  const type = 'application/vnd.docker.distribution.manifest.v2+json';
  registry.misbehave({ do: { headers: { 'content-type': type } } });
  expect(await sources.at(registry.host).manifest(image.digest)).toMatchObject({ mediaType: type });
  await failureOf(sources.at(registry.host).fetchTag('1'), 'not-as-declared');
});
