import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { DialGuard } from '../../../lib/registry/http/dial.ts';
import type { TimeLimits } from '../../../lib/registry/http/exchange.ts';
import { readExcerpt, readWhole } from '../../../lib/registry/http/short.ts';
import { Wire } from '../../../lib/registry/http/wire.ts';
import { failureOf } from './helpers.ts';
import type { HttpRequest } from '../../../lib/registry/http/message.ts';

interface TestServer extends AsyncDisposable {
  readonly wire: Wire;
  readonly request: (method: HttpRequest['method']) => HttpRequest;
  /** The number of connections so far. */
  readonly connections: () => number;
}

async function serve(listener: RequestListener, limits?: Partial<TimeLimits>): Promise<TestServer> {
  let connections = 0;
  const server = createServer(listener).on('connection', () => (connections += 1));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const guard = new DialGuard({ endpoints: [url], privateAddresses: false });
  const wire = new Wire({ connections: 3, isInsecure: () => false, guard, limits });
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

// A TLS handshake per HEAD would take most of the time of a sync.
test('connections are reused, even after HEAD, and limited in number', async () => {
  await using server = await serve((_, response) => response.writeHead(200, { 'content-length': 500 }).end());
  const heads = Array.from({ length: 50 }, async () => {
    const { body } = await server.wire.send(server.request('HEAD'));
    expect(await body.read()).toBeUndefined();
  });
  await Promise.all(heads);
  expect(server.connections()).toBe(3);
});

test('bytes that arrived before a connection broke can be read, so that a resumed download makes progress', async () => {
  await using server = await serve((_, response) => {
    response.writeHead(200, { 'content-length': 100 }).write('beginning', () => response.destroy());
  });
  const { body } = await server.wire.send(server.request('GET'));
  expect((await body.read())?.toString()).toBe('beginning');
  await failureOf(body.read());
});

test('a body is complete or refused, and an excerpt has its maximum length', async () => {
  await using server = await serve((_, response) => response.end('12345'));
  const reply = () => server.wire.send(server.request('GET'));
  expect(Buffer.from((await readWhole(await reply(), 'test', 5)) ?? []).toString()).toBe('12345');
  expect(await readWhole(await reply(), 'test', 4)).toBeUndefined();
  expect(await readExcerpt(await reply(), 4)).toBe('1234');
  expect(await readExcerpt(await reply(), 6)).toBe('12345');
});

test('an aborted request is not sent', async () => {
  await using server = await serve(() => expect.fail('it was sent'));
  await failureOf(server.wire.send(server.request('GET'), AbortSignal.abort()), 'aborted');
  expect(server.connections()).toBe(0);
});

/** Sends a piece every few milliseconds, until the client disconnects. */
function drip(bytes: number): RequestListener {
  return (_, response) => {
    response.writeHead(200, { 'x-signed': 'yes' });
    const timer = setInterval(() => response.write(Buffer.alloc(bytes)), 5);
    response.on('close', () => {
      clearInterval(timer);
    });
  };
}

describe('a slow response', () => {
  test('is aborted if it is short and takes too long', async () => {
    await using server = await serve(drip(1), { shortBodyMs: 100 });
    const reply = await server.wire.send(server.request('GET'));
    const failure = await failureOf(readWhole(reply, 'test', 1_000_000), 'stalled');
    expect(failure.message).toMatch(/^test: 127\.0\.0\.1:\d+ did not complete its response within 0\.1 s$/);
  });

  test('is aborted as the excerpt of an error, which keeps the received bytes', async () => {
    await using server = await serve(drip(1), { shortBodyMs: 100 });
    expect((await readExcerpt(await server.wire.send(server.request('GET')), 1_000_000)).length).toBeGreaterThan(0);
  });

  test('is aborted if it is long and its rate is too low', async () => {
    await using server = await serve(drip(1), { rate: { bytes: 1_000_000, overMs: 100 } });
    const { body } = await server.wire.send(server.request('GET'));
    const read = async (): Promise<void> => {
      while ((await body.read()) !== undefined);
    };
    const failure = await failureOf(read(), 'stalled');
    expect(failure.message).toMatch(/^test: 127\.0\.0\.1:\d+ sent only \d+ bytes in 0\.1 s$/);
  });

  test('is not aborted if its rate is high enough', async () => {
    await using server = await serve(drip(1000), { rate: { bytes: 1, overMs: 300 }, shortBodyMs: 1 });
    const { body } = await server.wire.send(server.request('GET'));
    let length = 0;
    while (length < 100_000) length += (await body.read())?.length ?? 0;
    body.cancel();
  });
});

describe('a body that waits for its turn', () => {
  const MEBIBYTE = Buffer.alloc(1024 * 1024);

  test.each([{ 'content-length': 2 * MEBIBYTE.length }, {}])('is not late (%o)', async (headers) => {
    await using server = await serve(
      (_, response) => {
        response.writeHead(200, headers).write(MEBIBYTE);
        response.end(MEBIBYTE);
      },
      { shortBodyMs: 200, stallMs: 100 },
    );
    const turn = vi.fn(() => setTimeout(500, { [Symbol.dispose]: vi.fn() }));
    const reply = await server.wire.send(server.request('GET'));
    expect(await readWhole(reply, 'test', 10 * MEBIBYTE.length, turn)).toHaveLength(2 * MEBIBYTE.length);
    expect(turn).toHaveBeenCalledTimes(1);
  });

  test('is late if it takes too long in its turn, which it then gives back', async () => {
    await using server = await serve((_, response) => response.writeHead(200).write(MEBIBYTE), { shortBodyMs: 200 });
    const giveBack = vi.fn();
    const reply = await server.wire.send(server.request('GET'));
    const turn = () => setTimeout(500, { [Symbol.dispose]: giveBack });
    const failure = await failureOf(readWhole(reply, 'test', 10 * MEBIBYTE.length, turn), 'stalled');
    expect(failure.detail).toMatch(/did not complete its response within 0\.2 s$/);
    expect(giveBack).toHaveBeenCalledTimes(1);
  });

  test('gives its turn back if it is longer than its limit', async () => {
    await using server = await serve((_, response) => response.end(MEBIBYTE));
    const giveBack = vi.fn();
    const reply = await server.wire.send(server.request('GET'));
    const turn = () => Promise.resolve({ [Symbol.dispose]: giveBack });
    expect(await readWhole(reply, 'test', MEBIBYTE.length - 1, turn)).toBeUndefined();
    expect(giveBack).toHaveBeenCalledTimes(1);
  });
});

// A piece takes about 100 bytes of memory.
test('chunks of one byte are joined while they wait for their reader', async () => {
  const sent = Promise.withResolvers<undefined>();
  const pieces = Array.from({ length: 20_000 }, (_, n) => Buffer.from([n % 256]));
  await using server = await serve((_, response) => {
    for (const piece of pieces) response.write(piece);
    response.end(() => {
      sent.resolve(undefined);
    });
  });
  const { body } = await server.wire.send(server.request('GET'));
  await sent.promise;
  await setTimeout(100);
  const read: Buffer[] = [];
  for (let piece = await body.read(); piece !== undefined; piece = await body.read()) read.push(piece);
  expect(Buffer.concat(read).equals(Buffer.concat(pieces))).toBe(true);
  expect(read.length).toBeLessThan(100);
});

// Measured at the sender: the kernel and this process buffer only a bounded amount.
test('a reader that stops makes the sender stop', async () => {
  const piece = Buffer.alloc(1024 * 1024);
  const MOST = 256;
  let sent = 0;
  const stopped = Promise.withResolvers<undefined>();
  await using server = await serve((_, response) => {
    const more = (): void => {
      while (sent < MOST) {
        sent += 1;
        if (response.write(piece)) continue;
        response.once('drain', more);
        return;
      }
      response.end();
    };
    more();
    // A sender that is not stopped has sent everything by then.
    void setTimeout(300).then(() => {
      stopped.resolve(undefined);
    });
  });
  const { body } = await server.wire.send(server.request('GET'));
  await stopped.promise;
  expect(sent).toBeLessThan(MOST / 4);
  let length = 0;
  for (let chunk = await body.read(); chunk !== undefined; chunk = await body.read()) length += chunk.length;
  expect(length).toBe(MOST * piece.length);
});

test('no message contains the query of a URL, which may be its signature', async () => {
  const listeners: readonly RequestListener[] = [
    ({ socket }) => socket.destroy(),
    () => undefined,
    (_, response) => response.writeHead(200, { 'content-length': 100 }).write('x', () => response.destroy()),
    (_, response) => response.writeHead(200, { 'content-length': 100 }).write('x'),
  ];
  for (const listener of listeners) {
    await using server = await serve(listener, { stallMs: 100 });
    const { url, ...rest } = server.request('GET');
    const signed = new URL('/blob?X-Amz-Signature=secret', url);
    const failure = await failureOf(
      server.wire.send({ ...rest, url: signed }).then((reply) => readWhole(reply, 'test', 1000)),
    );
    const { cause } = failure;
    expect(`${failure.message} ${cause instanceof Error ? cause.message : ''}`).not.toMatch(/secret|Signature/);
  }
});
