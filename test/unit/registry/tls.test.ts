import { once } from 'node:events';
import { createServer as createTlsServer } from 'node:https';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import type { Credentials } from '../../../lib/registry/auth/credentials.ts';
import { serveHttp, type HttpServer, type Received, type Reply } from '../../kit/http-server.ts';
import { makeImage } from '../../kit/images.ts';
import { startRegistry } from '../../kit/registry.ts';
import { TLS } from '../../kit/tls.ts';
import { failureOf, testSources } from './helpers.ts';

const image = makeImage({ layers: [] });
const USER: Credentials = { find: () => Promise.resolve({ username: 'user', password: 'secret', from: 'f' }) };

function manifest(_: Received): Reply {
  return [200, { 'content-type': image.mediaType, 'docker-content-digest': image.digest }, image.manifest];
}

/** A name of this machine that does not count as loopback. */
const elsewhere = (port: number): string => `0.0.0.0:${port}`;

interface Port extends AsyncDisposable {
  readonly port: number;
  /** The first byte of each connection: 0x16 begins a TLS handshake. */
  readonly first: number[];
}

/** A port that handles a connection by its first bytes. */
async function listen(handle: (socket: Socket, first: Buffer) => void): Promise<Port> {
  const sockets = new Set<Socket>();
  const first: number[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', (bytes) => {
      first.push(bytes[0] ?? 0);
      handle(socket, bytes);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    first,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

const TLS_HANDSHAKE = 0x16;

/** One port that passes TLS to one server, and other bytes to another one. */
const both = (tls: { readonly port: number }, plain: { readonly port: number }): Promise<Port> =>
  listen((socket, bytes) => {
    const to = connect(bytes[0] === TLS_HANDSHAKE ? tls.port : plain.port, '127.0.0.1');
    to.on('error', () => socket.destroy());
    to.write(bytes);
    socket.pipe(to).pipe(socket);
  });

describe('a registry on loopback', () => {
  test.each(['127.0.0.1', 'localhost', 'registry.localhost'])('is reached over TLS at %s', async (name) => {
    await using server = await serveHttp(manifest, { tls: true });
    for (const insecure of [[], [`${name}:${server.port}`]]) {
      await using sources = testSources({ insecure });
      expect((await sources.at(`${name}:${server.port}`).resolve('v1')).digest).toBe(image.digest);
      expect(sources.waits).toEqual([]);
    }
  });

  test.each(['127.0.0.1', 'localhost', 'registry.localhost'])('is reached without TLS at %s', async (name) => {
    await using registry = await startRegistry();
    registry.push('library/alpine', image, 'v1');
    await using sources = testSources();
    const source = sources.at(registry.host.replace('127.0.0.1', name));
    expect((await source.resolve('v1')).digest).toBe(image.digest);
    expect(registry.requests).toHaveLength(1);
    expect(sources.waits).toEqual([]);
  });

  test('is tried over TLS once if it does not speak TLS', async () => {
    await using server = await serveHttp(manifest);
    await using port = await both(server, server);
    await using sources = testSources();
    for (let time = 0; time < 3; time += 1) await sources.at(`127.0.0.1:${port.port}`).resolve('v1');
    expect(port.first.filter((byte) => byte === TLS_HANDSHAKE)).toHaveLength(1);
  });

  test('must have a valid certificate if its endpoint is configured with https', async () => {
    await using server = await serveHttp(manifest, { tls: true });
    await using sources = testSources({ endpoints: { r: [`https://${server.host}`] } });
    const failure = await failureOf(sources.at('r').resolve('v1'), 'network');
    expect(failure.detail).toMatch(/certificate of 127\.0\.0\.1:\d+ is not trusted/);
  });
});

describe('an insecure host that speaks TLS', () => {
  test('is not asked in plain HTTP after a failure that is not about TLS', async () => {
    await using tls = await serveHttp(() => [401, { 'www-authenticate': 'Basic realm="r"' }], { tls: true });
    await using plain = await serveHttp(manifest);
    await using port = await both(tls, plain);
    const failing = new Failure({ operation: 'ask helper', side: 'input', code: 'invalid', detail: 'not installed' });
    const credentials: Credentials = { find: () => Promise.reject(failing) };
    await using sources = testSources({ insecure: [elsewhere(port.port)], credentials });
    await expect(sources.at(elsewhere(port.port)).resolve('v1')).rejects.toThrow('not installed');
    expect(plain.requests).toEqual([]);
  });

  test('gets no credentials for a token service on its own plain-HTTP port', async () => {
    let realm = '';
    const challenge = (): Reply => [401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` }];
    await using tls = await serveHttp(challenge, { tls: true });
    await using plain = await serveHttp(challenge);
    await using port = await both(tls, plain);
    const host = elsewhere(port.port);
    realm = `http://${host}/token`;
    for (const credentials of [USER, undefined]) {
      await using sources = testSources({
        insecure: [host],
        ...(credentials === undefined ? {} : { credentials }),
      });
      const failure = await failureOf(sources.at(host).manifest(image.digest), 'denied');
      expect(failure.detail).toBe(`${host} speaks TLS, so plain HTTP is refused`);
    }
    expect(plain.requests).toEqual([]);
    expect(port.first.every((byte) => byte === TLS_HANDSHAKE)).toBe(true);
  });

  test('is not asked in plain HTTP if it redirects there itself', async () => {
    await using tls = await serveHttp(({ path }) => [307, { location: `http://${host}${path}` }], { tls: true });
    await using plain = await serveHttp(manifest);
    await using port = await both(tls, plain);
    const host = elsewhere(port.port);
    await using sources = testSources({ insecure: [host] });
    await failureOf(sources.at(host).manifest(image.digest), 'denied');
    expect(plain.requests).toEqual([]);
  });

  test.each(['reset', 'stall'] as const)(
    'is not asked in plain HTTP after a %s that follows the handshake',
    async (how) => {
      const server = createTlsServer(TLS, ({ socket }) => {
        if (how === 'reset') socket.destroy();
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      await using plain = await serveHttp(manifest);
      await using port = await both(server.address() as AddressInfo, plain);
      const host = elsewhere(port.port);
      await using sources = testSources({ insecure: [host], limits: { stallMs: 200 } });
      await failureOf(sources.at(host).manifest(image.digest), how === 'reset' ? 'network' : 'stalled');
      expect(plain.requests).toEqual([]);
      server.closeAllConnections();
      server.close();
    },
  );

  test('is not asked in plain HTTP after an alert', async () => {
    // A fatal alert: handshake_failure.
    await using port = await listen((socket) => socket.end(Buffer.from([0x15, 3, 3, 0, 2, 2, 40])));
    const host = elsewhere(port.port);
    await using sources = testSources({ insecure: [host] });
    await failureOf(sources.at(host).manifest(image.digest), 'network');
    expect(port.first.every((byte) => byte === TLS_HANDSHAKE)).toBe(true);
  });
});

describe('an insecure host that does not speak TLS', () => {
  test.each(['answers in HTTP', 'resets', 'closes'] as const)('is asked in plain HTTP if it %s', async (how) => {
    await using plain = await serveHttp(manifest);
    await using port = await listen((socket, bytes) => {
      if (bytes[0] === TLS_HANDSHAKE && how === 'resets') socket.resetAndDestroy();
      else if (bytes[0] === TLS_HANDSHAKE && how === 'closes') socket.end();
      else {
        const to = connect(plain.port, '127.0.0.1');
        to.write(bytes);
        socket.pipe(to).pipe(socket);
      }
    });
    const host = elsewhere(port.port);
    await using sources = testSources({ insecure: [host] });
    expect((await sources.at(host).manifest(image.digest)).digest).toBe(image.digest);
    expect(sources.waits).toEqual([]);
  });
});

test('a token service without TLS gets credentials only if its own host is insecure', async () => {
  const registryFor = (realm: HttpServer): Promise<HttpServer> =>
    serveHttp(
      (request) =>
        request.headers.authorization === 'Bearer t'
          ? manifest(request)
          : [401, { 'www-authenticate': `Bearer realm="http://${elsewhere(realm.port)}/token",service="s"` }],
      { tls: true },
    );
  await using realm = await serveHttp(() => [200, {}, '{"token":"t"}']);
  await using registry = await registryFor(realm);
  const host = elsewhere(registry.port);
  await using strict = testSources({ insecure: [host], credentials: USER });
  const failure = await failureOf(strict.at(host).manifest(image.digest), 'denied');
  expect(failure.detail).toContain('names a token service without TLS');
  expect(realm.requests).toEqual([]);
  await using sources = testSources({ insecure: [host, elsewhere(realm.port)], credentials: USER });
  expect((await sources.at(host).manifest(image.digest)).digest).toBe(image.digest);
});
