import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { S3Store } from '../../../lib/store/s3/store.ts';

const ETAG = '"1"';
const KEY = 'repositories/docker.io/library/app/index.json';

let server: Server;
let store: S3Store;
/** The requests so far: with a link, or with the header of the SDK. */
let requests: string[];
let current: string;
let isLinkRefused: boolean;

beforeEach(async () => {
  [requests, current, isLinkRefused] = [[], ETAG, false];
  server = createServer((request, response) => {
    const isLink = request.url?.includes('X-Amz-Signature=') === true;
    requests.push(isLink ? 'link' : 'header');
    const status = isLink && isLinkRefused ? 403 : isCurrent(request) ? 304 : 200;
    const body = status === 200 ? 'new' : '';
    response.writeHead(status, { etag: current, ...(status === 304 ? {} : { 'content-length': body.length }) });
    response.end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  store = new S3Store({
    bucket: 'images',
    prefix: 'archive',
    region: 'eu-central-1',
    credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    linkedReads: true,
  });
});
afterEach(async () => {
  await store.close();
  server.closeAllConnections();
  server.close();
});

function isCurrent({ headers, url }: IncomingMessage): boolean {
  return headers['if-none-match'] === current && url?.startsWith(`/images/archive/${KEY}?`) === true;
}

const read = (): ReturnType<NonNullable<S3Store['getChanged']>> => store.getChanged(KEY, ETAG, { maxBytes: 100 });

test('an unchanged object costs one request with a link, over kept connections', async () => {
  let connections = 0;
  server.on('connection', () => (connections += 1));
  for (let time = 0; time < 10; time += 1) expect(await read()).toBe('unchanged');
  expect(requests).toEqual(Array.from({ length: 10 }, () => 'link'));
  expect(connections).toBeLessThan(3);
  expect(store.requests()).toEqual({ GetObject: 10 });
});

test('a changed object is read with an ordinary request', async () => {
  current = '"2"';
  expect(await read()).toMatchObject({ etag: '"2"', size: 3 });
  expect(requests).toEqual(['link', 'header']);
});

test('after S3 has refused a link, requests are ordinary', async () => {
  isLinkRefused = true;
  for (let time = 0; time < 2; time += 1) expect(await read()).toBe('unchanged');
  expect(requests).toEqual(['link', 'header', 'header']);
});

test('an aborted request is aborted, and does not count as a change', async () => {
  const signal = AbortSignal.abort();
  await expect(store.getChanged(KEY, ETAG, { maxBytes: 100, signal })).rejects.toMatchObject({ code: 'aborted' });
});
