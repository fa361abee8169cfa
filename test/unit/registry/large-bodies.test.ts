/** Large bodies, of which a registry sends one at a time, so that many slow registries do not fill the memory. */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Semaphore } from '../../../lib/core/semaphore.ts';
import { digestOf } from '../../../lib/oci/digest.ts';
import { MEDIA_TYPES } from '../../../lib/oci/mediatype.ts';
import type { Source } from '../../../lib/registry/source.ts';
import { failureOf, testSources } from './helpers.ts';

const LIMIT = 256 * 1024;
const config = Buffer.alloc(LIMIT + 1);

/** An index of a given length, different for each name. */
function indexOf(name: string, length: number): Buffer {
  const index = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociIndex,
    manifests: [],
    annotations: { name, padding: '' },
  };
  index.annotations.padding = 'x'.repeat(length - JSON.stringify(index).length);
  return Buffer.from(JSON.stringify(index));
}

const HELD = indexOf('held', LIMIT + 1000);
const LARGE = indexOf('large', LIMIT + 1);
const SMALL = indexOf('small', LIMIT);
const tags = JSON.stringify({ tags: Array.from({ length: 3000 }, (_, n) => `${n}-${'t'.repeat(100)}`) });

interface LargeServer extends AsyncDisposable {
  readonly host: string;
  /** The responses whose last byte is still missing. */
  readonly held: readonly ServerResponse[];
  readonly requests: readonly string[];
  /** The maximum number of blobs that were sent concurrently. */
  readonly mostBlobs: () => number;
}

/** Sends all content at once, except for the last byte of the tag `held`. */
async function serve({ hasLength = true } = {}): Promise<LargeServer> {
  const held: ServerResponse[] = [];
  const requests: string[] = [];
  let [blobs, mostBlobs] = [0, 0];
  const contents: readonly (readonly [name: string, content: Buffer | string])[] = [
    [`/manifests/${digestOf(LARGE)}`, LARGE],
    ['/manifests/large', LARGE],
    ['/manifests/small', SMALL],
    ['/manifests/held', HELD],
    ['/referrers/', LARGE],
    ['/tags/list', tags],
    ['/blobs/', config],
  ];
  const server = createServer(({ url = '' }, response) => {
    requests.push(url);
    const [name, content = ''] = contents.find(([each]) => url.includes(each)) ?? [];
    const bytes = Buffer.from(content as string);
    const length = hasLength ? { 'content-length': bytes.length } : {};
    response.writeHead(name === undefined ? 404 : 200, { 'content-type': MEDIA_TYPES.ociIndex, ...length });
    if (name === '/manifests/held') {
      response.write(bytes.subarray(0, -1));
      held.push(response);
    } else if (name === '/blobs/') {
      mostBlobs = Math.max(mostBlobs, (blobs += 1));
      void setTimeout(30).then(() => response.end(bytes, () => (blobs -= 1)));
    } else response.end(bytes);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    held,
    requests,
    mostBlobs: () => mostBlobs,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

function release({ held }: LargeServer): void {
  for (const response of held) response.end(HELD.subarray(-1));
}

/** Starts to receive a large manifest whose end is missing. Its turn has begun when this resolves. */
async function holdTurn(source: Source, signal?: AbortSignal): Promise<{ readonly ended: Promise<unknown> }> {
  const holds = vi.spyOn(Semaphore.prototype, 'hold');
  const ended = source.fetchTag('held', { signal });
  ended.catch(() => undefined);
  await vi.waitFor(() => {
    expect(holds).toHaveBeenCalledTimes(1);
  });
  holds.mockRestore();
  return { ended };
}

/** Whether a promise is still pending after a time in which a response without a wait arrives. */
async function waits(work: Promise<unknown>): Promise<boolean> {
  const isPending = Symbol('pending');
  work.catch(() => undefined);
  return (await Promise.race([work, setTimeout(150, isPending)])) === isPending;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('while a registry sends a large manifest', () => {
  test.each([
    ['a large manifest by tag', (source: Source) => source.fetchTag('large')],
    ['a large manifest by digest', (source: Source) => source.manifest(digestOf(LARGE))],
    ['a large page of tags', (source: Source) => Array.fromAsync(source.tags())],
    ['a large list of referrers', (source: Source) => source.referrers(digestOf(SMALL), { artifactTypes: ['a/b'] })],
  ])('%s of this registry waits', async (_, read) => {
    await using server = await serve();
    await using sources = testSources();
    const source = sources.at(server.host);
    const { ended } = await holdTurn(source);
    const waiting = read(source);
    expect(await waits(waiting)).toBe(true);
    release(server);
    await Promise.all([ended, waiting]);
  });

  test('another large manifest waits also if no length is declared', async () => {
    await using server = await serve({ hasLength: false });
    await using sources = testSources();
    const source = sources.at(server.host);
    const { ended } = await holdTurn(source);
    const waiting = source.fetchTag('large');
    expect(await waits(waiting)).toBe(true);
    release(server);
    expect(Buffer.from((await waiting).bytes)).toEqual(LARGE);
    await ended;
  });

  test('a manifest of 256 KiB of this registry does not wait, and neither does a large one of another registry', async () => {
    await using server = await serve({ hasLength: false });
    await using other = await serve();
    await using sources = testSources();
    const source = sources.at(server.host);
    const { ended } = await holdTurn(source);
    expect(Buffer.from((await source.fetchTag('small')).bytes)).toEqual(SMALL);
    expect(Buffer.from((await sources.at(other.host).fetchTag('large')).bytes)).toEqual(LARGE);
    release(server);
    await ended;
  });

  test('others wait with all permits of the registry, and are received after it', async () => {
    await using server = await serve();
    await using sources = testSources({ connections: 3 });
    const source = sources.at(server.host);
    const { ended } = await holdTurn(source);
    const waiting = Promise.all(Array.from({ length: 5 }, () => source.fetchTag('large')));
    await vi.waitFor(() => {
      expect(server.requests).toHaveLength(3);
    });
    release(server);
    expect(await waiting).toHaveLength(5);
    await ended;
  });

  test('an aborted read ends its wait', async () => {
    await using server = await serve();
    await using sources = testSources();
    const source = sources.at(server.host);
    const { ended } = await holdTurn(source);
    const abort = new AbortController();
    const waiting = source.fetchTag('large', { signal: abort.signal });
    expect(await waits(waiting)).toBe(true);
    abort.abort();
    await failureOf(waiting, 'aborted');
    release(server);
    await ended;
    expect((await source.fetchTag('large')).bytes).toHaveLength(LARGE.length);
  });
});

describe('a large manifest gives its turn back', () => {
  test('if its connection breaks', async () => {
    await using server = await serve();
    await using sources = testSources({ retry: { tries: 1, baseMs: 1, capMs: 1 } });
    const source = sources.at(server.host);
    const { ended } = await holdTurn(source);
    const waiting = source.fetchTag('large');
    server.held[0]?.destroy();
    await failureOf(ended);
    expect((await waiting).bytes).toHaveLength(LARGE.length);
  });

  test('if it is cancelled', async () => {
    await using server = await serve();
    await using sources = testSources();
    const source = sources.at(server.host);
    const abort = new AbortController();
    const { ended } = await holdTurn(source, abort.signal);
    const waiting = source.fetchTag('large');
    abort.abort();
    await failureOf(ended, 'aborted');
    expect((await waiting).bytes).toHaveLength(LARGE.length);
  });
});

test('large configs of a registry are read one at a time, and do not wait for large manifests', async () => {
  await using server = await serve();
  await using sources = testSources({ connections: 4 });
  const source = sources.at(server.host);
  const { ended } = await holdTurn(source);
  const read = (): Promise<Uint8Array> =>
    source.smallBlob(digestOf(config), { maxBytes: 2 * config.length, size: config.length });
  for (const bytes of await Promise.all([read(), read(), read()])) expect(bytes).toHaveLength(config.length);
  expect(server.mostBlobs()).toBe(1);
  release(server);
  await ended;
});
