/** Stores that lack something of S3: checksum headers, conditional writes, TLS. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { PutObjectCommand, UploadPartCommand, type S3Client } from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checksumsFrom } from '../../../lib/store/s3/checksums.ts';
import { connect } from '../../../lib/store/s3/client.ts';
import { S3Store, type S3StoreOptions } from '../../../lib/store/s3/store.ts';

interface Seen {
  readonly method: string | undefined;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

interface Reply {
  readonly status: number;
  readonly body?: string;
  readonly headers?: Record<string, string>;
}

const said = (status: number, code: string, message: string): Reply => ({
  status,
  body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
});

/** The responses of a complete S3 store; objects are not kept. */
function usual({ method, url }: Seen): Reply {
  if (method === 'POST' && url.includes('?uploads'))
    return {
      status: 200,
      body: '<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>',
    };
  if (method === 'POST')
    return { status: 200, body: '<CompleteMultipartUploadResult><ETag>"e-1"</ETag></CompleteMultipartUploadResult>' };
  return { status: 200, headers: { etag: '"e"' } };
}

let seen: Seen[] = [];
let reply: (request: Seen) => Reply = usual;
const stores: S3Store[] = [];
const server = createServer((request, response) => {
  void (async () => {
    const { method, url = '', headers } = request;
    const one = { method, url, headers, body: await buffer(request) };
    seen.push(one);
    const { status, body = '', headers: more = {} } = reply(one);
    response
      .writeHead(status, { 'content-type': 'application/xml', ...more })
      .end(method === 'HEAD' ? undefined : body);
  })().catch(() => response.destroy());
});

beforeEach(async () => {
  seen = [];
  reply = usual;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

function open(options: Partial<S3StoreOptions> = {}): S3Store {
  const store = new S3Store({
    bucket: 'images',
    prefix: 'archive',
    endpoint: `http://localhost:${(server.address() as AddressInfo).port}`,
    region: 'us-east-1',
    credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
    retry: { tries: 3, baseMs: 1, capMs: 1 },
    ...options,
  });
  stores.push(store);
  return store;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const PART_BYTES = 8 * 1024 * 1024;
const BYTES = Buffer.from('abc');

/** Behaves like Backblaze B2. */
function refusingChecksums(request: Seen): Reply {
  const header = Object.keys(request.headers).find((name) => /^x-amz-(?:sdk-)?checksum/.test(name));
  if (header === undefined) return usual(request);
  return said(400, 'InvalidArgument', `Unsupported header '${header}' received for this API call.`);
}

describe('a store that refuses checksum headers', () => {
  const advice = {
    code: 'unsupported',
    remedy: 'never',
    message: expect.stringContaining('MIRROR_SYNC_S3_CHECKSUMS=off'),
  };

  test.each<[string, (store: S3Store) => Promise<unknown>]>([
    ['PutObject', (store) => store.put('k', BYTES)],
    ['CreateMultipartUpload', (store) => store.createUpload('k', { partSize: PART_BYTES })],
    ['UploadPart', (store) => store.uploadPart({ key: 'k', id: 'u', initiated: new Date(0) }, 1, BYTES)],
    ['the look before a sync', (store) => store.prepare()],
  ])('leads to an error with the setting that switches them off: %s', async (_, work) => {
    reply = refusingChecksums;
    await expect(work(open())).rejects.toMatchObject(advice);
    expect(seen).toHaveLength(1);
  });

  // Some stores answer 501 to every unknown header.
  test('leads to that error for any status of the refusal', async () => {
    reply = () => said(501, 'NotImplemented', 'x-amz-checksum-sha256 is not implemented');
    await expect(open().put('k', BYTES)).rejects.toMatchObject(advice);
  });

  test('accepts all requests once they are off', async () => {
    reply = refusingChecksums;
    const store = open({ checksums: false });
    expect(await store.put('k', BYTES, { sha256: sha256(BYTES), condition: { absent: true } })).toMatchObject({
      size: 3,
    });
    const upload = await store.createUpload('k', { partSize: PART_BYTES });
    const part = await store.uploadPart(upload, 1, BYTES);
    expect(part).toEqual({ number: 1, size: 3, etag: '"e"', checksum: undefined });
    expect(await store.completeUpload(upload, [part])).toEqual({ etag: '"e-1"', size: 3 });
    expect(seen.at(-1)?.body.toString()).not.toContain('Checksum');
    await store.delete('k');
  });

  test('can be listed and read without the setting', async () => {
    reply = (request) => {
      const answer = refusingChecksums(request);
      return answer.status === 200 ? { status: 200, headers: { etag: '"e"', 'content-length': '3' } } : answer;
    };
    expect(await open().head('k')).toEqual({ etag: '"e"', size: 3 });
  });

  // Only the signature can detect corruption in transit then.
  test('gets bodies that the signature covers', async () => {
    const store = open({ checksums: false });
    await store.put('k', BYTES);
    await store.uploadPart({ key: 'k', id: 'u', initiated: new Date(0) }, 1, BYTES);
    expect(seen.map(({ headers }) => headers['x-amz-content-sha256'])).toEqual([sha256(BYTES), sha256(BYTES)]);
  });

  // The client compares what S3 would compare.
  test('is not sent bytes that differ from the digest of the caller', async () => {
    const putting = open({ checksums: false }).put('k', BYTES, { sha256: sha256(Buffer.from('other')) });
    await expect(putting).rejects.toMatchObject({ code: 'digest-mismatch' });
    expect(seen).toEqual([]);
  });

  /** The first write takes effect and its response is lost; the second one meets the stored object. */
  function lostAnswer(there: Buffer): (request: Seen) => Reply {
    let puts = 0;
    return ({ method }) => {
      const headers = { etag: '"there"', 'content-length': String(there.length) };
      if (method !== 'PUT') return { status: 200, headers, body: there.toString() };
      return (puts += 1) === 1 ? said(500, 'InternalError', 'No.') : said(412, 'PreconditionFailed', 'No.');
    };
  }

  test('shows by the bytes whether a write with a lost response succeeded', async () => {
    reply = lostAnswer(BYTES);
    const store = open({ checksums: false });
    expect(await store.put('k', BYTES, { condition: { absent: true } })).toEqual({ etag: '"there"', size: 3 });
    expect(seen.map(({ method }) => method)).toEqual(['PUT', 'PUT', 'HEAD', 'GET']);
  });

  test.each(['abd', 'abcd'])('is not believed to have this write if it has other bytes: %s', async (there) => {
    reply = lostAnswer(Buffer.from(there));
    const putting = open({ checksums: false }).put('k', BYTES, { condition: { absent: true } });
    await expect(putting).rejects.toMatchObject({ code: 'precondition-failed' });
  });

  // AWS refuses parts of such an upload, and accepts parts of a new one.
  test.each(['UploadPart', 'CompleteMultipartUpload'])(
    'has unfinished uploads that were created with the other setting: %s',
    async (operation) => {
      reply = () => said(400, 'InvalidRequest', 'Checksum Type mismatch occurred, expected checksum Type: crc32');
      const upload = { key: 'k', id: 'u', initiated: new Date(0) };
      const store = open({ checksums: false });
      const working =
        operation === 'UploadPart'
          ? store.uploadPart(upload, 1, BYTES)
          : store.completeUpload(upload, [{ number: 1, size: 3, etag: '"e"' }]);
      await expect(working).rejects.toMatchObject({ code: 'invalid', remedy: 'restart' });
    },
  );

  test.each([
    [undefined, true],
    ['', true],
    ['on', true],
    ['off', false],
  ])('is selected by the environment: %j', (value, checksums) => {
    expect(checksumsFrom({ MIRROR_SYNC_S3_CHECKSUMS: value })).toBe(checksums);
  });

  test('is not selected by another value', () => {
    expect(() => checksumsFrom({ MIRROR_SYNC_S3_CHECKSUMS: 'false' })).toThrow('expected on or off, got "false"');
  });
});

describe('a store without conditional writes', () => {
  const needs = {
    code: 'unsupported',
    remedy: 'never',
    message: expect.stringMatching(/does not support conditional writes .*docs\/s3\.md/) as string,
  };

  test.each<[string, (store: S3Store) => Promise<unknown>]>([
    ['PutObject', (store) => store.put('k', BYTES, { condition: { absent: true } })],
    ['PutObject over a version', (store) => store.put('k', BYTES, { condition: { etag: '"e"' } })],
    [
      'CompleteMultipartUpload',
      (store) =>
        store.completeUpload({ key: 'k', id: 'u', initiated: new Date(0) }, [{ number: 1, size: 3, etag: '"e"' }], {
          condition: { absent: true },
        }),
    ],
    ['DeleteObject', (store) => store.delete('k', { etag: '"e"' })],
    ['the look before a sync', (store) => store.prepare()],
  ])('leads to an error that names the requirement: %s', async (_, work) => {
    const header = 'A header you provided implies functionality that is not implemented.';
    reply = ({ headers, ...request }) =>
      headers['if-match'] === undefined && headers['if-none-match'] === undefined
        ? usual({ headers, ...request })
        : said(501, 'NotImplemented', header);
    await expect(work(open())).rejects.toMatchObject({ ...needs, status: 501 });
    expect(seen).toHaveLength(1);
  });

  test.each([
    [400, 'InvalidArgument', 'If-Match is not valid'],
    [304, 'NotModified', ''],
  ])('is detected before a sync by its response: %i %s', async (status, code, message) => {
    reply = () => (status === 304 ? { status } : said(status, code, message));
    await expect(open().prepare()).rejects.toMatchObject({ ...needs, status });
  });

  // It would lose updates of tags silently.
  test('is detected before a sync even if it ignores the condition', async () => {
    await expect(open().prepare()).rejects.toMatchObject(needs);
    expect(seen.map(({ method, url }) => `${method} ${url.replace(/\?.*/, '')}`)).toEqual([
      'PUT /images/archive/.mirror/probe.json',
      'DELETE /images/archive/.mirror/probe.json',
    ]);
  });
});

describe('the check of a store before a sync', () => {
  test.each([
    [404, 'NoSuchKey'],
    [412, 'PreconditionFailed'],
  ])('is one request that changes nothing: %i %s', async (status, code) => {
    reply = () => said(status, code, 'No.');
    await open().prepare();
    expect(seen).toMatchObject([{ method: 'PUT', headers: { 'if-match': `"${'0'.repeat(32)}"` } }]);
  });

  test.each([
    [404, 'NoSuchBucket', 'the bucket images does not exist'],
    [403, 'AccessDenied', 'allow s3:PutObject'],
    [403, 'InvalidAccessKeyId', 'correct the credentials'],
  ])('reports the problem: %i %s', async (status, code, message) => {
    reply = () => said(status, code, 'No.');
    await expect(open().prepare()).rejects.toMatchObject({
      remedy: 'never',
      message: expect.stringContaining(message) as string,
    });
    expect(seen).toHaveLength(1);
  });

  test('lists at most one key below a prefix', async () => {
    const list = (contents: string): Reply => ({
      status: 200,
      body: `<ListBucketResult><IsTruncated>false</IsTruncated>${contents}</ListBucketResult>`,
    });
    reply = () => list('');
    expect(await open().holds('repositories/')).toBe(false);
    const modified = '<LastModified>2026-01-31T00:00:00.000Z</LastModified>';
    reply = () => list(`<Contents><Key>archive/repositories/x</Key><Size>1</Size>${modified}</Contents>`);
    expect(await open().holds('repositories/')).toBe(true);
    for (const { url } of seen) expect(url).toContain('max-keys=1&prefix=archive%2Frepositories%2F');
  });
});

describe('the body of a request', () => {
  /** The headers of a request to an endpoint, without sending it. */
  async function headersTo(
    endpoint: string,
    send: (client: S3Client) => Promise<unknown>,
  ): Promise<Record<string, string>> {
    const client = await connect({
      endpoint,
      region: 'eu-west-1',
      credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
    });
    let headers: Record<string, string> = {};
    Object.assign(client.config, {
      requestHandler: {
        handle: (request: { readonly headers: Record<string, string> }) => {
          headers = request.headers;
          const response = { statusCode: 200, headers: { etag: '"e"' }, body: Readable.from([]) };
          return Promise.resolve({ response });
        },
      },
    });
    await send(client);
    client.destroy();
    return headers;
  }

  const part = new UploadPartCommand({
    Bucket: 'images',
    Key: 'k',
    UploadId: 'u',
    PartNumber: 1,
    Body: BYTES,
    ChecksumCRC32: 'NSRBwg==',
  });
  const object = new PutObjectCommand({
    Bucket: 'images',
    Key: 'k',
    Body: BYTES,
    ChecksumSHA256: createHash('sha256').update(BYTES).digest('base64'),
  });

  // Without TLS, an attacker between two machines can replace the CRC32 together with the body.
  test.each([
    ['http://s3.example.com', sha256(BYTES)],
    ['http://10.0.0.5:9000', sha256(BYTES)],
    ['http://127.example.com', sha256(BYTES)],
    ['http://localhost.example.com', sha256(BYTES)],
    ['http://127.0.0.1:9000', 'UNSIGNED-PAYLOAD'],
    ['http://localhost:9000', 'UNSIGNED-PAYLOAD'],
    ['http://[::1]:9000', 'UNSIGNED-PAYLOAD'],
    ['https://s3.example.com', 'UNSIGNED-PAYLOAD'],
  ])('is signed, for a part to %s, as %s', async (endpoint, signed) => {
    const headers = await headersTo(endpoint, (client) => client.send(part));
    expect(headers['x-amz-content-sha256']).toBe(signed);
    expect(headers['x-amz-checksum-crc32']).toBe('NSRBwg==');
  });

  test('is bound by its signed SHA-256 for an object', async () => {
    const headers = await headersTo('http://s3.example.com', (client) => client.send(object));
    expect(headers['x-amz-content-sha256']).toBe('UNSIGNED-PAYLOAD');
    expect(headers['authorization']).toContain('x-amz-checksum-sha256');
  });
});

test('a server that is not running is reported in words', async () => {
  const { port } = server.address() as AddressInfo;
  const store = open({ endpoint: `http://127.0.0.1:${port}`, retry: { tries: 1, baseMs: 1, capMs: 1 } });
  server.close();
  await once(server, 'close');
  await expect(store.head('k')).rejects.toMatchObject({
    code: 'network',
    message: expect.stringMatching(
      /the connection was refused \(.*\); check that the server runs, and AWS_ENDPOINT_URL_S3$/,
    ) as string,
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

test('a server without TLS is not asked again', async () => {
  const { port } = server.address() as AddressInfo;
  const store = open({ endpoint: `https://127.0.0.1:${port}` });
  await expect(store.head('k')).rejects.toMatchObject({
    code: 'denied',
    remedy: 'never',
    message: expect.stringContaining('the server does not speak TLS'),
  });
  expect(store.requests()).toEqual({ HeadObject: 1 });
});
