import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { DialGuard } from '../../../lib/registry/dial.ts';
import { readExcerpt, readWhole } from '../../../lib/registry/short.ts';
import { Wire, type HttpRequest } from '../../../lib/registry/wire.ts';
import { failureOf } from './helpers.ts';

interface TestServer extends AsyncDisposable {
  readonly wire: Wire;
  readonly request: (method: HttpRequest['method']) => HttpRequest;
  /** How many connections were made so far. */
  readonly connections: () => number;
}

async function serve(listener: RequestListener): Promise<TestServer> {
  let connections = 0;
  const server = createServer(listener).on('connection', () => (connections += 1));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const guard = new DialGuard({ endpoints: [url], privateAddresses: false });
  const wire = new Wire({ connections: 3, stallMs: 30_000, isInsecure: () => false, guard });
  return {
    wire,
    request: (method) => ({ operation: 'test', method, url, headers: {} }),
    connections: () => connections,
    [Symbol.asyncDispose]: async () => {
      await wire.close();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

// A thousand unchanged tags are a thousand HEADs: a handshake each would be most of their time.
test('connections are kept, also after HEAD, and bounded', async () => {
  await using server = await serve((_, response) => response.writeHead(200, { 'content-length': 500 }).end());
  const heads = Array.from({ length: 50 }, async () => {
    const { body } = await server.wire.send(server.request('HEAD'));
    expect(await body.read()).toBeUndefined();
  });
  await Promise.all(heads);
  expect(server.connections()).toBe(3);
});

// However short connections live, a resumed download makes progress: what came before the break counts.
test('what had arrived before a connection broke can be read', async () => {
  await using server = await serve((_, response) => {
    response.writeHead(200, { 'content-length': 100 }).write('beginning', () => response.destroy());
  });
  const { body } = await server.wire.send(server.request('GET'));
  expect((await body.read())?.toString()).toBe('beginning');
  await failureOf(body.read());
});

test('a body is whole or refused, and an excerpt is as long as it may be', async () => {
  await using server = await serve((_, response) => response.end('12345'));
  const reply = () => server.wire.send(server.request('GET'));
  expect(Buffer.from((await readWhole(await reply(), 'test', 5)) ?? []).toString()).toBe('12345');
  expect(await readWhole(await reply(), 'test', 4)).toBeUndefined();
  expect(await readExcerpt(await reply(), 4)).toBe('1234');
  expect(await readExcerpt(await reply(), 6)).toBe('12345');
});

test('a request that is aborted before it is sent is not sent', async () => {
  await using server = await serve(() => expect.fail('it was sent'));
  await failureOf(server.wire.send(server.request('GET'), AbortSignal.abort()), 'aborted');
  expect(server.connections()).toBe(0);
});
