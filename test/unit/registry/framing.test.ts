import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { PassThrough, type Readable } from 'node:stream';
import type { buildConnector } from 'undici';
import { describe, expect, test } from 'vitest';
import { normalising } from '../../../lib/registry/http/normalising.ts';
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
async function raw(answer: (method: string, path: string, request: string) => Buffer): Promise<RawServer> {
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
        socket.end(answer(method, path, request));
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
function answering(
  framing: (length: number) => string,
  encode = (body: Buffer): Buffer => body,
  status = 'HTTP/1.1 200 OK',
) {
  return (method: string, path: string): Buffer => {
    const body = path.includes('/manifests/') ? image.manifest : path.includes('/blobs/') ? BLOB : '{"tags":["v1"]}';
    const bytes = Buffer.from(body);
    const own = path.includes('/manifests/')
      ? `Content-Type: ${image.mediaType}\r\nDocker-Content-Digest: ${image.digest}\r\n`
      : '';
    const head = Buffer.from(`${status}\r\n${own}${framing(bytes.length)}\r\n`, 'latin1');
    return method === 'HEAD' ? head : Buffer.concat([head, encode(bytes)]);
  };
}

const ACCEPTED: readonly (readonly [
  name: string,
  framing: (length: number) => string,
  encode?: ((body: Buffer) => Buffer) | undefined,
  status?: string,
])[] = [
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
  ['a later version of HTTP/1', (n) => `Content-Length: ${n}\r\n`, undefined, 'HTTP/1.2 200 OK'],
  ['spaces in the status line', (n) => `Content-Length: ${n}\r\n`, undefined, 'HTTP/1.1  200   OK'],
  ['control characters in the status line', (n) => `Content-Length: ${n}\r\n`, undefined, 'HTTP/1.1 200 O\0K\x7f'],
  ['control characters in a value', (n) => `X-Old: a\x01b\x00c\x7fd\re\r\nContent-Length: ${n}\r\n`],
  [
    'a header of 20,000 characters',
    (n) => `Content-Security-Policy: ${'x'.repeat(20_000)}\r\nContent-Length: ${n}\r\n`,
  ],
];

/** All content is served, without a retry unless there are `waits`. */
async function expectContent(server: RawServer, waits: readonly number[] = []): Promise<void> {
  await using sources = testSources();
  const source = sources.at(server.host);
  expect((await source.resolve('v1')).digest).toBe(image.digest);
  expect((await source.manifest(image.digest)).digest).toBe(image.digest);
  expect(await Array.fromAsync(source.tags())).toEqual([['v1']]);
  const body = await source.blob(DIGEST, { size: BLOB.length }).open({ start: 0 });
  expect((await collect(body)).equals(BLOB)).toBe(true);
  expect(sources.waits).toEqual(waits);
  // The client finds out once: one request more than there are responses.
  expect(server.connections()).toBeLessThanOrEqual(5);
}

const HINTS = 'HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n';
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

describe('a response', () => {
  test.for(ACCEPTED)('with %s is accepted', async ([, framing, encode, status]) => {
    await using server = await raw(answering(framing, encode, status));
    await expectContent(server);
  });

  // The parser refuses such a body after its head has been used, so the request is retried once.
  test.for([
    ['spaces behind the size of a chunk', '  '],
    ['spaces before an extension', ' \t; a=b'],
    ['an extension that is not valid', ';a=b=c/[d]"\x01'],
    ['a Content-Length in the trailer', '', 'Content-Length: 5\r\n'],
    ['a trailer that is not valid', '', 'not a header\0\r\n'],
  ] as const)('with %s is accepted', async ([, behindSize, trailer = '']) => {
    const encode = (body: Buffer): Buffer => {
      const [one, other] = [body.subarray(0, 100), body.subarray(100)].map((part) =>
        Buffer.concat([
          Buffer.from(`${part.length.toString(16)}${behindSize}\r\n`, 'latin1'),
          part,
          Buffer.from('\r\n'),
        ]),
      ) as [Buffer, Buffer];
      return Buffer.concat([one, other, Buffer.from(`0${behindSize}\r\n${trailer}\r\n`, 'latin1')]);
    };
    await using server = await raw(answering(() => 'Transfer-Encoding: chunked\r\n', encode));
    await expectContent(server, [100]);
  });

  test('that ends before its last chunk does not change how its host is asked', async () => {
    const requests: string[] = [];
    const answer = answering(
      () => 'Transfer-Encoding: chunked\r\n',
      (body) => chunked(body).subarray(0, -5),
    );
    await using server = await raw((method, path, request) => {
      requests.push(request.toLowerCase());
      return answer(method, path);
    });
    await using sources = testSources();
    await failureOf(sources.at(server.host).manifest(image.digest));
    expect(requests).toHaveLength(3);
    expect(requests.filter((request) => request.includes('connection: close'))).toEqual([]);
  });

  test.for([
    ['an interim response, with a repeated length', HINTS, (n: number) => `Content-Length: ${n}\r\n`.repeat(2)],
    ['100 Continue', CONTINUE],
    ['100 Continue of HTTP/1.0', 'HTTP/1.0 100 Continue\r\n\r\n'],
    ['several interim responses', `${HINTS}${CONTINUE}HTTP/1.1 102 Processing\r\n\r\n${CONTINUE}`],
    ['an interim response with a length', 'HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n'],
    ['100 interim responses', CONTINUE.repeat(100)],
  ] as const)('after %s is accepted', async ([, interim, framing = (n: number) => `Content-Length: ${n}\r\n`]) => {
    const answer = answering(framing);
    await using server = await raw((method, path) => Buffer.concat([Buffer.from(interim), answer(method, path)]));
    await expectContent(server);
  });

  test('after more than 100 interim responses is refused, without a retry', async () => {
    await using server = await raw(() => Buffer.from(CONTINUE.repeat(101)));
    await using sources = testSources();
    const failure = await failureOf(sources.at(server.host).manifest(image.digest), 'invalid');
    expect(failure.detail).toBe(
      `${server.host} sent a response that is not valid HTTP (it follows more than 100 interim responses)`,
    );
    expect(sources.waits).toEqual([]);
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

/** The bytes that undici gets, if each byte is received alone. */
async function normalised(text: string): Promise<string> {
  const socket = new PassThrough();
  const connect = normalising((_, callback) => {
    callback(null, socket as unknown as Socket);
  });
  const connected = Promise.withResolvers<Readable>();
  connect({} as buildConnector.Options, (...[error, made]) => {
    if (error === null) connected.resolve(made);
    else connected.reject(error);
  });
  for (const byte of Buffer.from(text, 'latin1')) socket.write(Buffer.of(byte));
  socket.end();
  return Buffer.concat(await (await connected.promise).toArray()).toString('latin1');
}

test('interim responses are dropped, however their bytes are split', async () => {
  const response = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}';
  expect(await normalised(`${CONTINUE}${HINTS}HTTP/1.1 100 C\n\n${response}`)).toBe(response);
});

describe('a chunked body, however its bytes are split,', () => {
  const HEAD = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';

  test.each([
    ['3\r\nabc\r\n0\r\n\r\n', '3\r\nabc\r\n0\r\n\r\n'],
    [
      '3 \r\n\r\n0\r\n00E;x="\r\n0\r\n\r\n2345678\r\n000 ;y\r\nA: b\r\n',
      '3\r\n\r\n0\r\n00E\r\n0\r\n\r\n2345678\r\n000\r\n\r\n',
    ],
    ['0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n', '0\r\n\r\n'],
  ])('with the bytes %j has the lines of a strict parser: %j', async (body, strict) => {
    expect(await normalised(HEAD + body)).toBe(HEAD + strict);
  });

  test.each([
    '3\nabc\n0\r\n\r\n',
    'abc\0\r\n0 \r\n\r\n',
    '\r\n3 \r\n',
    ' 3 \r\nabc\r\n',
    '+3 \r\nabc\r\n',
    '0x3 \r\nabc\r\n',
    '1234567890abc \r\n',
    `3${' '.repeat(5_000)}\r\n`,
  ])('with the bytes %j is left to the parser, which refuses it', async (body) => {
    expect(await normalised(HEAD + body)).toBe(HEAD + body);
  });
});

test.each([
  ['HTTP/1.1 200 OK\n\n', 'HTTP/1.1 200 OK\r\n\r\n'],
  ['HTTP/1.7 \t404 a\tb\0\r\n\r\n', 'HTTP/1.1 404 a\tb \r\n\r\n'],
  ['HTTP/1.0  200\r\n\r\n', 'HTTP/1.0 200 \r\n\r\n'],
  ['HTTP/2.0  200 OK\r\n\r\n', 'HTTP/2.0  200 OK\r\n\r\n'],
  ['HTTP/1.1 2000 OK\r\n\r\n', 'HTTP/1.1 2000 OK\r\n\r\n'],
  [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\0\r\n\r\n',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\0\r\n\r\n',
  ],
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

test.each([
  ['white space in a value', `X: a${' '.repeat(80_000)}b\r\n`],
  ['folding', `X: a\r\n${' b\r\n'.repeat(80_000)}`],
])('a head with much %s is normalised in linear time', (_, header) => {
  const start = performance.now();
  expect(normaliseHead(`HTTP/1.1 200 OK\r\n${header}A: b\r\n\r\n`)).toMatch(/\r\nA: b\r\n\r\n$/);
  // In quadratic time, these take 6 s and more.
  expect(performance.now() - start).toBeLessThan(3_000);
});

test.each([
  ['a space of another alphabet', '\xa05'],
  ['a vertical tab', '\v5'],
  ['a bare CR', '5\r'],
])('a Content-Length with %s is not a number', (_, value) => {
  expect(normaliseHead(`HTTP/1.1 200 OK\r\nContent-Length: ${value}\r\n\r\n`)).toBeUndefined();
});
