import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Access, listen, type Listening } from '../../../lib/serve/listen.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import { MemoryStore } from '../../kit/memory-store.ts';
import { Served } from './served.ts';

const NAME = 'docker.io/library/alpine';
const LAYER = makeLayer({ seed: 1, size: 20_000_000, compression: 'none' });
const IMAGE = makeImage({ layers: [LAYER] });

let store: MemoryStore;
let server: Listening;
let accesses: Access[];
beforeEach(async () => {
  [store, accesses] = [new MemoryStore(), []];
  const served = new Served({}, store);
  await served.add(NAME, IMAGE, '1.0');
  server = await listen(served.registry, { host: '127.0.0.1', port: 0, onAccess: (access) => accesses.push(access) });
});
afterEach(() => server.drain());

function request(target: string): Socket {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
  return socket;
}

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
    const [reading, answer] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
    const get = store.get.bind(store);
    store.get = async (...of) => {
      reading.resolve(undefined);
      await answer.promise;
      return await get(...of);
    };
    const socket = request(`/v2/${NAME}/manifests/1.0`);
    await reading.promise;
    socket.destroy();
    await once(socket, 'close');
    // The server has noticed the end of the connection once it has answered another request.
    await (await fetch(`${server.url}/healthz`)).arrayBuffer();
    answer.resolve(undefined);
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

test('a server on loopback says so', () => {
  expect(server.isLoopback).toBe(true);
});
