/** Endpoints with `resolve: false`: they serve content by digest, and do not resolve tags. */
import { expect, test } from 'vitest';
import { digestOf } from '../../../lib/oci/digest.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { collect, failureOf, testSources, type TestSources } from './helpers.ts';

const REPOSITORY = 'library/alpine';
const layer = makeLayer({ seed: 1 });
const right = makeImage({ layers: [layer] });
const wrong = makeImage({ layers: [makeLayer({ seed: 2 })] });
const config = digestOf(right.config);

interface Pair extends AsyncDisposable {
  readonly mirror: TestRegistry;
  readonly upstream: TestRegistry;
  /** A registry that is reached at the mirror, which does not resolve, and then upstream. */
  readonly sources: TestSources;
}

/** The mirror has all content of the registry, another image for its tag `latest`, and a tag that the registry lacks. */
async function startPair(): Promise<Pair> {
  const [mirror, upstream] = await Promise.all([startRegistry(), startRegistry()]);
  upstream.push(REPOSITORY, right, 'latest');
  mirror.push(REPOSITORY, right);
  mirror.push(REPOSITORY, wrong, 'latest');
  mirror.tag(REPOSITORY, 'planted', wrong.digest);
  const sources = testSources({
    endpoints: { 'docker.io': [{ host: mirror.host, resolve: false }, upstream.host] },
  });
  return {
    mirror,
    upstream,
    sources,
    [Symbol.asyncDispose]: async () => {
      await sources[Symbol.asyncDispose]();
      await Promise.all([mirror.close(), upstream.close()]);
    },
  };
}

test('the registry resolves tags, and the mirror serves the manifest and the blobs', async () => {
  await using pair = await startPair();
  const source = pair.sources.at('docker.io');
  expect((await source.resolve('latest')).digest).toBe(right.digest);
  expect((await source.fetchTag('latest')).digest).toBe(right.digest);
  expect(pair.mirror.requests).toEqual([]);
  pair.upstream.forgetRequests();
  expect((await source.resolve(right.digest)).digest).toBe(right.digest);
  expect((await source.manifest(right.digest)).digest).toBe(right.digest);
  await source.smallBlob(config, { maxBytes: 100_000 });
  await collect(await source.blob(layer.digest).open({ start: 0 }));
  expect(pair.mirror.requests.map(({ method, kind }) => `${method} ${kind}`)).toEqual([
    'HEAD manifest',
    'GET manifest',
    'GET blob',
    'GET blob',
  ]);
  expect(pair.upstream.requests).toEqual([]);
});

test('a registry that refuses HEAD, or omits the digest, is asked with GET, and the mirror is not asked', async () => {
  for (const misbehaviour of [{ status: 405 }, { headers: { 'docker-content-digest': '' } }]) {
    await using pair = await startPair();
    pair.upstream.misbehave({ match: { method: 'HEAD' }, do: misbehaviour });
    expect((await pair.sources.at('docker.io').resolve('latest')).digest).toBe(right.digest);
    expect(pair.mirror.requests).toEqual([]);
  }
});

test('every page of a list of tags comes from the registry', async () => {
  await using pair = await startPair();
  for (let n = 0; n < 1000; n += 1) pair.upstream.tag(REPOSITORY, `1.${n}`, right.digest);
  const found: string[] = [];
  for await (const page of pair.sources.at('docker.io').tags()) found.push(...page);
  expect(found).toHaveLength(1001);
  expect(found).not.toContain('planted');
  expect(pair.upstream.count({ kind: 'tags' })).toBe(2);
  expect(pair.mirror.requests).toEqual([]);
});

test('the mirror does not resolve a tag if the registry fails', async () => {
  await using pair = await startPair();
  pair.upstream.misbehave({ do: { status: 503 } });
  const source = pair.sources.at('docker.io');
  await failureOf(source.resolve('latest'), 'unavailable');
  await failureOf(source.fetchTag('latest'), 'unavailable');
  await failureOf(source.tags()[Symbol.asyncIterator]().next(), 'unavailable');
  expect(pair.mirror.requests).toEqual([]);
  expect((await source.manifest(right.digest)).digest).toBe(right.digest);
});

test('a tag that only the mirror has does not exist', async () => {
  await using pair = await startPair();
  await failureOf(pair.sources.at('docker.io').resolve('planted'), 'manifest-unknown');
  expect(pair.mirror.requests).toEqual([]);
});

test('a mirror that lacks content or fails is skipped and rests', async () => {
  await using pair = await startPair();
  const source = pair.sources.at('docker.io');
  pair.mirror.removeManifest(REPOSITORY, right.digest);
  expect((await source.manifest(right.digest)).digest).toBe(right.digest);
  pair.mirror.misbehave({ times: 1, do: { status: 503 } });
  await collect(await source.blob(layer.digest).open({ start: 0 }));
  const kinds = pair.mirror.requests.map(({ kind }) => kind);
  expect(kinds).toEqual(['manifest', 'ping', 'blob']);
  expect((await source.resolve('latest')).digest).toBe(right.digest);
  await source.smallBlob(config, { maxBytes: 100_000 });
  expect([pair.mirror.count(), pair.sources.waits]).toEqual([3, []]);
});

test.each([
  ['a string', (host: string) => host],
  ['an object without resolve', (host: string) => ({ host })],
  ['an object with resolve: true', (host: string) => ({ host, resolve: true })],
])('a mirror that is configured as %s resolves tags', async (_, choice) => {
  await using pair = await startPair();
  await using sources = testSources({ endpoints: { 'docker.io': [choice(pair.mirror.host), pair.upstream.host] } });
  expect((await sources.at('docker.io').resolve('latest')).digest).toBe(wrong.digest);
  expect(pair.upstream.requests).toEqual([]);
});
