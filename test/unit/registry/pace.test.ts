/** The rate of requests to an endpoint, on a simulated clock: a token bucket behind a slow connection. */
import { describe, expect, test } from 'vitest';
import { Failure } from '../../../lib/core/failure.ts';
import { beforeRetry, PATIENT } from '../../../lib/core/retry.ts';
import { Semaphore } from '../../../lib/core/semaphore.ts';
import { PacedWire } from '../../../lib/registry/http/paced-wire.ts';
import { retriesOf } from '../../../lib/registry/http/retry-wait.ts';
import { failureOf } from './helpers.ts';
import { VirtualClock } from './virtual-clock.ts';
import type { HttpRequest, Persistence, Reply, ReplyBody } from '../../../lib/registry/http/message.ts';

const RATE_EXCEEDED = '{"errors":[{"code":"TOOMANYREQUESTS","message":"Rate exceeded"}]}';
const HTML = '<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>';

interface Refusal {
  readonly status: number;
  readonly body?: string;
  readonly retryAfter?: string;
}

function bodyOf(text: string): ReplyBody {
  const chunks = [Buffer.from(text)];
  return { read: () => Promise.resolve(chunks.shift()), cancel: () => undefined, expectShort: () => undefined };
}

interface Limit {
  readonly allows: (now: number, request: HttpRequest) => boolean;
  readonly refusal: Refusal;
  readonly latencyMs?: number;
}

/** R requests per second, which is also the burst after a pause. */
function tokenBucket(rate: number, burst = rate): (now: number) => boolean {
  let tokens = burst;
  let last = 0;
  return (now) => {
    tokens = Math.min(burst, tokens + ((now - last) / 1000) * rate);
    last = now;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
}

/** This number of requests in each window of time. */
function fixedWindow(limit: number, windowMs: number): (now: number) => boolean {
  let current = -1;
  let count = 0;
  return (now) => {
    const window = Math.floor(now / windowMs);
    if (window !== current) count = 0;
    current = window;
    count += 1;
    return count <= limit;
  };
}

class Scene {
  readonly clock = new VirtualClock();
  readonly wire: PacedWire;
  readonly waits: Failure[] = [];
  readonly attempts: number[] = [];
  readonly permits: Semaphore;
  readonly seen: { readonly method: string; readonly path: string; readonly at: number; readonly status: number }[] =
    [];

  constructor(
    limit: Limit,
    options: { readonly concurrency?: number; readonly maxMs?: number; longestMs?: number } = {},
  ) {
    const { concurrency = 12, maxMs, longestMs } = options;
    this.permits = new Semaphore(concurrency);
    const send = async (request: HttpRequest): Promise<Reply> => {
      await this.clock.sleep((limit.latencyMs ?? 2) / 2);
      const { refusal } = limit;
      const at = this.clock.now();
      const status = limit.allows(at, request) ? 200 : refusal.status;
      this.seen.push({ method: request.method, path: request.url.pathname, at, status });
      await this.clock.sleep((limit.latencyMs ?? 2) / 2);
      const headers = status === 200 || refusal.retryAfter === undefined ? {} : { 'retry-after': refusal.retryAfter };
      return { status, headers, url: request.url, body: bodyOf(status === 200 ? 'ok' : (refusal.body ?? '')) };
    };
    const retry = {
      policy: PATIENT,
      random: () => 0.5,
      sleep: this.clock.sleep,
      maxMs,
      longestMs,
      onRetry: ({ failure, attempt }: { readonly failure: Failure; readonly attempt: number }) => {
        this.waits.push(failure);
        this.attempts.push(attempt);
      },
    };
    this.wire = new PacedWire(
      { send, speaksTls: () => false, proxyTo: () => undefined },
      { retry, now: this.clock.now },
    );
    this.retry = retry;
  }

  readonly retry;

  /** One request; a final refusal is thrown, as by the registry client. */
  async ask(method: 'GET' | 'HEAD', path: string, persistence?: Persistence): Promise<void> {
    const url = new URL(path, 'http://registry.example');
    await this.permits.with(async () => {
      const reply = await this.wire.send({ operation: `ask for ${path}`, method, url, headers: {}, persistence });
      if (reply.status === 200) return;
      const code = reply.status === 429 ? 'rate-limited' : 'unavailable';
      const failure = { operation: 'ask', side: 'source', code, detail: 'refused', status: reply.status } as const;
      await beforeRetry(new Failure(failure), 1, retriesOf(this.retry, 'ask', undefined));
    });
  }

  /** The requests of a sync of tags that name one image: a HEAD for each, and the content for the first ones. */
  async sync(tags: number): Promise<void> {
    await this.ask('GET', '/v2/team/app/tags/list');
    const all = Array.from({ length: tags }, async (_, n) => {
      await this.ask('HEAD', `/v2/team/app/manifests/t${n}`);
      if (n >= 12) return;
      await this.ask('GET', `/v2/team/app/manifests/sha256:${n}`);
      await this.ask('GET', '/token');
      await this.ask('GET', `/v2/team/app/blobs/sha256:${n}`);
    });
    await Promise.all(all);
  }

  get refused(): number {
    return this.seen.filter(({ status }) => status !== 200).length;
  }

  /** The part of all requests that was refused. */
  get refusedPart(): number {
    return this.refused / this.seen.length;
  }

  /** Seconds. */
  get elapsed(): number {
    return this.clock.now() / 1000;
  }
}

const REFUSALS: Readonly<Record<string, Refusal>> = {
  '429': { status: 429, body: RATE_EXCEEDED },
  '503 and HTML': { status: 503, body: HTML },
  '429 and Retry-After: 1': { status: 429, body: RATE_EXCEEDED, retryAfter: '1' },
  '403 that names the limit': { status: 403, body: RATE_EXCEEDED },
};

describe('a registry that allows 20 requests per second', () => {
  for (const [name, refusal] of Object.entries(REFUSALS))
    for (const concurrency of [1, 12, 64])
      for (const latencyMs of [1, 20])
        test(`serves 300 tags to ${concurrency} concurrent requests, with ${name} after ${latencyMs} ms`, async () => {
          const scene = new Scene({ allows: tokenBucket(20), refusal, latencyMs }, { concurrency });
          await scene.clock.run(scene.sync(300));
          const requests = scene.seen.length - scene.refused;
          expect(scene.elapsed).toBeLessThan((1.5 * (requests - 20)) / 20);
          expect(scene.refusedPart).toBeLessThan(0.1);
        });
});

describe('a registry that allows 5 requests per second', () => {
  for (const [name, refusal] of Object.entries(REFUSALS))
    for (const concurrency of [1, 12])
      test(`serves 100 tags to ${concurrency} concurrent requests, with ${name}`, async () => {
        const scene = new Scene({ allows: tokenBucket(5), refusal }, { concurrency });
        await scene.clock.run(scene.sync(100));
        const requests = scene.seen.length - scene.refused;
        expect(scene.elapsed).toBeLessThan((1.5 * (requests - 5)) / 5);
        expect(scene.refusedPart).toBeLessThan(0.1);
      });

  // Each refusal costs ten seconds, so a higher rate is rarely worth one.
  test('serves 100 tags with Retry-After: 10', async () => {
    const refusal = { status: 429, body: RATE_EXCEEDED, retryAfter: '10' };
    const scene = new Scene({ allows: tokenBucket(5), refusal });
    await scene.clock.run(scene.sync(100));
    expect(scene.elapsed).toBeLessThan(60);
    expect(scene.refusedPart).toBeLessThan(0.1);
  });
});

test.each([
  ['a window of a minute', fixedWindow(100, 60_000), 240],
  ['a window of a second', fixedWindow(20, 1000), 30],
  ['no burst', tokenBucket(20, 1), 30],
  ['a large burst', tokenBucket(5, 100), 60],
])('a limit with %s fails no request', async (_, allows, seconds) => {
  const scene = new Scene({ allows, refusal: { status: 429 } });
  await scene.clock.run(scene.sync(300));
  expect(scene.elapsed).toBeLessThan(seconds);
  expect(scene.refusedPart).toBeLessThan(0.15);
});

test('sends to an endpoint that never refuses without any wait', async () => {
  const scene = new Scene({ allows: () => true, refusal: { status: 429 } });
  await scene.clock.run(scene.sync(300));
  expect(scene.elapsed).toBeLessThan(0.1);
});

test('pauses once for all requests, and probes the endpoint with one of them', async () => {
  let open = true;
  const scene = new Scene({ allows: () => open, refusal: { status: 429, retryAfter: '5' } });
  await scene.clock.run(scene.sync(10));
  open = false;
  const began = scene.clock.now();
  const rest = scene.sync(20);
  await scene.clock.run(scene.clock.sleep(12_000));
  open = true;
  await scene.clock.run(rest);
  const refused = scene.seen.filter(({ status }) => status !== 200).map(({ at }) => Math.round((at - began) / 1000));
  expect(refused).toEqual([0, 5, 10]);
});

describe('an endpoint that refuses every request', () => {
  test('fails as rate-limited after the usual tries, for all requests together', async () => {
    const scene = new Scene({ allows: () => false, refusal: { status: 429, body: RATE_EXCEEDED } });
    const all = Array.from({ length: 100 }, (_, n) =>
      failureOf(scene.ask('GET', `/v2/a/manifests/${n}`), 'rate-limited'),
    );
    await scene.clock.run(Promise.all(all));
    expect(scene.elapsed).toBeLessThan(20);
    expect(scene.seen.length).toBeLessThan(12 + PATIENT.tries);
    expect(new Set(scene.attempts)).toEqual(new Set([1, 2, 3]));
  });

  test('gets more than a minute if it has accepted requests before', async () => {
    let open = true;
    const scene = new Scene({ allows: () => open, refusal: { status: 429 } });
    await scene.clock.run(scene.ask('GET', '/v2/a/manifests/1'));
    open = false;
    await scene.clock.run(failureOf(scene.ask('GET', '/v2/a/manifests/2'), 'rate-limited'));
    expect(scene.seen.length).toBe(1 + 2 * PATIENT.tries);
    expect(scene.elapsed).toBeGreaterThan(60);
    // One more request finds out whether others are refused as well; the others fail without being sent.
    const all = Array.from({ length: 50 }, (_, n) =>
      failureOf(scene.ask('GET', `/v2/a/manifests/${n}`), 'rate-limited'),
    );
    await scene.clock.run(Promise.all(all));
    expect(scene.seen.length).toBe(1 + 2 * PATIENT.tries + 1);
    await scene.clock.run(scene.clock.sleep(1000));
    open = true;
    await scene.clock.run(scene.sync(20));
  });

  // Docker Hub counts GET of manifests, but neither HEAD nor blobs.
  test('for one kind of request does not block other kinds', async () => {
    const allows = (_: number, { method }: HttpRequest): boolean => method === 'HEAD';
    const scene = new Scene({ allows, refusal: { status: 429 } });
    const gets = Array.from({ length: 5 }, (_, n) =>
      failureOf(scene.ask('GET', `/v2/a/manifests/${n}`), 'rate-limited'),
    );
    const heads = Array.from({ length: 50 }, (_, n) => scene.ask('HEAD', `/v2/a/manifests/${n}`));
    await scene.clock.run(Promise.all([...gets, ...heads]));
    expect(scene.elapsed).toBeLessThan(180);
  });
});

describe('a wait beyond the limit', () => {
  test('is thrown without another request if a queue can wait instead', async () => {
    const scene = new Scene(
      { allows: () => false, refusal: { status: 429, retryAfter: '600' } },
      { longestMs: 20_000 },
    );
    await scene.clock.run(failureOf(scene.ask('GET', '/v2/a/manifests/1'), 'rate-limited'));
    const failure = await scene.clock.run(failureOf(scene.ask('GET', '/v2/a/manifests/2'), 'rate-limited'));
    expect(failure.retryAfterMs).toBeGreaterThan(590_000);
    expect(scene.seen.length).toBe(1);
    expect(scene.elapsed).toBeLessThan(1);
  });

  test.each(['901', '315360000', '9'.repeat(400)])('fails at once with Retry-After: %s', async (retryAfter) => {
    const scene = new Scene({ allows: () => false, refusal: { status: 429, retryAfter } }, { maxMs: 900_000 });
    await scene.clock.run(failureOf(scene.ask('GET', '/v2/a/manifests/1'), 'rate-limited'));
    expect(scene.elapsed).toBeLessThan(1);
  });

  test('fails once the pauses together are longer', async () => {
    const scene = new Scene({ allows: () => false, refusal: { status: 429, retryAfter: '400' } }, { maxMs: 900_000 });
    await scene.clock.run(failureOf(scene.ask('GET', '/v2/a/manifests/1'), 'rate-limited'));
    expect(scene.elapsed).toBeLessThan(900);
    expect(scene.seen.length).toBe(3);
  });
});

// A 503 for one invalid manifest says nothing about a rate.
test.each([1, 12])('a request that alone is answered 503 fails, and the others of %i succeed', async (concurrency) => {
  const allows = (_: number, { url }: HttpRequest): boolean => !url.pathname.endsWith('/t7');
  const scene = new Scene({ allows, refusal: { status: 503 } }, { concurrency });
  const asked = Array.from({ length: 200 }, (_, n) => scene.ask('GET', `/v2/team/app/manifests/t${n}`));
  const outcomes = await scene.clock.run(Promise.allSettled(asked));
  expect(outcomes.flatMap(({ status }, n) => (status === 'rejected' ? [n] : []))).toEqual([7]);
  // No other request succeeds meanwhile if only one is sent at a time.
  expect(scene.elapsed).toBeLessThan(concurrency === 1 ? 120 : 30);
});

test('a refusal is returned at once if another endpoint can be asked', async () => {
  const scene = new Scene({ allows: () => false, refusal: { status: 429, retryAfter: '600' } });
  await scene.clock.run(failureOf(scene.ask('GET', '/v2/a/manifests/1', 'once'), 'rate-limited'));
  expect(scene.elapsed).toBeLessThan(1);
});

test('an aborted request leaves its turn to the others', async () => {
  let open = false;
  const scene = new Scene({ allows: () => open, refusal: { status: 429, retryAfter: '5' } });
  const abort = new AbortController();
  const url = new URL('http://registry.example/v2/a/manifests/1');
  const request = { operation: 'ask', method: 'GET', url, headers: {} } as const;
  const stopped = scene.wire.send(request, abort.signal).then(
    () => 'sent',
    () => 'stopped',
  );
  await scene.clock.run(scene.clock.sleep(100));
  const other = scene.ask('GET', '/v2/a/manifests/2');
  abort.abort();
  expect(await scene.clock.run(stopped)).toBe('stopped');
  open = true;
  await scene.clock.run(other);
  expect(scene.seen.length).toBe(2);
});
