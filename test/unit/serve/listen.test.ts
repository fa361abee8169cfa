import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Access, listen, type Listening } from '../../../lib/serve/listen.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { TLS } from '../../kit/tls.ts';
import { Served } from './served.ts';

const NAME = 'docker.io/library/alpine';
const LAYER = makeLayer({ seed: 1, size: 20_000_000, compression: 'none' });
const IMAGE = makeImage({ layers: [LAYER] });

let store: MemoryStore;
let served: Served;
let server: Listening;
let accesses: Access[];
beforeEach(async () => {
  [store, accesses] = [new MemoryStore(), []];
  served = new Served({}, store);
  await served.add(NAME, IMAGE, '1.0');
  server = await listen(served.registry, { host: '127.0.0.1', port: 0, onAccess: (access) => accesses.push(access) });
});
afterEach(() => server.drain());

function request(target: string): Socket {
  return sent(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
}

function sent(requests: string, { url } = server): Socket {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.write(requests);
  return socket;
}

/** Makes each read of the archive wait; returns the names of those that have begun, and a function that ends the waits. */
function gatedReads(): { readonly begun: string[]; readonly open: () => void } {
  const [begun, gate] = [[] as string[], Promise.withResolvers<undefined>()];
  const get = store.get.bind(store);
  store.get = async (...of) => {
    begun.push(of[0]);
    await gate.promise;
    return await get(...of);
  };
  const open = (): void => {
    gate.resolve(undefined);
  };
  return { begun, open };
}

test.each([
  ['a request of HTTP/1.0 without a Host header', 'GET /healthz HTTP/1.0\r\n\r\n', '/healthz'],
  ['a target with scheme and host', `GET http://x/v2/${NAME}/tags/list HTTP/1.0\r\n\r\n`, `/v2/${NAME}/tags/list`],
  ['a target with a scheme in upper case', 'GET HTTP://x:80/v2/ HTTP/1.0\r\nHost: x\r\n\r\n', '/v2/'],
  ['a target with a host and without a path', 'GET http://x?q HTTP/1.0\r\n\r\n', '/?q'],
])('%s is answered', async (_, head, target) => {
  expect(await text(sent(head))).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  await expect.poll(() => accesses).toMatchObject([{ target, status: 200 }]);
});

describe('a response is reported', () => {
  test('with the bytes of its body, and with those of the connection', async () => {
    const response = await fetch(`${server.url}/v2/${NAME}/manifests/1.0`);
    await response.arrayBuffer();
    await expect.poll(() => accesses).toHaveLength(1);
    const bytes = IMAGE.manifest.length;
    expect(accesses).toMatchObject([{ client: '127.0.0.1', method: 'GET', kind: 'tag', status: 200, bytes }]);
    expect(accesses[0]?.sentBytes).toBeGreaterThan(bytes);
    await fetch(`${server.url}/v2/${NAME}/manifests/1.0`, { method: 'HEAD' });
    await expect.poll(() => accesses[1]?.bytes).toBe(0);
  });

  test('as interrupted if the client disconnects in the middle', async () => {
    const socket = request(`/v2/${NAME}/blobs/${LAYER.digest}`);
    await once(socket, 'data');
    socket.destroy();
    await expect.poll(() => accesses).toMatchObject([{ kind: 'blob', status: 200, bytes: undefined }]);
    expect(accesses[0]?.sentBytes).toBeLessThan(LAYER.blob.length);
  });

  test('as interrupted if the client disconnects before the archive has answered', async () => {
    const reads = gatedReads();
    const socket = request(`/v2/${NAME}/manifests/1.0`);
    await expect.poll(() => reads.begun).not.toEqual([]);
    socket.destroy();
    await once(socket, 'close');
    // The server has noticed the end of the connection once it has answered another request.
    await (await fetch(`${server.url}/healthz`)).arrayBuffer();
    reads.open();
    await expect.poll(() => accesses.map(({ kind }) => kind).sort()).toEqual(['health', 'tag']);
    expect(accesses.find(({ kind }) => kind === 'tag')?.bytes).toBeUndefined();
  });
});

test('a body that breaks off ends the connection, so that no client takes a part for the whole', async () => {
  const read = store.read.bind(store);
  store.read = async (...of) => {
    const found = await read(...of);
    return found === undefined ? undefined : { ...found, body: brokenAfter(found.body) };
  };
  const response = await fetch(`${server.url}/v2/${NAME}/blobs/${LAYER.digest}`);
  expect(response.status).toBe(200);
  await expect(response.arrayBuffer()).rejects.toThrow();
  await expect.poll(() => accesses).toMatchObject([{ kind: 'blob', bytes: undefined }]);
});

async function* brokenAfter(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  for await (const chunk of body) {
    yield chunk;
    throw new Error('the disk has failed');
  }
}

describe('a connection that sends requests before it has their responses', () => {
  const pipelined = (targets: readonly string[], last = 'close'): string =>
    targets
      .map((target, at) => {
        const connection = at === targets.length - 1 ? last : 'keep-alive';
        return `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: ${connection}\r\n\r\n`;
      })
      .join('');

  test('gets them in order, one at a time', async () => {
    const [reads, serve] = [gatedReads(), vi.spyOn(served.registry, 'serve')];
    const targets = [`/v2/${NAME}/manifests/1.0`, '/healthz', '/v2/', `/v2/${NAME}/tags/list`];
    const received = text(sent(pipelined(targets)));
    await expect.poll(() => reads.begun).not.toEqual([]);
    expect(serve).toHaveBeenCalledTimes(1);
    reads.open();
    const statuses = (await received).match(/HTTP\/1\.1 \d+/g);
    expect(statuses).toEqual(Array<string>(4).fill('HTTP/1.1 200'));
    await expect.poll(() => accesses.map(({ target }) => target)).toEqual(targets);
  });

  test('is ended if more than four wait, and no request behind them reads the archive', async () => {
    const reads = gatedReads();
    const socket = sent(pipelined(Array<string>(1_000).fill(`/v2/${NAME}/manifests/1.0`)));
    socket.on('error', () => undefined).resume();
    await new Promise((resolve) => socket.once('close', resolve));
    reads.open();
    await (await fetch(`${server.url}/healthz`)).arrayBuffer();
    await expect.poll(() => accesses.map(({ kind }) => kind)).toContain('health');
    expect(reads.begun.length).toBeLessThanOrEqual(1);
  });
});

test('a connection whose client reads nothing is ended', async () => {
  const seen: Access[] = [];
  const onAccess = (access: Access): void => void seen.push(access);
  const impatient = await listen(served.registry, { host: '127.0.0.1', port: 0, onAccess, silenceMs: 50 });
  const socket = sent(`GET /v2/${NAME}/blobs/${LAYER.digest} HTTP/1.1\r\nHost: x\r\n\r\n`, impatient).pause();
  socket.on('error', () => undefined);
  await expect.poll(() => seen).toMatchObject([{ kind: 'blob', status: 200, bytes: undefined }]);
  socket.destroy();
  await impatient.drain();
});

test('a request with several Host headers is refused', async () => {
  const head = `GET /v2/${NAME}/manifests/1.0 HTTP/1.1\r\nHost: a\r\nhost: b\r\nConnection: close\r\n\r\n`;
  expect(await text(sent(head))).toMatch(/^HTTP\/1\.1 400 [\s\S]*the request has several Host headers/);
  await expect.poll(() => accesses).toMatchObject([{ kind: 'other', status: 400 }]);
});

test('a server on loopback says so', () => {
  expect(server.isLoopback).toBe(true);
});

describe('the certificate and the key', () => {
  const wrong = 'not PEM';
  const other = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  }).privateKey;

  test.each([
    ['certificate', { cert: wrong }, 'read TLS certificate: expected a certificate in PEM in the file of --tls-cert ('],
    [
      'key',
      { key: wrong },
      'read TLS key: expected a private key in PEM without a passphrase in the file of --tls-key (',
    ],
    ['pair', { key: other }, 'read TLS key: the key in the file of --tls-key is not the one of the certificate'],
  ])('are refused with the option of the wrong file: %s', async (_, files, message) => {
    const { cert, key } = { ...TLS, ...files };
    const tls = { cert: Buffer.from(cert), key: Buffer.from(key) };
    const options = { host: '127.0.0.1', port: 0, tls, onAccess: () => undefined };
    await expect(listen(served.registry, options)).rejects.toMatchObject({
      side: 'input',
      message: expect.stringContaining(message) as string,
    });
  });
});
