import { describe, expect, test } from 'vitest';
import { digestOf } from '../../../lib/oci/digest.ts';
import { randomBytes } from '../../kit/content.ts';
import { makeImage } from '../../kit/images.ts';
import { errorBody, startRegistry, type RegistryOptions, type TestRegistry } from '../../kit/registry.ts';
import { realSleep } from '../../../lib/registry/http/retry-wait.ts';
import { collect, failureOf, testSources } from './helpers.ts';

const REPOSITORY = 'library/alpine';
/** Several times the buffers of a socket and an exchange, so that a body does not end before it is read. */
const SIZE = 3 * 1024 * 1024 + 5;
const bytes = randomBytes(SIZE, 1);
const digest = digestOf(bytes);

async function registryWithBlob(options?: RegistryOptions): Promise<TestRegistry> {
  const registry = await startRegistry(options);
  registry.push(REPOSITORY, makeImage({ layers: [] }));
  registry.pushBlob(digest, bytes);
  return registry;
}

const ranges = ({ requests }: TestRegistry): (string | undefined)[] =>
  requests.filter(({ kind }) => kind === 'blob').map(({ range }) => range);

test('a blob is fetched completely or in the requested range', async () => {
  await using registry = await registryWithBlob();
  await using sources = testSources();
  const blob = sources.at(registry.host).blob(digest, { size: SIZE });
  const whole = await blob.open({ start: 0 });
  expect(whole).toMatchObject({ ranged: true, total: SIZE });
  expect((await collect(whole)).equals(bytes)).toBe(true);
  const part = await blob.open({ start: 100, end: 200 });
  expect(part).toMatchObject({ ranged: true, total: SIZE });
  expect(await collect(part)).toEqual(bytes.subarray(100, 200));
  expect(await collect(await blob.open({ start: SIZE - 10 }))).toEqual(bytes.subarray(SIZE - 10));
  expect(await collect(await blob.open({ start: SIZE - 10, end: SIZE + 10 }))).toEqual(bytes.subarray(SIZE - 10));
  expect(await collect(await blob.open({ start: SIZE }))).toEqual(Buffer.alloc(0));
  expect(ranges(registry)).toEqual([
    undefined,
    'bytes=100-199',
    `bytes=${SIZE - 10}-`,
    `bytes=${SIZE - 10}-${SIZE - 1}`,
  ]);
  await failureOf(blob.open({ start: SIZE + 1 }), 'partial-too-long');
});

test('ranges of one blob are read concurrently over all connections', async () => {
  await using registry = await registryWithBlob();
  await using sources = testSources({ connections: 3 });
  const blob = sources.at(registry.host).blob(digest);
  const held = registry.misbehave({ match: { kind: 'blob' }, do: { stallAfter: 1000 } });
  const quarter = Math.ceil(SIZE / 4);
  const opening = [0, 1, 2, 3].map((n) => blob.open({ start: n * quarter, end: (n + 1) * quarter }));
  await Promise.all(opening.slice(0, 3));
  expect(registry.count()).toBe(3);
  held.stop();
  const parts = await Promise.all(opening.map(async (body) => collect(await body)));
  expect(Buffer.concat(parts).equals(bytes)).toBe(true);
  expect(registry.mostAtOnce).toBe(3);
});

describe('a body that breaks off', () => {
  test('continues at the missing byte', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, times: 2, do: { cutAfter: 1_000_000 } });
    const body = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(ranges(registry)).toEqual([undefined, `bytes=1000000-${SIZE - 1}`, `bytes=2000000-${SIZE - 1}`]);
    expect(body.resumed()).toBe(2);
    expect(sources.waits).toEqual([100, 100]);
  });

  test('fails only if no further byte arrives, after any number of connections', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, times: 20, do: { cutAfter: 100_000 } });
    const body = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(body.resumed()).toBe(20);

    registry.misbehave({ match: { kind: 'blob' }, times: 1, do: { cutAfter: 1000 } });
    registry.misbehave({ match: { kind: 'blob' }, after: 1, do: { status: 503 } });
    registry.forgetRequests();
    const hopeless = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    await failureOf(collect(hopeless), 'unavailable');
    // Twice the usual tries, because the host has accepted blobs before.
    expect(ranges(registry).length).toBe(1 + 6);
  });

  test('continues to the end of its range', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, times: 1, do: { cutAfter: 500_000 } });
    const body = await sources.at(registry.host).blob(digest).open({ start: 1000, end: 1_001_000 });
    expect((await collect(body)).equals(bytes.subarray(1000, 1_001_000))).toBe(true);
    expect(ranges(registry)).toEqual(['bytes=1000-1000999', 'bytes=501000-1000999']);
  });

  // A proxy without Content-Length hides that its upstream broke off.
  test('without an error is detected by the size', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, times: 1, do: { endAfter: 1_000_000 } });
    const body = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(sources.failures[0]).toMatchObject({ code: 'truncated' });
  });

  test('may have no length at all', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, do: { noContentLength: true } });
    const body = await sources.at(registry.host).blob(digest).open({ start: 0 });
    expect(body.total).toBeUndefined();
    expect((await collect(body)).equals(bytes)).toBe(true);
  });

  // A firewall may drop a connection without a reset.
  test('by a stall continues as well', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources({ limits: { stallMs: 250 } });
    registry.misbehave({ match: { kind: 'blob' }, times: 1, do: { stallAfter: 1_000_000 } });
    const body = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(sources.failures[0]).toMatchObject({ code: 'stalled' });
    expect(ranges(registry)[1]).toBe(`bytes=1000000-${SIZE - 1}`);
  });

  // Tokens live for minutes, and blobs take hours.
  test('with an expired token gets a new one', async () => {
    await using registry = await registryWithBlob({ auth: { kind: 'bearer', expiresAfterRequests: 1 } });
    await using sources = testSources();
    // The second, third and fourth request; the third is the 401, which has no body to cut.
    registry.misbehave({ match: { kind: 'blob' }, after: 1, times: 3, do: { cutAfter: 1_000_000 } });
    const body = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(registry.count({ kind: 'token' })).toBe(3);
    expect(body.resumed()).toBe(2);
  });

  test('by a rate limit continues after the whole wait', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, times: 1, do: { cutAfter: 1_000_000 } });
    registry.misbehave({
      match: { kind: 'blob' },
      after: 1,
      times: 1,
      do: { status: 429, headers: { 'retry-after': '7200' } },
    });
    const body = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(sources.waits).toEqual([100, 7_200_000]);
  });
});

describe('inconsistent responses are not combined', () => {
  test('if a server ignores Range, which is reported and accepted only from the first byte', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, do: { ignoreRange: true } });
    const blob = sources.at(registry.host).blob(digest, { size: SIZE });
    const body = await blob.open({ start: 0, end: 100 });
    expect(body).toMatchObject({ ranged: false, total: SIZE });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(await failureOf(blob.open({ start: 100 }), 'range-ignored')).toMatchObject({ remedy: 'restart' });
  });

  test('if a body breaks off and the server ignores Range', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, do: { ignoreRange: true } });
    registry.misbehave({ match: { kind: 'blob' }, times: 1, do: { cutAfter: 1_000_000 } });
    const body = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    expect(await failureOf(collect(body), 'range-ignored')).toMatchObject({ remedy: 'restart' });
  });

  test.each([
    [{ wrongContentRange: true }, 'range-mismatch', 'restart'],
    [{ wrongContentRange: 'total' }, 'size-mismatch', 'never'],
  ] as const)('for %o: %s', async (misbehaviour, code, remedy) => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, times: 1, do: { cutAfter: 1_000_000 } });
    registry.misbehave({ match: { kind: 'blob' }, after: 1, do: misbehaviour });
    const body = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    expect(await failureOf(collect(body), code)).toMatchObject({ remedy });
  });

  test.each([SIZE - 1, SIZE + 1])('a blob with another size than %i is refused at once', async (size) => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    const blob = sources.at(registry.host).blob(digest, { size });
    expect(await failureOf(blob.open({ start: 0 }), 'size-mismatch')).toMatchObject({ remedy: 'never' });
    expect(registry.count()).toBe(1);
  });

  test('if a body without a length is longer than the descriptor', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, do: { noContentLength: true } });
    const body = await sources
      .at(registry.host)
      .blob(digest, { size: SIZE - 1 })
      .open({ start: 0 });
    await failureOf(collect(body), 'size-mismatch');
  });

  test('if a body without a length is shorter than the descriptor', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, do: { noContentLength: true } });
    const body = await sources
      .at(registry.host)
      .blob(digest, { size: SIZE + 1 })
      .open({ start: 0 });
    await failureOf(collect(body), 'size-mismatch');
  });
});

// Backends behind one name may disagree.
describe('an ETag that changes with every response', () => {
  test('ends neither a resumed body nor concurrent ranges', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, do: { changeEtag: true } });
    registry.misbehave({ match: { kind: 'blob' }, times: 2, do: { cutAfter: 500_000 } });
    const blob = sources.at(registry.host).blob(digest, { size: SIZE });
    const half = Math.ceil(SIZE / 2);
    const bodies = await Promise.all([blob.open({ start: 0, end: half }), blob.open({ start: half })]);
    const parts = await Promise.all(bodies.map(collect));
    expect(Buffer.concat(parts).equals(bytes)).toBe(true);
  });

  test('leads to another try from the first byte after a wrong digest', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, do: { changeEtag: true } });
    const blob = sources.at(registry.host).blob(digest, { size: SIZE });
    const first = await blob.open({ start: 0, end: 10 });
    expect(first.resumed()).toBe(0);
    const second = await blob.open({ start: 10, end: 20 });
    expect(second.resumed()).toBe(1);
    await Promise.all([collect(first), collect(second)]);
  });
});

describe('a redirect', () => {
  test('is remembered for all ranges of the blob, and its target gets no Authorization', async () => {
    await using cdn = await startRegistry();
    await using registry = await registryWithBlob({ auth: { kind: 'bearer' } });
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, do: { redirectTo: cdn } });
    const blob = sources.at(registry.host).blob(digest, { size: SIZE });
    const half = Math.ceil(SIZE / 2);
    const first = await collect(await blob.open({ start: 0, end: half }));
    registry.forgetRequests();
    const second = await collect(await blob.open({ start: half }));
    expect(Buffer.concat([first, second]).equals(bytes)).toBe(true);
    expect(registry.requests).toEqual([]);
    expect(cdn.requests.map(({ authorization, range }) => [authorization, range])).toEqual([
      [undefined, `bytes=0-${half - 1}`],
      [undefined, `bytes=${half}-`],
    ]);
  });

  test('that expires is requested again', async () => {
    await using cdn = await startRegistry();
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, do: { redirectTo: cdn, expires: 1 } });
    cdn.misbehave({ times: 1, do: { cutAfter: 1_000_000 } });
    const blob = sources.at(registry.host).blob(digest, { size: SIZE });
    const body = await blob.open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(registry.count({ kind: 'blob' })).toBe(2);
    expect(cdn.requests.map(({ status, range }) => [status, range])).toEqual([
      [200, undefined],
      [403, `bytes=1000000-${SIZE - 1}`],
      [206, `bytes=1000000-${SIZE - 1}`],
    ]);
    expect(sources.waits).toEqual([100]);
  });
});

describe('a foreign layer', () => {
  test('is fetched from its own address, without a request to the registry', async () => {
    await using owner = await registryWithBlob();
    await using registry = await registryWithBlob();
    await using sources = testSources();
    const urls = [`http://${owner.host}/v2/${REPOSITORY}/blobs/${digest}`];
    const body = await sources.at(registry.host).blob(digest, { urls }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(registry.requests).toEqual([]);
  });

  // If the registry lacks the layer, its address is tried again.
  test('is retried at its own address if that is briefly unavailable', async () => {
    await using owner = await registryWithBlob();
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.removeBlob(digest);
    owner.misbehave({ times: 1, do: { status: 503 } });
    const urls = [`http://${owner.host}/v2/${REPOSITORY}/blobs/${digest}`];
    const body = await sources.at(registry.host).blob(digest, { urls }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(owner.count({ kind: 'blob' })).toBe(2);
  });

  test('is fetched from the registry if its own addresses fail', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    const urls = ['ftp://old.example/layer', `http://${registry.host}/gone`];
    const body = await sources.at(registry.host).blob(digest, { urls }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
  });

  test('is fetched from the registry if its own address has another length', async () => {
    await using owner = await registryWithBlob();
    await using registry = await registryWithBlob();
    await using sources = testSources();
    owner.pushBlob(digest, Buffer.from('moved'));
    const urls = [`http://${owner.host}/v2/${REPOSITORY}/blobs/${digest}`];
    const blob = () => sources.at(registry.host).blob(digest, { urls, size: bytes.length });
    expect((await collect(await blob().open({ start: 0 }))).equals(bytes)).toBe(true);
    // If the registry fails as well, the problem of the address is the reason.
    registry.removeBlob(digest);
    await failureOf(blob().open({ start: 0 }), 'size-mismatch');
  });
});

test.each([
  ['sends one byte', { endAfter: 1, noContentLength: true }],
  ['breaks off', { cutAfter: 1000 }],
  ['hangs up', { hangUp: true }],
  ['stalls', { stallAfter: 1000 }],
  ['is 404', { status: 404 }],
  ['is busy', { status: 503 }],
] as const)('a foreign layer whose address %s is fetched from the registry', async (_, misbehaviour) => {
  await using owner = await registryWithBlob();
  await using registry = await registryWithBlob();
  await using sources = testSources({ limits: { stallMs: 250 } });
  owner.misbehave({ do: misbehaviour });
  const urls = [`http://${owner.host}/v2/${REPOSITORY}/blobs/${digest}`];
  const body = await sources.at(registry.host).blob(digest, { urls, size: SIZE }).open({ start: 0 });
  const found = await collect(body);
  expect(found.length).toBe(SIZE);
  expect(registry.count({ kind: 'blob' })).toBe(1);
  expect(owner.count()).toBe(1);
  // Wrong bytes from the address do not fail the blob: the second try uses the bytes of the registry.
  const again = await sources.at(registry.host).blob(digest, { urls, size: SIZE }).open({ start: 0 });
  expect((await collect(again)).equals(bytes)).toBe(true);
  expect(owner.count()).toBe(1);
});

test('a foreign layer at a host that is not allowed is fetched from the registry, without a request to the host', async () => {
  await using registry = await registryWithBlob();
  await using sources = testSources({ endpoints: { 'registry.example': [registry.host, 'https://registry.example'] } });
  const urls = ['https://victim.example/layer'];
  const blob = sources.at('registry.example').blob(digest, { urls });
  expect((await collect(await blob.open({ start: 0 }))).equals(bytes)).toBe(true);
  await using own = testSources();
  registry.removeBlob(digest);
  const failure = await failureOf(own.at(registry.host).blob(digest, { urls }).open({ start: 0 }), 'denied');
  expect(failure.detail).toContain('--foreign-host victim.example');
});

test('an unknown blob is requested once', async () => {
  await using registry = await registryWithBlob();
  await using sources = testSources();
  const unknown = digestOf(Buffer.from('unknown'));
  const failure = await failureOf(sources.at(registry.host).blob(unknown).open({ start: 0 }), 'blob-unknown');
  expect(failure.message).toContain(`get blob ${registry.host}/library/alpine@${unknown}`);
  expect(registry.count({ kind: 'blob' })).toBe(1);
});

describe('a small blob', () => {
  const small = bytes.subarray(0, 5000);
  const smallDigest = digestOf(small);

  test('is proven and limited in size', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.pushBlob(smallDigest, small);
    const source = sources.at(registry.host);
    expect(Buffer.from(await source.smallBlob(smallDigest, { maxBytes: 5000, size: 5000 }))).toEqual(small);
    await failureOf(source.smallBlob(smallDigest, { maxBytes: 4999 }), 'too-large');
    await failureOf(source.smallBlob(smallDigest, { maxBytes: 4999, size: 5000 }), 'too-large');
    await failureOf(source.smallBlob(smallDigest, { maxBytes: 9000, size: 4000 }), 'size-mismatch');
    registry.misbehave({ do: { noContentLength: true } });
    await failureOf(source.smallBlob(smallDigest, { maxBytes: 4999 }), 'too-large');
  });

  test('with a corrupt byte is refused, and fetched once more if it was resumed', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.pushBlob(smallDigest, small);
    const source = sources.at(registry.host);
    registry.misbehave({ times: 1, do: { flipByteAt: 7 } });
    await failureOf(source.smallBlob(smallDigest, { maxBytes: 9000 }), 'digest-mismatch');
    registry.misbehave({ times: 1, do: { flipByteAt: 7, cutAfter: 100 } });
    expect(Buffer.from(await source.smallBlob(smallDigest, { maxBytes: 9000 }))).toEqual(small);
  });
});

describe('the end of a body frees its connection and its permit', () => {
  const usable = async (registry: TestRegistry, sources: ReturnType<typeof testSources>): Promise<void> => {
    const body = await sources.at(registry.host).blob(digest).open({ start: 0, end: 10 });
    expect(await collect(body)).toEqual(bytes.subarray(0, 10));
  };

  test('after an abort before, during and after opening', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources({ connections: 1 });
    const source = sources.at(registry.host);
    const aborted = AbortSignal.abort();
    await failureOf(source.blob(digest).open({ start: 0 }, { signal: aborted }), 'aborted');
    await usable(registry, sources);

    const hanging = registry.misbehave({ times: 1, do: { noAnswer: true } });
    const opening = new AbortController();
    const open = source.blob(digest, { signal: opening.signal }).open({ start: 0 });
    await hanging.begun;
    opening.abort();
    await failureOf(open, 'aborted');
    await usable(registry, sources);

    const reading = new AbortController();
    const stalled = registry.misbehave({ times: 1, do: { stallAfter: 1_000_000 } });
    const body = await source.blob(digest).open({ start: 0 }, { signal: reading.signal });
    const collecting = collect(body);
    await stalled.begun;
    reading.abort();
    await failureOf(collecting, 'aborted');
    await usable(registry, sources);
  });

  test('after an abort of a body that was not read', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources({ connections: 1 });
    const abort = new AbortController();
    const body = await sources.at(registry.host).blob(digest).open({ start: 0 }, { signal: abort.signal });
    abort.abort();
    await usable(registry, sources);
    await failureOf(collect(body), 'aborted');
  });

  // On Lambda the queue waits instead of the function.
  test('after a wait beyond the limit, which is thrown in full', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources({ longestWaitMs: 1000 });
    registry.misbehave({ match: { kind: 'blob' }, do: { status: 429, headers: { 'retry-after': '600' } } });
    const failure = await failureOf(sources.at(registry.host).blob(digest).open({ start: 0 }), 'rate-limited');
    expect(failure).toMatchObject({ retryAfterMs: 600_000, remedy: 'retry' });
    expect(sources.waits).toEqual([]);
    expect(registry.count({ kind: 'blob' })).toBe(1);
    // The endpoint pauses, not the request: no other request is sent meanwhile.
    const other = await failureOf(sources.at(registry.host).resolve('1'), 'rate-limited');
    expect(other).toMatchObject({ retryAfterMs: 600_000 });
    expect(registry.count({ kind: 'manifest' })).toBe(0);
  });

  test('after a 503 with a wait beyond the limit, which is thrown in full', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources({ longestWaitMs: 1000 });
    registry.misbehave({ match: { kind: 'manifest' }, do: { status: 503, headers: { 'retry-after': '2' } } });
    const failure = await failureOf(sources.at(registry.host).resolve('1'), 'unavailable');
    expect(failure).toMatchObject({ retryAfterMs: 2000, remedy: 'retry' });
    expect(registry.count({ kind: 'manifest' })).toBe(1);
  });

  test('after a deadline during a wait, with the reason of the wait', async () => {
    await using registry = await registryWithBlob();
    let over = new AbortController();
    const sleep = async (ms: number, signal?: AbortSignal): Promise<void> => {
      // This is what AbortSignal.timeout does, in the middle of the wait.
      const clock = over;
      setImmediate(() => clock.abort(new DOMException('over', 'TimeoutError')));
      await realSleep(ms, signal);
    };
    await using sources = testSources({ sleep });
    registry.misbehave({ do: { status: 429, headers: { 'retry-after': '600' } } });
    const source = sources.at(registry.host);
    const limited = { code: 'rate-limited', retryAfterMs: 600_000 };
    const blob = source.blob(digest).open({ start: 0 }, { signal: over.signal });
    await expect(blob).rejects.toMatchObject(limited);
    over = new AbortController();
    await expect(source.resolve('1', { signal: over.signal })).rejects.toMatchObject(limited);
  });

  test('after an abort during the wait for a retry', async () => {
    await using registry = await registryWithBlob();
    const abort = new AbortController();
    await using sources = testSources({
      connections: 1,
      sleep: () => {
        abort.abort();
        return Promise.resolve();
      },
    });
    registry.misbehave({ times: 1, do: { status: 503 } });
    await failureOf(sources.at(registry.host).blob(digest).open({ start: 0 }, { signal: abort.signal }), 'aborted');
    await usable(registry, sources);
  });

  test('after closing the sources', async () => {
    await using registry = await registryWithBlob();
    const sources = testSources();
    const body = await sources.at(registry.host).blob(digest).open({ start: 0 });
    await sources.sources.close();
    await failureOf(collect(body), 'aborted');
    expect(sources.waits).toEqual([]);
  });

  test('after leaving it in the middle', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources({ connections: 1 });
    const { body } = await sources.at(registry.host).blob(digest).open({ start: 0 });
    for await (const chunk of body) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    await usable(registry, sources);
  });

  test('after refusals of all kinds', async () => {
    await using registry = await registryWithBlob();
    for (const status of [403, 404, 416, 429, 503]) {
      await using sources = testSources({ connections: 1 });
      const source = sources.at(registry.host);
      const rule = registry.misbehave({
        match: { kind: 'blob' },
        do: { status, body: errorBody('X', 'x'.repeat(200_000)) },
      });
      await failureOf(source.blob(digest).open({ start: 5 }));
      rule.stop();
      // Requests of this kind pause for a second.
      sources.advance(1000);
      await usable(registry, sources);
    }
    await using sources = testSources({ connections: 1 });
    const source = sources.at(registry.host);
    const rule = registry.misbehave({ match: { kind: 'blob' }, do: { ignoreRange: true } });
    await failureOf(source.blob(digest).open({ start: 5 }), 'range-ignored');
    rule.stop();
    await usable(registry, sources);
  });
});
