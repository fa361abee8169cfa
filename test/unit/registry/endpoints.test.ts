import { createServer } from 'node:https';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { isLoopback } from '../../../lib/registry/http/addresses.ts';
import { credentialHost, originsOf } from '../../../lib/registry/http/hosts.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { randomBytes } from '../../kit/content.ts';
import { makeImage } from '../../kit/images.ts';
import { startRegistry } from '../../kit/registry.ts';
import { TLS } from '../../kit/tls.ts';
import { collect, failureOf, testSources } from './helpers.ts';

const REPOSITORY = 'library/alpine';
const image = makeImage({ layers: [] });

test('tries loopback and insecure hosts over TLS and then without, and all others only over TLS', () => {
  const origins = (name: string, insecure = false): string[] =>
    originsOf(name, () => insecure).map(({ origin }) => origin);
  for (const host of ['localhost:5000', '127.1.2.3', '[::1]:5000', 'registry.localhost:5000'])
    expect(origins(host)).toEqual([`https://${host}`, `http://${host}`]);
  expect(origins('registry.example:5000')).toEqual(['https://registry.example:5000']);
  expect(origins('registry.example', true)).toEqual(['https://registry.example', 'http://registry.example']);
  expect(origins('docker.io')).toEqual(['https://registry-1.docker.io']);
  expect(origins('http://mirror.example/')).toEqual(['http://mirror.example']);
  expect(origins('https://localhost:5000')).toEqual(['https://localhost:5000']);
  expect(['127.0.0.1', 'localhost', 'localhost.', 'a.b.localhost', '[::1]'].every(isLoopback)).toBe(true);
  expect(['127.0.0.1.example', 'localhost.example', 'notlocalhost', '10.0.0.1'].some(isLoopback)).toBe(false);
  expect(['https://registry-1.docker.io', 'docker.io', 'https://r.example:5/'].map(credentialHost)).toEqual([
    'docker.io',
    'docker.io',
    'r.example:5',
  ]);
});

test.each([
  { status: 404 },
  { status: 503 },
  { status: 429, headers: { 'retry-after': '9999' } },
  { status: 403 },
  { hangUp: true },
  { flipByteAt: 3 },
])('skips a mirror that does %o, and the last endpoint decides', async (misbehaviour) => {
  await using mirror = await startRegistry();
  await using upstream = await startRegistry();
  await using sources = testSources({ endpoints: { 'docker.io': [mirror.host, upstream.host] } });
  for (const registry of [mirror, upstream]) registry.push(REPOSITORY, image, '1');
  mirror.misbehave({ match: { kind: 'manifest' }, do: misbehaviour });
  expect((await sources.at('docker.io').manifest(image.digest)).digest).toBe(image.digest);
  expect(sources.waits).toEqual([]);
  expect(upstream.count()).toBe(1);
});

// Captive portals and proxies that require a login answer 200 to all requests.
test.each([
  ['a login page', { status: 200, body: '<html>log in</html>', headers: { 'content-type': 'text/html' } }],
  ['a page without a type', { status: 200, body: 'ok' }],
  [
    'JSON that is not a manifest',
    { status: 200, body: '{"ok":true}', headers: { 'content-type': 'application/json' } },
  ],
])('skips a mirror that answers with %s, and asks it after the others from then on', async (_, misbehaviour) => {
  await using mirror = await startRegistry();
  await using upstream = await startRegistry();
  await using sources = testSources({ endpoints: { 'docker.io': [mirror.host, upstream.host] } });
  upstream.push(REPOSITORY, image, '1');
  mirror.misbehave({ do: misbehaviour });
  const source = sources.at('docker.io');
  expect((await source.resolve('1')).digest).toBe(image.digest);
  expect((await source.manifest(image.digest)).digest).toBe(image.digest);
  expect(mirror.count({ kind: 'manifest' })).toBe(2);
});

test('names the host of a login page if it is the only endpoint', async () => {
  await using registry = await startRegistry();
  await using sources = testSources();
  registry.misbehave({ do: { status: 200, body: '<html>log in</html>', headers: { 'content-type': 'text/html' } } });
  const failure = await failureOf(sources.at(registry.host).resolve('1'), 'invalid');
  expect(failure.detail).toContain(`${registry.host} sent an invalid manifest`);
});

test('reports the error of the last endpoint', async () => {
  await using mirror = await startRegistry();
  await using upstream = await startRegistry();
  await using sources = testSources({ endpoints: { 'docker.io': [mirror.host, upstream.host] } });
  upstream.push(REPOSITORY, image, '1');
  mirror.misbehave({ do: { status: 503 } });
  await failureOf(sources.at('docker.io').resolve('2'), 'manifest-unknown');
  expect(sources.waits).toEqual([]);
});

test('lets an endpoint rest for a while after an error', async () => {
  await using mirror = await startRegistry();
  await using upstream = await startRegistry();
  let now = 0;
  await using sources = testSources({
    endpoints: { 'docker.io': [mirror.host, upstream.host] },
    now: () => now,
  });
  for (const registry of [mirror, upstream]) registry.push(REPOSITORY, image, '1');
  mirror.misbehave({ times: 1, do: { status: 503 } });
  const source = sources.at('docker.io');
  await source.resolve('1');
  await source.resolve('1');
  expect([mirror.count(), upstream.count()]).toEqual([1, 2]);
  now = 61_000;
  await source.resolve('1');
  expect([mirror.count(), upstream.count()]).toEqual([2, 2]);
});

test('continues a blob at the next endpoint if the first one dies', async () => {
  await using mirror = await startRegistry();
  await using upstream = await startRegistry();
  await using sources = testSources({ endpoints: { 'docker.io': [mirror.host, upstream.host] } });
  const bytes = randomBytes(2_000_000, 1);
  const digest = digestOf(bytes);
  for (const registry of [mirror, upstream]) {
    registry.push(REPOSITORY, image);
    registry.pushBlob(digest, bytes);
  }
  mirror.misbehave({ match: { kind: 'blob' }, do: { cutAfter: 700_000 } });
  // Another server has another ETag, which is not a problem by itself.
  upstream.misbehave({ match: { kind: 'blob' }, do: { headers: { etag: '"another"' } } });
  const body = await sources.at('docker.io').blob(digest).open({ start: 0 });
  expect((await collect(body)).equals(bytes)).toBe(true);
  expect(upstream.requests.map(({ range }) => range)).toEqual(['bytes=700000-1999999']);
  expect(mirror.count({ kind: 'blob' })).toBe(1);
});

/** An address of this machine that does not count as loopback. */
const elsewhere = (host: string): string => host.replace('127.0.0.1', '0.0.0.0');

test('tries an insecure host over TLS and then without, once', async () => {
  await using registry = await startRegistry();
  const host = elsewhere(registry.host);
  registry.push(REPOSITORY, image, '1');
  await using strict = testSources();
  const failure = await failureOf(strict.at(host).resolve('1'), 'network');
  expect(failure).toMatchObject({ remedy: 'never' });
  expect(failure.detail).toContain('--insecure-registry');
  await using sources = testSources({ insecure: [host] });
  for (let time = 0; time < 2; time += 1) expect((await sources.at(host).resolve('1')).digest).toBe(image.digest);
});

test('requires a valid certificate, unless the host is insecure', async () => {
  const server = createServer(TLS, (_, response) => {
    response.writeHead(200, { 'docker-content-digest': image.digest, 'content-type': image.mediaType }).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const host = `0.0.0.0:${(server.address() as AddressInfo).port}`;
  try {
    await using strict = testSources();
    const failure = await failureOf(strict.at(host).resolve('1'), 'network');
    expect(failure).toMatchObject({ remedy: 'never' });
    expect(failure.detail).toContain('certificate');
    await using sources = testSources({ insecure: [host] });
    expect((await sources.at(host).resolve('1')).digest).toBe(image.digest);
  } finally {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }
});
