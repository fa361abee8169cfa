/** Misbehaviour of registries while a blob of many parts is in transfer. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Failure, type FailureCode } from '../../../lib/core/failure.ts';
import type { SourcesOptions } from '../../../lib/registry/sources.ts';
import type { Auth } from '../../kit/auth.ts';
import { makeImage, makeLayer } from '../../kit/images.ts';
import type { Rule } from '../../kit/misbehave.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { messageFor, PART, Rig } from './rig.ts';

const LAYER = makeLayer({ size: 6 * PART + 1000, seed: 3 });
const PARTS = Math.ceil(LAYER.size / PART);
const KEY = `blobs/sha256/${LAYER.digest.slice('sha256:'.length)}`;

let registry: TestRegistry;
let other: TestRegistry;
beforeEach(async () => {
  [registry, other] = await Promise.all([startRegistry(), startRegistry()]);
  for (const each of [registry, other]) each.push('library/app', makeImage({ layers: [LAYER] }), 'v1');
});
afterEach(() => Promise.all([registry.close(), other.close()]));

function bytesAsked(): number {
  return registry.requests.filter(({ kind }) => kind === 'blob').reduce((sum, { bytes }) => sum + bytes, 0);
}

async function expectStored(rig: Rig): Promise<void> {
  expect(rig.sent('finalize')).toMatchObject([{ image: {} }]);
  expect(rig.sent('finalize')[0]?.failure).toBeUndefined();
  expect((await rig.blob(LAYER.digest))?.equals(LAYER.blob)).toBe(true);
  expect(await rig.archive.receipt(LAYER.digest)).toMatchObject({
    size: LAYER.size,
    diffIds: { sha256: LAYER.diffId },
  });
  expect(await rig.uploads()).toEqual([]);
  expect(rig.buffers.usedBytes).toBe(0);
}

/** Parts 3 and 6 are missing. */
async function begun(rig: Rig): Promise<void> {
  const upload = await rig.store.createUpload(KEY, { partSize: PART });
  for (const part of [1, 2, 4, 5, 7])
    await rig.store.uploadPart(upload, part, LAYER.blob.subarray((part - 1) * PART, part * PART));
}

type Doing = Rule['do'];

const blob = { kind: 'blob' } as const;

describe('a download continues without a restart', () => {
  test.each<[string, Rule, SourcesOptions?]>([
    ['a connection that breaks', { times: 2, do: { cutAfter: 5000 } }],
    ['a connection that breaks before a byte', { times: 1, do: { cutAfter: 0 } }],
    ['a body that ends early without an error', { times: 2, do: { endAfter: 5000 } }],
    ['a stall', { times: 1, do: { stallAfter: 5000 } }, { limits: { stallMs: 250 } }],
    ['no answer at all', { times: 1, do: { noAnswer: true } }, { limits: { stallMs: 250 } }],
    ['a connection that is closed without an answer', { times: 2, do: { hangUp: true } }],
    ['a busy registry', { times: 2, do: { status: 503 } }],
    ['a rate limit', { times: 1, do: { status: 429, headers: { 'retry-after': '7' } } }],
    ['a timeout', { times: 1, do: { status: 408 } }],
    ['no Content-Length', { do: { noContentLength: true } }],
  ])('after %s', async (_, rule, options) => {
    for (const resumed of [false, true]) {
      const misbehaving = registry.misbehave({ ...rule, match: blob });
      await using rig = new Rig({ registry: options ?? {} });
      if (resumed) await begun(rig);
      registry.forgetRequests();
      await rig.copy(messageFor(registry, LAYER, { look: resumed ? 'everything' : 'receipt' }));
      misbehaving.stop();
      await expectStored(rig);
      expect(misbehaving.hits()).toBeGreaterThan(0);
      expect(rig.phases().filter((phase) => phase === 'started')).toHaveLength(1);
      // No received byte is requested again, except for bytes that were lost with the connection.
      expect(bytesAsked()).toBeLessThan(LAYER.size + 3 * PART);
    }
  });

  test('if a registry ignores ranges, in a single request', async () => {
    registry.misbehave({ match: blob, do: { ignoreRange: true } });
    await using rig = new Rig();
    await rig.copy(messageFor(registry, LAYER));
    await expectStored(rig);
    expect(registry.count({ kind: 'blob' })).toBe(1);
  });

  // Each address of S3 is valid for two requests, and then answers 403.
  test('if signed addresses expire in the middle', async () => {
    registry.misbehave({ match: blob, do: { redirectTo: other, expires: 2 } });
    other.misbehave({ match: blob, after: 1, times: 2, do: { cutAfter: 5000 } });
    await using rig = new Rig();
    await rig.copy(messageFor(registry, LAYER));
    await expectStored(rig);
    expect(registry.count({ kind: 'blob' })).toBeGreaterThan(1);
    expect(other.count({ kind: 'blob', status: 403 })).toBeGreaterThan(0);
    expect(other.requests.every(({ authorization }) => authorization === undefined)).toBe(true);
  });

  // Docker Hub's tokens live for minutes, and large layers take longer.
  test('if a token expires in the middle', async () => {
    const auth: Auth = { kind: 'bearer', expiresAfterRequests: 3, form: 'get' };
    await using guarded = await startRegistry({ auth });
    guarded.push('library/app', makeImage({ layers: [LAYER] }), 'v1');
    await using rig = new Rig({ registry: { connections: 2 } });
    await rig.copy(messageFor(guarded, LAYER));
    await expectStored(rig);
    expect(guarded.count({ kind: 'token' })).toBeGreaterThan(1);
  });

  test('if one endpoint breaks off, at the same byte of another one', async () => {
    const half = registry.misbehave({ match: blob, after: 2, times: 1, do: { cutAfter: 5000 } });
    registry.misbehave({ match: blob, after: 3, do: { hangUp: true } });
    const endpoints = { [registry.host]: [registry.host, other.host] };
    await using rig = new Rig({ registry: { endpoints, connections: 1 } });
    await rig.copy(messageFor(registry, LAYER));
    await expectStored(rig);
    expect(half.hits()).toBe(1);
    expect(other.count({ kind: 'blob' })).toBeGreaterThan(0);
  });
});

// Backends of one registry may send different ETags.
test.each<[string, Rule]>([
  ['once', { after: 2, times: 1, do: { changeEtag: true } }],
  ['with every answer', { do: { changeEtag: true } }],
])('an ETag that changes %s does not restart the blob', async (_, rule) => {
  registry.misbehave({ ...rule, match: blob });
  await using rig = new Rig();
  await rig.copy(messageFor(registry, LAYER));
  expect(rig.phases()).toEqual(['started', 'stored']);
  expect((await rig.blob(LAYER.digest))?.equals(LAYER.blob)).toBe(true);
});

describe('a download restarts the blob and stores it', () => {
  test.each<[string, Rule]>([
    ['a range other than the requested one', { after: 1, times: 1, do: { wrongContentRange: true } }],
    ['a whole body instead of the requested range', { after: 1, times: 1, do: { ignoreRange: true } }],
    ['a range that cannot be satisfied', { after: 1, times: 1, do: { status: 416 } }],
    ['a range of a blob with another length', { after: 1, times: 1, do: { wrongContentRange: 'total' } }],
    // One of several responses is wrong, and only the digest shows it.
    ['a wrong byte in one of the ranges', { times: 1, do: { flipByteAt: 10 } }],
    ['a wrong byte in a resumed body', { times: 1, do: { flipByteAt: 10, cutAfter: 5000 } }],
  ])('after %s', async (_, rule) => {
    const misbehaving = registry.misbehave({ ...rule, match: blob });
    await using rig = new Rig();
    await rig.copy(messageFor(registry, LAYER));
    expect(misbehaving.hits()).toBe(1);
    expect(rig.phases()).toEqual(['started', 'started', 'stored']);
    await expectStored(rig);
    expect(registry.count({ kind: 'blob', ranged: false })).toBe(1);
  });

  test.each<[string, Doing]>([
    ['a range other than the requested one', { wrongContentRange: true }],
    ['a range of a blob with another length', { wrongContentRange: 'total' }],
    ['a whole body instead of the requested range', { ignoreRange: true }],
    ['a wrong byte', { flipByteAt: 2 * PART + 5 }],
  ])('even if it was resumed, after %s', async (_, doing) => {
    registry.misbehave({ match: blob, times: 1, do: doing });
    await using rig = new Rig();
    await begun(rig);
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    expect(rig.phases().filter((phase) => phase === 'started')).toHaveLength(2);
    await expectStored(rig);
  });
});

describe('a blob whose registry does not serve ranges is fetched in one piece', () => {
  const ranged = { kind: 'blob', ranged: true } as const;
  const half = Buffer.alloc(PART / 2);

  test.each<[string, Doing]>([
    ...[400, 403, 404, 405, 416, 500, 501].map((status): [string, Doing] => [String(status), { status }]),
    ['a closed connection', { hangUp: true }],
    ['206 without Content-Range', { headers: { 'content-range': null } }],
    ['206 without the unit of the range', { headers: { 'content-range': `0-${PART - 1}/${LAYER.size}` } }],
    [
      '206 with several ranges',
      { headers: { 'content-type': 'multipart/byteranges; boundary=b', 'content-range': null } },
    ],
    ['206 with another range', { wrongContentRange: true }],
    ['206 with another total length', { wrongContentRange: 'total' }],
    ['200 with half of the range', { status: 200, body: half }],
    ['200 with half of the range and no length', { status: 200, body: half, noContentLength: true }],
  ])('after %s', async (_, doing) => {
    registry.misbehave({ match: ranged, do: doing });
    await using rig = new Rig();
    await rig.copy(messageFor(registry, LAYER));
    await expectStored(rig);
    expect(registry.count({ kind: 'blob', ranged: false })).toBe(1);
  });

  test.each([400, 403, 404, 405, 416, 501])('after %i for every range but the first', async (status) => {
    registry.misbehave({ match: ranged, after: 1, do: { status } });
    await using rig = new Rig();
    await rig.copy(messageFor(registry, LAYER));
    expect(rig.phases()).toEqual(['started', 'started', 'stored']);
    await expectStored(rig);
    expect(registry.count({ kind: 'blob', ranged: false })).toBe(1);
  });

  test('even if an unfinished upload has most of its parts', async () => {
    registry.misbehave({ match: ranged, do: { status: 403 } });
    await using rig = new Rig();
    await begun(rig);
    await rig.copy(messageFor(registry, LAYER, { look: 'everything' }));
    await expectStored(rig);
    expect(registry.count({ kind: 'blob', ranged: false })).toBe(1);
  });

  test('again from the first byte if its connection breaks', async () => {
    registry.misbehave({ match: ranged, do: { status: 403 } });
    registry.misbehave({ match: { kind: 'blob', ranged: false }, times: 1, do: { cutAfter: 3 * PART + 5 } });
    await using rig = new Rig();
    await rig.copy(messageFor(registry, LAYER));
    await expectStored(rig);
    expect(registry.requests.filter(({ kind }) => kind === 'blob').map(({ range }) => range)).toEqual([
      `bytes=0-${PART - 1}`,
      undefined,
      `bytes=${3 * PART + 5}-${LAYER.size - 1}`,
      undefined,
    ]);
  });

  test('at most three times, if each connection breaks', async () => {
    registry.misbehave({ match: ranged, do: { status: 416 } });
    registry.misbehave({ match: { kind: 'blob', ranged: false }, do: { cutAfter: 3 * PART + 5 } });
    await using rig = new Rig();
    await expect(rig.copy(messageFor(registry, LAYER))).rejects.toMatchObject({ code: 'range-mismatch' });
    expect(registry.count({ kind: 'blob', ranged: false })).toBe(3);
    expect(await rig.uploads()).toEqual([]);
    expect(rig.buffers.usedBytes).toBe(0);
  });

  test.each([
    ['a rate limit', { status: 429, headers: { 'retry-after': '600' } }],
    ['a busy registry', { status: 503 }],
    ['a registry that names the time of its return', { status: 500, headers: { 'retry-after': '600' } }],
  ] satisfies [string, Doing][])('but not after %s', async (_, doing) => {
    registry.misbehave({ match: ranged, do: doing });
    await using rig = new Rig({ registry: { longestWaitMs: 1000 } });
    await expect(rig.copy(messageFor(registry, LAYER))).rejects.toMatchObject({ remedy: 'retry' });
    expect(registry.count({ kind: 'blob', ranged: false })).toBe(0);
  });
});

describe('a download fails permanently and leaves nothing behind', () => {
  test('after a wrong byte in the ranges and in the whole blob', async () => {
    registry.misbehave({ match: blob, do: { flipByteAt: 2 * PART + 7 } });
    await using rig = new Rig();
    await rig.copy(messageFor(registry, LAYER));
    expect(rig.phases()).toEqual(['started', 'started', 'failed']);
    expect(registry.count({ kind: 'blob', ranged: false })).toBe(1);
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'digest-mismatch' } }]);
    expect(await rig.uploads()).toEqual([]);
  });

  test.each<[string, FailureCode, Rule]>([
    ['a wrong byte', 'digest-mismatch', { do: { flipByteAt: 2 * PART + 7 } }],
    ['a blob that disappears', 'blob-unknown', { after: 3, do: { status: 404 } }],
    ['a blob that is denied', 'denied', { after: 3, do: { status: 403 } }],
  ])('after %s: %s', async (_, code, rule) => {
    for (const resumed of [false, true]) {
      const misbehaving = registry.misbehave({ ...rule, ...(resumed ? { after: 0 } : {}), match: blob });
      await using rig = new Rig();
      if (resumed) await begun(rig);
      await rig.copy(messageFor(registry, LAYER, { look: resumed ? 'everything' : 'receipt' }));
      misbehaving.stop();
      expect(rig.sent('finalize')).toMatchObject([
        { failure: { code: expect.stringContaining(code), reason: expect.stringContaining(LAYER.digest) } },
      ]);
      expect(await rig.uploads()).toEqual([]);
      expect(await rig.blob(LAYER.digest)).toBeUndefined();
      expect(await rig.archive.receipt(LAYER.digest)).toBeUndefined();
      expect(rig.buffers.usedBytes).toBe(0);
    }
  });
});

describe('a download fails temporarily and keeps the stored parts for the next delivery', () => {
  test.each<[string, FailureCode, Doing]>([
    ['a registry that is down', 'unavailable', { status: 503 }],
    ['a lasting rate limit', 'rate-limited', { status: 429, headers: { 'retry-after': '600' } }],
    ['connections that break', 'network', { hangUp: true }],
  ])('after %s: %s', async (_, code, doing) => {
    const down = registry.misbehave({ match: blob, after: 4, do: doing });
    await using rig = new Rig({ bufferBytes: PART });
    const message = messageFor(registry, LAYER);
    const failure = (await rig.copy(message).catch((error: unknown) => error)) as Failure;
    expect(failure).toBeInstanceOf(Failure);
    expect(failure).toMatchObject({ code, remedy: 'retry' });
    if (code === 'rate-limited') expect(failure.retryAfterMs).toBe(600_000);
    expect(rig.outgoing).toEqual([]);
    expect(rig.buffers.usedBytes).toBe(0);
    const [left] = await rig.uploads();
    expect(left?.parts).toHaveLength(4);

    down.stop();
    registry.forgetRequests();
    await rig.copy(message, { receiveCount: 2 });
    expect(registry.count({ kind: 'blob' })).toBe(PARTS - 4);
    await expectStored(rig);
  });
});

describe('a foreign layer', () => {
  test('is fetched from its own address, without authorization', async () => {
    registry.removeBlob(LAYER.digest);
    const url = `http://${other.host}/v2/library/app/blobs/${LAYER.digest}`;
    await using rig = new Rig();
    await rig.copy(messageFor(registry, LAYER, { urls: [`http://${other.host}/nowhere`, url] }));
    await expectStored(rig);
    expect(other.requests.every(({ authorization }) => authorization === undefined)).toBe(true);
  });

  test('is fetched from the registry if its addresses do not answer', async () => {
    await using rig = new Rig();
    await rig.copy(messageFor(registry, LAYER, { urls: [`http://${other.host}/nowhere`, 'ftp://x'] }));
    await expectStored(rig);
  });

  test('is fetched from the registry if its own address has wrong bytes', async () => {
    other.misbehave({ match: blob, do: { flipByteAt: 5 } });
    const url = `http://${other.host}/v2/library/app/blobs/${LAYER.digest}`;
    await using rig = new Rig();
    await rig.copy(messageFor(registry, LAYER, { urls: [url] }));
    await expectStored(rig);
    expect(other.count({ kind: 'blob' })).toBeGreaterThan(0);
  });

  test('is proven like any other layer if the registry lacks it', async () => {
    registry.removeBlob(LAYER.digest);
    other.misbehave({ match: blob, do: { flipByteAt: 5 } });
    const url = `http://${other.host}/v2/library/app/blobs/${LAYER.digest}`;
    await using rig = new Rig();
    await rig.copy(messageFor(registry, LAYER, { urls: [url] }), { last: true });
    expect(rig.sent('finalize')).toMatchObject([{ failure: { code: 'digest-mismatch-resumed' } }]);
    expect(await rig.uploads()).toEqual([]);
  });
});
