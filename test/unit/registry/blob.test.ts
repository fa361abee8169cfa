import { describe, expect, test } from 'vitest';
import { digestOf } from '../../../lib/oci/digest.ts';
import { randomBytes } from '../../kit/content.ts';
import { makeImage } from '../../kit/images.ts';
import { errorBody, startRegistry, type RegistryOptions, type TestRegistry } from '../../kit/registry.ts';
import { realSleep } from '../../../lib/registry/http/retry-wait.ts';
import { collect, failureOf, testSources } from './helpers.ts';

const REPOSITORY = 'library/alpine';
/** Several times what a socket and an exchange buffer, so that a body is not over before it is read. */
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

test('a blob comes whole, or in the range that was asked for', async () => {
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

test('ranges of one blob are read side by side, as many as there are connections', async () => {
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
  // The connection is cut twice: exactly what is missing is asked for, and the bytes are the same in the end.
  test('goes on at the missing byte', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, times: 2, do: { cutAfter: 1_000_000 } });
    const body = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(ranges(registry)).toEqual([undefined, `bytes=1000000-${SIZE - 1}`, `bytes=2000000-${SIZE - 1}`]);
    expect(body.resumed()).toBe(2);
    expect(sources.waits).toEqual([100, 100]);
  });

  // However often: what counts is progress, and not how many connections it takes.
  test('is given up only when nothing more comes', async () => {
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
    // Twice the usual tries, since blobs were let through before.
    expect(ranges(registry).length).toBe(1 + 6);
  });

  test('within a range, it goes on to the end of that range', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, times: 1, do: { cutAfter: 500_000 } });
    const body = await sources.at(registry.host).blob(digest).open({ start: 1000, end: 1_001_000 });
    expect((await collect(body)).equals(bytes.subarray(1000, 1_001_000))).toBe(true);
    expect(ranges(registry)).toEqual(['bytes=1000-1000999', 'bytes=501000-1000999']);
  });

  // A proxy without Content-Length hides that its upstream broke: the descriptor's size uncovers it.
  test('in good order is noticed by the size', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, times: 1, do: { endAfter: 1_000_000 } });
    const body = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(sources.failures[0]).toMatchObject({ code: 'truncated' });
  });

  test('without a length at all still works', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, do: { noContentLength: true } });
    const body = await sources.at(registry.host).blob(digest).open({ start: 0 });
    expect(body.total).toBeUndefined();
    expect((await collect(body)).equals(bytes)).toBe(true);
  });

  // A firewall forgot the connection: no byte comes, and no end.
  test('by stalling goes on as well', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources({ stallMs: 250 });
    registry.misbehave({ match: { kind: 'blob' }, times: 1, do: { stallAfter: 1_000_000 } });
    const body = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(sources.failures[0]).toMatchObject({ code: 'stalled' });
    expect(ranges(registry)[1]).toBe(`bytes=1000000-${SIZE - 1}`);
  });

  // Tokens live for minutes and blobs take hours: each resumption finds its token expired.
  test('with a token that has expired gets a new one', async () => {
    await using registry = await registryWithBlob({ auth: { kind: 'bearer', expiresAfterRequests: 1 } });
    await using sources = testSources();
    // The second, third and fourth request: the third is the 401, of which there is nothing to cut.
    registry.misbehave({ match: { kind: 'blob' }, after: 1, times: 3, do: { cutAfter: 1_000_000 } });
    const body = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(registry.count({ kind: 'token' })).toBe(3);
    expect(body.resumed()).toBe(2);
  });

  // A retryable 429 in the middle is waited for in full.
  test('by a rate limit waits as long as it is told', async () => {
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

describe('what cannot be believed is not mixed with what came before', () => {
  test('a server that ignores Range sends the whole, and says so, from the beginning only', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, do: { ignoreRange: true } });
    const blob = sources.at(registry.host).blob(digest, { size: SIZE });
    const body = await blob.open({ start: 0, end: 100 });
    expect(body).toMatchObject({ ranged: false, total: SIZE });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(await failureOf(blob.open({ start: 100 }), 'range-ignored')).toMatchObject({ remedy: 'restart' });
  });

  test('a cut body cannot go on where Range is ignored', async () => {
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
  ] as const)('%o is %s', async (misbehaviour, code, remedy) => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, times: 1, do: { cutAfter: 1_000_000 } });
    registry.misbehave({ match: { kind: 'blob' }, after: 1, do: misbehaviour });
    const body = await sources.at(registry.host).blob(digest, { size: SIZE }).open({ start: 0 });
    expect(await failureOf(collect(body), code)).toMatchObject({ remedy });
  });

  // The descriptor is part of what is proven: another length is another blob, and no second try changes it.
  test.each([SIZE - 1, SIZE + 1])('a blob of another size than %i is refused at once', async (size) => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    const blob = sources.at(registry.host).blob(digest, { size });
    expect(await failureOf(blob.open({ start: 0 }), 'size-mismatch')).toMatchObject({ remedy: 'never' });
    expect(registry.count()).toBe(1);
  });

  test('a body longer than the descriptor says is refused where no header tells', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    registry.misbehave({ match: { kind: 'blob' }, do: { noContentLength: true } });
    const body = await sources
      .at(registry.host)
      .blob(digest, { size: SIZE - 1 })
      .open({ start: 0 });
    await failureOf(collect(body), 'size-mismatch');
  });

  test('a body shorter than the descriptor says is refused where no header tells', async () => {
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

// Backends behind one name that do not agree: the digest decides.
describe('an ETag that changes with every answer', () => {
  test('ends neither a body that is resumed nor ranges side by side', async () => {
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

  test('makes a wrong digest worth another try from the first byte', async () => {
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
  // The registry is asked once; all further ranges go to where it pointed, and never with its Authorization.
  test('is remembered for the blob', async () => {
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

  // Signed addresses expire in the middle of a large blob: the registry is asked again, and the body goes on.
  test('that expires is asked for again', async () => {
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
  test('is fetched from its own address, without asking the registry', async () => {
    await using owner = await registryWithBlob();
    await using registry = await registryWithBlob();
    await using sources = testSources();
    const urls = [`http://${owner.host}/v2/${REPOSITORY}/blobs/${digest}`];
    const body = await sources.at(registry.host).blob(digest, { urls }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
    expect(registry.requests).toEqual([]);
  });

  // It need not be in the registry: that it is not there is no reason to give its own address up.
  test('is asked for again where its own address is down for a moment', async () => {
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

  test('is fetched from the registry where its own addresses fail', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources();
    const urls = ['ftp://old.example/layer', `http://${registry.host}/gone`];
    const body = await sources.at(registry.host).blob(digest, { urls }).open({ start: 0 });
    expect((await collect(body)).equals(bytes)).toBe(true);
  });

  // Its address has something else by now, a page that says so: the registry may well have the layer.
  test('is fetched from the registry where its own address has another length', async () => {
    await using owner = await registryWithBlob();
    await using registry = await registryWithBlob();
    await using sources = testSources();
    owner.pushBlob(digest, Buffer.from('moved'));
    const urls = [`http://${owner.host}/v2/${REPOSITORY}/blobs/${digest}`];
    const blob = () => sources.at(registry.host).blob(digest, { urls, size: bytes.length });
    expect((await collect(await blob().open({ start: 0 }))).equals(bytes)).toBe(true);
    // And where it does not: what its address had is the reason.
    registry.removeBlob(digest);
    await failureOf(blob().open({ start: 0 }), 'size-mismatch');
  });
});

// Whatever its address does, the registry may well have the layer.
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
  await using sources = testSources({ stallMs: 250 });
  owner.misbehave({ do: misbehaviour });
  const urls = [`http://${owner.host}/v2/${REPOSITORY}/blobs/${digest}`];
  const body = await sources.at(registry.host).blob(digest, { urls, size: SIZE }).open({ start: 0 });
  const found = await collect(body);
  expect(found.length).toBe(SIZE);
  expect(registry.count({ kind: 'blob' })).toBe(1);
  expect(owner.count()).toBe(1);
  // What came from a stranger is not a reason to give up: the digest of a second try is that of the registry's bytes.
  const again = await sources.at(registry.host).blob(digest, { urls, size: SIZE }).open({ start: 0 });
  expect((await collect(again)).equals(bytes)).toBe(true);
  expect(owner.count()).toBe(1);
});

test('a foreign layer at a host that is not allowed is fetched from the registry, and the host is never asked', async () => {
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

test('an unknown blob is not asked for twice', async () => {
  await using registry = await registryWithBlob();
  await using sources = testSources();
  const unknown = digestOf(Buffer.from('unknown'));
  const failure = await failureOf(sources.at(registry.host).blob(unknown).open({ start: 0 }), 'blob-unknown');
  expect(failure.message).toContain(`get blob ${registry.host}/library/alpine@${unknown}`);
  expect(registry.count()).toBe(1);
});

describe('a small blob', () => {
  const small = bytes.subarray(0, 5000);
  const smallDigest = digestOf(small);

  test('is proven and bounded', async () => {
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

  test('with a flipped byte is refused, and once more tried whole where it had been pieced together', async () => {
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

describe('whatever ends a body frees its connection and its permit', () => {
  const usable = async (registry: TestRegistry, sources: ReturnType<typeof testSources>): Promise<void> => {
    const body = await sources.at(registry.host).blob(digest).open({ start: 0, end: 10 });
    expect(await collect(body)).toEqual(bytes.subarray(0, 10));
  };

  test('abort before, while opening and while reading', async () => {
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

  test('abort of a body that nobody has begun to read', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources({ connections: 1 });
    const abort = new AbortController();
    const body = await sources.at(registry.host).blob(digest).open({ start: 0 }, { signal: abort.signal });
    abort.abort();
    await usable(registry, sources);
    await failureOf(collect(body), 'aborted');
  });

  // On Lambda nobody sleeps for minutes: it is told at once how long the wait would be, and the queue waits.
  test('a wait that is too long for here is thrown, in full', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources({ longestWaitMs: 1000 });
    registry.misbehave({ match: { kind: 'blob' }, do: { status: 429, headers: { 'retry-after': '600' } } });
    const failure = await failureOf(sources.at(registry.host).blob(digest).open({ start: 0 }), 'rate-limited');
    expect(failure).toMatchObject({ retryAfterMs: 600_000, remedy: 'retry' });
    expect(sources.waits).toEqual([]);
    expect(registry.count({ kind: 'blob' })).toBe(1);
    // The endpoint rests, and not the request: nothing else is sent meanwhile.
    const other = await failureOf(sources.at(registry.host).resolve('1'), 'rate-limited');
    expect(other).toMatchObject({ retryAfterMs: 600_000 });
    expect(registry.count({ kind: 'manifest' })).toBe(0);
  });

  test('a 503 that asks for a wait that is too long for here is thrown, in full', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources({ longestWaitMs: 1000 });
    registry.misbehave({ match: { kind: 'manifest' }, do: { status: 503, headers: { 'retry-after': '2' } } });
    const failure = await failureOf(sources.at(registry.host).resolve('1'), 'unavailable');
    expect(failure).toMatchObject({ retryAfterMs: 2000, remedy: 'retry' });
    expect(registry.count({ kind: 'manifest' })).toBe(1);
  });

  // The time for it is over in the middle of a wait: what was waited for is why, and not that it was stopped.
  test('a wait that its time ends is what was waited for', async () => {
    await using registry = await registryWithBlob();
    let over = new AbortController();
    const sleep = async (ms: number, signal?: AbortSignal): Promise<void> => {
      // As AbortSignal.timeout does, in the middle of the wait.
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

  test('abort while it waits to try again', async () => {
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

  test('closing the sources', async () => {
    await using registry = await registryWithBlob();
    const sources = testSources();
    const body = await sources.at(registry.host).blob(digest).open({ start: 0 });
    await sources.sources.close();
    await failureOf(collect(body), 'aborted');
    expect(sources.waits).toEqual([]);
  });

  test('leaving it in the middle', async () => {
    await using registry = await registryWithBlob();
    await using sources = testSources({ connections: 1 });
    const { body } = await sources.at(registry.host).blob(digest).open({ start: 0 });
    for await (const chunk of body) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    await usable(registry, sources);
  });

  test('refusals of all kinds', async () => {
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
      // Requests of this kind rest for a second.
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
