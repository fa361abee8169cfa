import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { S3Store } from '../../../lib/store/s3/store.ts';
import type { Upload } from '../../../lib/store/store.ts';
import type { Failure } from '../../../lib/core/failure.ts';

/*
 * Real requests on the wire, and real responses through the real SDK: a server on loopback with scripted responses, one per
 * request.
 */

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

let answers: Answer[] = [];
let seen: Seen[] = [];
const server = createServer((request, response) => {
  void (async () => {
    const body = await buffer(request);
    const { method, url, headers } = request;
    seen.push({ method, url, headers, body });
    const answer = answers.shift() ?? xml(418, '<Error><Code>Unexpected</Code></Error>');
    answer(request, response);
  })().catch(() => response.destroy());
});
let store: S3Store;

beforeEach(async () => {
  answers = [];
  seen = [];
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  store = new S3Store({
    bucket: 'images',
    prefix: 'archive',
    // A host name, because the SDK addresses numeric hosts by path on its own.
    endpoint: `http://localhost:${(server.address() as AddressInfo).port}`,
    region: 'us-east-1',
    credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
    retry: { tries: 3, baseMs: 1, capMs: 1 },
  });
});

afterEach(async () => {
  await store.close();
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

function xml(status: number, body: string, headers: Record<string, string> = {}): Answer {
  return (_, response) => response.writeHead(status, { 'content-type': 'application/xml', ...headers }).end(body);
}

function error(status: number, code: string, headers: Record<string, string> = {}): Answer {
  return xml(status, `<?xml version="1.0"?><Error><Code>${code}</Code><Message>No.</Message></Error>`, headers);
}

function bytes(status: number, body: string, headers: Record<string, string> = {}): Answer {
  return (_, response) =>
    response.writeHead(status, { etag: '"v1"', 'content-length': String(body.length), ...headers }).end(body);
}

const upload: Upload = { key: 'x', id: 'u', initiated: new Date(0) };
const part = { number: 1, size: 3, etag: '"900150983cd24fb0d6963f7d28e17f72"', checksum: 'NSRBwg==' };
const completed = xml(
  200,
  '<?xml version="1.0"?><CompleteMultipartUploadResult><ETag>"e-1"</ETag></CompleteMultipartUploadResult>',
);

test('a part has only a CRC32 checksum, without a second hash, chunked encoding or a round trip before the body', async () => {
  answers = [(_, response) => response.writeHead(200, { etag: '"e"' }).end()];
  await store.uploadPart(upload, 1, Buffer.from('abc'));
  const [request] = seen;
  expect(request?.method).toBe('PUT');
  expect(request?.url).toMatch(/^\/images\/archive\/x\?partNumber=1&uploadId=u/);
  expect(request?.headers).toMatchObject({
    'x-amz-checksum-crc32': 'NSRBwg==',
    'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
    'content-length': '3',
    authorization: expect.stringContaining('x-amz-checksum-crc32') as string,
  });
  expect(request?.headers).not.toHaveProperty('expect');
  expect(request?.headers).not.toHaveProperty('content-encoding');
  expect(request?.body.toString()).toBe('abc');
});

test('a put sends the digest of the caller as a signed checksum', async () => {
  answers = [(_, response) => response.writeHead(200, { etag: '"e"' }).end()];
  const sha256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  await store.put('k', Buffer.from('abc'), { sha256, contentType: 'text/plain', condition: { absent: true } });
  expect(seen[0]?.headers).toMatchObject({
    'x-amz-checksum-sha256': Buffer.from(sha256, 'hex').toString('base64'),
    'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
    'content-type': 'text/plain',
    'if-none-match': '*',
    authorization: expect.stringContaining('x-amz-checksum-sha256') as string,
  });
});

// S3 sends the status before the completion is done.
test('an InternalError in a 200 of CompleteMultipartUpload is retried', async () => {
  answers = [error(200, 'InternalError'), completed];
  expect(await store.completeUpload(upload, [part])).toEqual({ etag: '"e-1"', size: 3 });
  expect(seen).toHaveLength(2);
  expect(seen[0]?.headers['x-amz-mp-object-size']).toBe('3');
  expect(seen[0]?.body.toString()).toContain('<ChecksumCRC32>NSRBwg==</ChecksumCRC32>');
});

test('an InternalError in every 200 is a failure and not an object', async () => {
  answers = [error(200, 'InternalError'), error(200, 'InternalError'), error(200, 'InternalError')];
  await expect(store.completeUpload(upload, [part])).rejects.toMatchObject({ code: 'unavailable', remedy: 'retry' });
});

test('a completion with a lost response is recognised by the ETag of its parts', async () => {
  const etag = '"b1b9aae4d17ea26a8f5b1a2b3c4d5e6f-1"';
  answers = [(request) => request.socket.destroy(), error(404, 'NoSuchUpload'), bytes(200, 'abc', { etag })];
  await expect(store.completeUpload(upload, [part])).rejects.toMatchObject({ code: 'no-such-upload' });
  expect(seen.map(({ method }) => method)).toEqual(['POST', 'POST', 'HEAD']);
});

/** The beginning of a response, followed by the end of the connection. */
function cut(status: number, body: string): Answer {
  return (_, response) => {
    response.writeHead(status, { 'content-type': 'application/xml', 'content-length': String(body.length + 100) });
    response.write(body, () => setTimeout(() => response.destroy(), 10));
  };
}

const created = xml(
  200,
  '<?xml version="1.0"?><InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>',
);
const listed = xml(200, '<?xml version="1.0"?><ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>');
const noUploads = xml(
  200,
  '<?xml version="1.0"?><ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>',
);
const noObjects = xml(
  200,
  '<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>',
);

// The status alone (denied, missing, a condition that failed) is not a response of S3.
describe('a truncated error is retried', () => {
  test.each([
    [403, 'RequestTimeTooSkewed', () => store.head('k'), undefined],
    [404, 'NoSuchKey', () => store.get('k', { maxBytes: 9 }), undefined],
    [400, 'RequestTimeout', () => store.put('k', Buffer.from('x')), 'timeout'],
    [412, 'PreconditionFailed', () => store.put('k', Buffer.from('x'), { condition: { absent: true } }), undefined],
    [404, 'NoSuchUpload', () => Array.fromAsync(store.parts(upload)), 'no-such-upload'],
  ])('for %i %s', async (status, code, work, ends) => {
    const whole =
      code === 'RequestTimeTooSkewed' || code === 'NoSuchKey' ? error(404, 'NoSuchKey') : error(status, code);
    answers = [cut(status, `<?xml version="1.0"?><Error><Code>${code}`), whole, whole, whole];
    const outcome = await work().then(
      () => undefined,
      (thrown: unknown) => (thrown as Failure).code,
    );
    expect(seen.length).toBeGreaterThan(1);
    if (status === 412) expect(outcome).toBe('precondition-failed');
    else expect(outcome).toBe(ends);
  });

  test('and is a network failure if every response is truncated', async () => {
    const half = cut(403, '<?xml version="1.0"?><Error><Code>Acce');
    answers = [half, half, half];
    await expect(store.get('k', { maxBytes: 9 })).rejects.toMatchObject({ code: 'network', remedy: 'retry' });
    expect(seen).toHaveLength(3);
  });
});

// A proxy may end a response early without an error.
describe('a 200 with truncated or empty XML is retried', () => {
  test.each<[string, () => Promise<unknown>, Answer]>([
    ['CreateMultipartUpload', () => store.createUpload('x', { partSize: 8 << 20 }), created],
    ['CompleteMultipartUpload', () => store.completeUpload(upload, [part]), completed],
    ['ListParts', () => Array.fromAsync(store.parts(upload)), listed],
    ['ListMultipartUploads', () => Array.fromAsync(store.uploads('')), noUploads],
    ['ListObjectsV2', () => Array.fromAsync(store.list('')), noObjects],
  ])('for %s', async (_, work, whole) => {
    answers = [xml(200, '<?xml version="1.0"?><Resul'), xml(200, ''), whole];
    await work();
    expect(seen).toHaveLength(3);
    answers = [xml(200, ''), xml(200, ''), xml(200, '')];
    await expect(work()).rejects.toMatchObject({ remedy: 'retry', side: 'archive' });
  });
});

test.each([
  ['301 with a body', error(301, 'PermanentRedirect', { 'x-amz-bucket-region': 'eu-central-1' })],
  ['400 with a body', error(400, 'AuthorizationHeaderMalformed', { 'x-amz-bucket-region': 'eu-central-1' })],
])('the error for a bucket in another region names the region: %s', async (_, answer) => {
  answers = [answer];
  await expect(store.put('k', Buffer.from('x'))).rejects.toMatchObject({
    code: 'invalid',
    message: expect.stringMatching(/bucket images is in region eu-central-1; set AWS_REGION=eu-central-1/) as string,
  });
  expect(seen).toHaveLength(1);
});

// A response to HEAD has no body.
test.each([301, 400])('the error for HEAD of a bucket in another region names the region: %i', async (status) => {
  answers = [(_, response) => response.writeHead(status, { 'x-amz-bucket-region': 'eu-central-1' }).end()];
  await expect(store.head('k')).rejects.toMatchObject({
    code: 'invalid',
    message: expect.stringContaining('region eu-central-1') as string,
  });
});

test.each([
  [404, undefined],
  [403, 'denied'],
  [500, 'unavailable'],
  [503, 'unavailable'],
])('HEAD with a bare %i is judged by its status', async (status, code) => {
  const bare: Answer = (_, response) => response.writeHead(status).end();
  answers = [bare, bare, bare];
  if (code === undefined) expect(await store.head('k')).toBeUndefined();
  else await expect(store.head('k')).rejects.toMatchObject({ code, status });
});

/** A version of an object, whose connection breaks before the end. */
function broken(status: number, body: string, headers: Record<string, string>): Answer {
  return (_, response) => {
    response.writeHead(status, { etag: '"v1"', ...headers });
    response.write(body, () => response.destroy());
  };
}

test('a body that breaks continues at the same byte and version with Range and If-Match', async () => {
  answers = [
    broken(200, 'abc', { 'content-length': '9' }),
    broken(206, 'de', { 'content-length': '6', 'content-range': 'bytes 3-8/9' }),
    bytes(206, 'fghi', { 'content-range': 'bytes 5-8/9' }),
  ];
  const read = await store.read('k');
  expect(read).toMatchObject({ etag: '"v1"', size: 9 });
  expect(Buffer.concat(await Array.fromAsync(read?.body ?? [])).toString()).toBe('abcdefghi');
  expect(seen.map(({ headers }) => [headers.range, headers['if-match']])).toEqual([
    [undefined, undefined],
    ['bytes=3-', '"v1"'],
    ['bytes=5-', '"v1"'],
  ]);
});

test.each([
  ['has another version', error(412, 'PreconditionFailed'), 'source-changed', /replaced or deleted after 3 of 9 bytes/],
  ['is deleted', error(404, 'NoSuchKey'), 'source-changed', /replaced or deleted after 3 of 9 bytes/],
  ['may not be read any more', error(403, 'AccessDenied'), 'denied', /^GetObject s3:\/\/images\/archive\/k: /],
])('a body that breaks fails if its object %s', async (_, answer, code, message) => {
  answers = [broken(200, 'abc', { 'content-length': '9' }), answer];
  const read = await store.read('k');
  await expect(Array.fromAsync(read?.body ?? [])).rejects.toMatchObject({
    code,
    message: expect.stringMatching(message) as string,
  });
  expect(seen).toHaveLength(2);
});

test('an object without its ETag is refused', async () => {
  answers = [(_, response) => response.writeHead(200, { 'content-length': '3' }).end('abc')];
  await expect(store.read('k')).rejects.toMatchObject({
    code: 'not-as-declared',
    message: 'GetObject s3://images/archive/k: the response has no ETag',
  });
});

// A proxy that changes bodies marks ETags as weak, and the store compares the strong one.
test('the weak ETag of a response is the condition of a write as a strong one', async () => {
  const weak = { etag: 'W/"v1"' };
  answers = [bytes(200, 'abc', weak), bytes(200, '', { ...weak, 'content-length': '3' }), bytes(200, '', weak)];
  const found = await store.get('k', { maxBytes: 10 });
  expect(found?.etag).toBe('"v1"');
  expect(await store.head('k')).toEqual({ etag: '"v1"', size: 3 });
  const written = await store.put('k', Buffer.from('d'), { condition: { etag: found?.etag ?? '' } });
  expect(written.etag).toBe('"v1"');
  expect(seen.at(-1)?.headers['if-match']).toBe('"v1"');
});

// A proxy may send every body in chunks.
describe('an object without its length', () => {
  const chunked =
    (status: number, body: string, headers: Record<string, string> = {}): Answer =>
    (_, response) =>
      response.writeHead(status, { etag: '"v1"', 'transfer-encoding': 'chunked', ...headers }).end(body);

  test('is read to its end in one request if it is small', async () => {
    const large = 'x'.repeat(200_000);
    for (const body of ['abc', '', large]) {
      answers = [chunked(200, body)];
      const { bytes: received, ...found } = (await store.get('k', { maxBytes: 200_000 })) ?? {};
      expect([Buffer.from(received ?? []).toString(), found]).toEqual([body, { etag: '"v1"', size: body.length }]);
    }
    expect(seen).toHaveLength(3);
  });

  test('is refused if it is larger than the caller allows', async () => {
    answers = [chunked(200, 'x'.repeat(200_001))];
    await expect(store.get('k', { maxBytes: 200_000 })).rejects.toMatchObject({
      code: 'too-large',
      message: 'GetObject s3://images/archive/k: the object is too large: expected at most 200000 bytes, got more',
    });
  });

  test('continues at the same byte if its connection breaks', async () => {
    const breaking: Answer = (_, response) => {
      response.writeHead(200, { etag: '"v1"', 'transfer-encoding': 'chunked' });
      response.write('abc', () => setImmediate(() => response.destroy()));
    };
    answers = [breaking, chunked(206, 'def', { 'content-range': 'bytes 3-5/6' })];
    expect(Buffer.from((await store.get('k', { maxBytes: 10 }))?.bytes ?? []).toString()).toBe('abcdef');
  });

  test('is streamed with a range, which names its size', async () => {
    answers = [chunked(200, 'abcdef'), chunked(206, 'abcdef', { 'content-range': 'bytes 0-5/6' })];
    const read = await store.read('k');
    expect(read?.size).toBe(6);
    expect(Buffer.concat(await Array.fromAsync(read?.body ?? [])).toString()).toBe('abcdef');
    expect(seen.map(({ headers }) => headers.range)).toEqual([undefined, 'bytes=0-']);
  });

  test('is not streamed if the store ignores ranges as well', async () => {
    answers = [chunked(200, 'abc'), chunked(200, 'abc')];
    await expect(store.read('k')).rejects.toMatchObject({
      code: 'not-as-declared',
      message: 'GetObject s3://images/archive/k: the response has no Content-Length',
    });
  });
});

// A proxy may omit the length of a range.
describe('a range without its length', () => {
  const rangeFrom =
    (start: number, body: string): Answer =>
    (_, response) => {
      const headers = { etag: '"v1"', 'content-range': `bytes ${start}-8/9`, 'transfer-encoding': 'chunked' };
      response.writeHead(206, headers).end(body);
    };

  test('that ends early continues at the same byte, as long as each response has one', async () => {
    answers = ['d', 'e', 'f', 'g', 'h', 'i'].map((byte, at) => rangeFrom(3 + at, byte));
    const read = await store.read('k', { start: 3 });
    expect(Buffer.concat(await Array.fromAsync(read?.body ?? [])).toString()).toBe('defghi');
    expect(seen[1]?.headers).toMatchObject({ range: 'bytes=4-', 'if-match': '"v1"' });
  });

  test('that ends early is truncated after a few tries without a byte', async () => {
    answers = [rangeFrom(3, 'de'), rangeFrom(5, ''), rangeFrom(5, '')];
    const read = await store.read('k', { start: 3 });
    await expect(Array.fromAsync(read?.body ?? [])).rejects.toMatchObject({
      code: 'truncated',
      message: 'GetObject s3://images/archive/k: the body ended after 5 of 9 bytes',
    });
    expect(seen).toHaveLength(3);
  });

  test('that is longer than its object is refused', async () => {
    answers = [rangeFrom(3, 'defghij')];
    const read = await store.read('k', { start: 3 });
    await expect(Array.fromAsync(read?.body ?? [])).rejects.toMatchObject({
      code: 'not-as-declared',
      message: 'GetObject s3://images/archive/k: the body is longer than the 9 bytes of the object',
    });
    expect(seen).toHaveLength(1);
  });
});

test('a body that repeatedly breaks without a byte fails after a few tries', async () => {
  const nothing: Answer = (_, response) => {
    response.writeHead(200, { etag: '"v1"', 'content-length': '9' });
    response.flushHeaders();
    setImmediate(() => response.destroy());
  };
  answers = Array.from({ length: 10 }, () => nothing);
  const read = await store.read('k');
  await expect(Array.fromAsync(read?.body ?? [])).rejects.toMatchObject({ remedy: 'retry', side: 'archive' });
  expect(seen).toHaveLength(3);
});

test.each([
  ['the whole object', bytes(200, 'abcdef'), 'range-ignored'],
  ['another range', bytes(206, 'cdef', { 'content-range': 'bytes 2-5/6' }), 'range-mismatch'],
  ['a range of an unknown size', bytes(206, 'def', { 'content-range': 'bytes 3-5/*' }), 'range-ignored'],
  ['half of the range', bytes(206, 'de', { 'content-range': 'bytes 3-4/6' }), 'range-mismatch'],
])('a range request that is answered by %s fails', async (_, answer, code) => {
  answers = [answer];
  await expect(store.read('k', { start: 3 })).rejects.toMatchObject({ code, remedy: 'restart' });
});

test('an abort closes the connection of a silent request', async () => {
  const stop = new AbortController();
  const closed = new Promise<void>((resolve) => {
    answers = [
      (request) => {
        request.socket.once('close', () => resolve());
        stop.abort();
      },
    ];
  });
  await expect(store.uploadPart(upload, 1, Buffer.alloc(100_000), { signal: stop.signal })).rejects.toMatchObject({
    code: 'aborted',
  });
  await closed;
  expect(seen).toHaveLength(1);
});

test('a body that is not read to its end closes its connection', async () => {
  const endless =
    (resolve: () => void): Answer =>
    (request, response) => {
      request.socket.once('close', () => resolve());
      response.writeHead(200, { etag: '"v1"', 'content-length': String(2 ** 40) });
      response.write(Buffer.alloc(100_000));
    };
  const tooLarge = new Promise<void>((resolve) => answers.push(endless(resolve)));
  await expect(store.get('k', { maxBytes: 1000 })).rejects.toMatchObject({ code: 'too-large' });
  await tooLarge;
  const left = new Promise<void>((resolve) => answers.push(endless(resolve)));
  const body = (await store.read('k'))?.body[Symbol.asyncIterator]();
  expect((await body?.next())?.done).toBe(false);
  await body?.return?.();
  await left;
  const unread = new Promise<void>((resolve) => answers.push(endless(resolve)));
  await (await store.read('k'))?.body[Symbol.asyncIterator]().return?.();
  await unread;
});
