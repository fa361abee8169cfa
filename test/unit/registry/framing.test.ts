import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { normaliseHead } from '../../../lib/registry/http/response-head.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { randomBytes } from '../../kit/content.ts';
import { makeImage } from '../../kit/images.ts';
import { collect, failureOf, testSources } from './helpers.ts';

const image = makeImage({ layers: [] });
const BLOB = randomBytes(200_000, 1);
const DIGEST = digestOf(BLOB);

interface RawServer extends AsyncDisposable {
  readonly host: string;
  readonly connections: () => number;
}

/** A server of raw bytes, one request per connection. */
async function raw(answer: (method: string, path: string) => Buffer): Promise<RawServer> {
  let connections = 0;
  const server = createServer((socket) => {
    let request = '';
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      request += bytes.toString('latin1');
      // This is not TLS, so the handshake fails.
      if (request.startsWith('\x16')) socket.destroy();
      else if (request.includes('\r\n\r\n')) {
        connections += 1;
        const [method = '', path = ''] = request.split(' ');
        socket.end(answer(method, path));
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

const chunked = (body: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')]);

/** Content with the headers that `framing` returns for its length. */
function answering(framing: (length: number) => string, encode = (body: Buffer): Buffer => body) {
  return (method: string, path: string): Buffer => {
    const body = path.includes('/manifests/') ? image.manifest : path.includes('/blobs/') ? BLOB : '{"tags":["v1"]}';
    const bytes = Buffer.from(body);
    const own = path.includes('/manifests/')
      ? `Content-Type: ${image.mediaType}\r\nDocker-Content-Digest: ${image.digest}\r\n`
      : '';
    const head = Buffer.from(`HTTP/1.1 200 OK\r\n${own}${framing(bytes.length)}\r\n`, 'latin1');
    return method === 'HEAD' ? head : Buffer.concat([head, encode(bytes)]);
  };
}

const ACCEPTED: readonly (readonly [string, (length: number) => string, ((body: Buffer) => Buffer)?])[] = [
  ['Content-Length before Transfer-Encoding', (n) => `Content-Length: ${n}\r\nTransfer-Encoding: chunked\r\n`, chunked],
  ['Content-Length after Transfer-Encoding', (n) => `Transfer-Encoding: chunked\r\nContent-Length: ${n}\r\n`, chunked],
  [
    'a wrong Content-Length beside Transfer-Encoding',
    () => 'Transfer-Encoding: chunked\r\nContent-Length: 7\r\n',
    chunked,
  ],
  ['a Content-Length that is repeated', (n) => `Content-Length: ${n}\r\nContent-Length: ${n}\r\n`],
  ['a Content-Length that is a list of one value', (n) => `Content-Length: ${n}, ${n}\r\n`],
  ['a Content-Length with leading zeros', (n) => `Content-Length: 000${n}\r\nContent-Length: ${n}\r\n`],
  ['a Content-Length with spaces behind it', (n) => `Content-Length: ${n}  \r\n`],
  ['a Content-Length between tabs', (n) => `Content-Length:\t${n}\t\r\n`],
  ['a Content-Length with a space before its colon', (n) => `Content-Length : ${n}\r\n`],
  ['a folded Content-Length', (n) => `Content-Length:\r\n ${n}\r\n`],
  ['a folded value', (n) => `X-Old: a\r\n\tb\r\nContent-Length: ${n}\r\n`],
  ['a bare LF between two headers', (n) => `Content-Length: ${n}\nX-Old: 1\r\n`],
  ['Transfer-Encoding: identity', (n) => `Content-Length: ${n}\r\nTransfer-Encoding: identity\r\n`],
  [
    'a header of 20,000 characters',
    (n) => `Content-Security-Policy: ${'x'.repeat(20_000)}\r\nContent-Length: ${n}\r\n`,
  ],
  ['an interim response before such a head', (n) => `Content-Length: ${n}\r\nContent-Length: ${n}\r\n`],
];

describe('a response', () => {
  test.for(ACCEPTED)('with %s is accepted', async ([name, framing, encode]) => {
    const answer = answering(framing, encode);
    const interim = name.startsWith('an interim')
      ? Buffer.from('HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n')
      : Buffer.alloc(0);
    await using server = await raw((method, path) => Buffer.concat([interim, answer(method, path)]));
    await using sources = testSources();
    const source = sources.at(server.host);
    expect((await source.resolve('v1')).digest).toBe(image.digest);
    expect((await source.manifest(image.digest)).digest).toBe(image.digest);
    expect(await Array.fromAsync(source.tags())).toEqual([['v1']]);
    const body = await source.blob(DIGEST, { size: BLOB.length }).open({ start: 0 });
    expect((await collect(body)).equals(BLOB)).toBe(true);
    expect(sources.waits).toEqual([]);
    // The client finds out once: one request more than there are responses.
    expect(server.connections()).toBeLessThanOrEqual(5);
  });

  test.each([
    ['two lengths', (n: number) => `Content-Length: ${n}\r\nContent-Length: ${n + 1}\r\n`],
    ['a list of two lengths', (n: number) => `Content-Length: ${n}, ${n + 1}\r\n`],
    ['a signed length', (n: number) => `Content-Length: +${n}\r\n`],
    ['an empty length', () => 'Content-Length:\r\n'],
  ])('with %s is refused as invalid HTTP, without a retry', async (_, framing) => {
    await using server = await raw(answering(framing));
    await using sources = testSources();
    const failure = await failureOf(sources.at(server.host).manifest(image.digest), 'invalid');
    expect(failure.detail).toBe(
      `${server.host} sent a response that is not valid HTTP (the Content-Length is not a single number)`,
    );
    expect(sources.waits).toEqual([]);
  });

  test('with headers of more than 256 KiB is refused, without a retry', async () => {
    await using server = await raw(answering((n) => `X: ${'x'.repeat(300_000)}\r\nContent-Length: ${n}\r\n`));
    await using sources = testSources();
    const failure = await failureOf(sources.at(server.host).manifest(image.digest), 'invalid');
    expect(failure.detail).toBe(`${server.host} sent headers of more than 256 KiB`);
    expect(sources.waits).toEqual([]);
  });

  test('that is not HTTP is refused as invalid', async () => {
    await using server = await raw(() => Buffer.from('220 ftp.example ready\r\n\r\n'));
    await using sources = testSources();
    const failure = await failureOf(sources.at(server.host).manifest(image.digest), 'invalid');
    expect(failure.detail).toContain(`${server.host} sent a response that is not valid HTTP (`);
  });

  test('with a body that ends too early is retried', async () => {
    await using server = await raw(answering((n) => `Content-Length: ${n + 10}\r\nX-Old: 1\n`));
    await using sources = testSources();
    const failure = await failureOf(sources.at(server.host).manifest(image.digest));
    expect(failure.remedy).toBe('retry');
    expect(sources.waits).toEqual([100, 200]);
  });
});

test.each([
  ['HTTP/1.1 200 OK\n\n', 'HTTP/1.1 200 OK\r\n\r\n'],
  ['HTTP/1.1 200 OK\r\nA: caf\xe9\r\n\r\n', 'HTTP/1.1 200 OK\r\nA: caf\xe9\r\n\r\n'],
  ['HTTP/1.1 200 OK\r\nnot a header\r\nA:b\r\n\r\n', 'HTTP/1.1 200 OK\r\nA: b\r\n\r\n'],
  ['HTTP/1.1 200 OK\r\nA: b\r\n c\r\n d \r\n\r\n', 'HTTP/1.1 200 OK\r\nA: b c d\r\n\r\n'],
  [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n',
  ],
  ['HTTP/1.1 200 OK\r\nContent-Length: 1,\r\n\r\n', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n'],
])('the head %j is normalised to %j', (head, normalised) => {
  expect(normaliseHead(head)).toBe(normalised);
});
