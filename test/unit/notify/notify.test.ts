/** Signed notifications, and the verification that docs/notifications.md describes. */
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { serveHttp } from '../../kit/http-server.ts';
import { notify, parseReceiver } from '../../../lib/notify/notify.ts';
import { parseKey, sign } from '../../../lib/notify/signature.ts';

const KEY_TEXT = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const KEY = parseKey(KEY_TEXT, 'key');
const NOW = Date.UTC(2026, 0, 31);
const BODY = JSON.stringify({ type: 'run.finished', data: { run: 'run-1' } });

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** The example in docs/notifications.md. */
const { verify } = (await import(join(import.meta.dirname, '../../../examples/verify-notification.js'))) as {
  verify: (headers: Headers, body: string, key: string, now?: number) => boolean;
};

let received: { readonly headers: Headers; readonly body: string; readonly url: string | undefined }[];
let waits: number[];
let answers: { readonly status: number; readonly headers?: Readonly<Record<string, string>> }[];
let url: URL;

beforeEach(async () => {
  [received, waits, answers] = [[], [], []];
  const server = await serveHttp(({ headers, body, path }) => {
    received.push({ headers, body, url: path });
    const { status, headers: more = {} } = answers.shift() ?? { status: 200 };
    return [status, more, status === 204 ? '' : 'x'.repeat(100)];
  });
  onTestFinished(() => server[Symbol.asyncDispose]());
  url = new URL(`http://${server.host}/hook?token=x`);
});

function send(to = url): Promise<void> {
  return notify(
    { url: to, id: 'run-1', body: BODY, key: KEY },
    {
      signal: AbortSignal.timeout(60_000),
      now: () => NOW,
      wait: (ms) => Promise.resolve(void waits.push(ms)),
    },
  );
}

describe('a notification', () => {
  test('is signed, and the documented example verifies it', async () => {
    await send();
    const [one] = received;
    expect(one).toMatchObject({ body: BODY, url: '/hook?token=x' });
    expect(one?.headers).toMatchObject({
      'webhook-id': 'run-1',
      'idempotency-key': 'run-1',
      'webhook-timestamp': String(NOW / 1_000),
      'content-type': 'application/json',
    });
    const verified = (headers: Headers, body = BODY, now = NOW, key = KEY_TEXT): boolean =>
      verify(headers, body, key, now);
    const headers = one?.headers ?? {};
    expect(verified(headers)).toBe(true);
    expect(verified(headers, `${BODY} `)).toBe(false);
    expect(verified({ ...headers, 'webhook-id': 'run-2' })).toBe(false);
    expect(verified({ ...headers, 'webhook-timestamp': String(NOW / 1_000 + 1) })).toBe(false);
    expect(verified(headers, BODY, NOW + 6 * 60_000)).toBe(false);
    expect(verified(headers, BODY, NOW, `whsec_${Buffer.alloc(32, 8).toString('base64')}`)).toBe(false);
    expect(verified({})).toBe(false);
  });

  // https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
  test('has the signature of the specification for its example', () => {
    const key = parseKey('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'key');
    expect(sign('msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, '{"test": 2432232314}', key)['webhook-signature']).toBe(
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    );
  });

  test('is sent again after a temporary failure, with the same id', async () => {
    answers = [{ status: 503 }, { status: 429, headers: { 'retry-after': '7' } }, { status: 204 }];
    await send();
    expect(received.map(({ headers }) => headers['webhook-id'])).toEqual(['run-1', 'run-1', 'run-1']);
    expect(waits).toEqual([expect.any(Number), 7_000]);
    answers = Array.from({ length: 9 }, () => ({ status: 500 }));
    await expect(send()).rejects.toMatchObject({ code: 'unavailable', detail: 'expected status 2xx, got 500' });
    expect(received).toHaveLength(3 + 5);
  });

  test('that cannot be sent fails with the reason and without the path of the URL', async () => {
    const failures = [
      [new URL('http://127.0.0.1:1/geheim'), 'bad port'],
      [new URL('http://user:geheim@127.0.0.1:1/geheim'), 'the request cannot be sent'],
      [new URL('http://127.0.0.1:2/geheim?geheim'), 'the connection was refused'],
    ] as const;
    for (const [to, reason] of failures)
      await expect(send(to)).rejects.toMatchObject({
        code: 'network',
        message: `notify ${to.protocol}//${to.host}: ${reason}`,
      });
  });

  test('is not sent again after a refusal, and does not follow a redirect', async () => {
    for (const status of [400, 401, 404, 302]) {
      answers = [{ status, headers: { location: 'http://127.0.0.1:1/' } }];
      await expect(send()).rejects.toMatchObject({ code: 'denied', status });
    }
    expect(received).toHaveLength(4);
    // Errors do not show the path and the query, which may have a token.
    answers = [{ status: 400 }];
    await expect(send()).rejects.not.toThrow(/token/);
  });
});

test('a receiver is an HTTPS URL, or an HTTP URL of this machine', () => {
  for (const good of ['https://hooks.example/x', 'http://localhost:1/x', 'http://127.0.0.1/', 'http://[::1]:8/'])
    expect(parseReceiver(good, 'read').href).toBe(new URL(good).href);
  for (const bad of ['http://hooks.example/x', 'ftp://x', 'x', '', 'http://localhost.evil.example/'])
    expect(() => parseReceiver(bad, 'read')).toThrow('expected a URL that begins with https://');
});

test('a receiver with a user or a password is refused, and the message has no part of it', () => {
  for (const bad of ['https://user:geheim@h/x', 'https://geheim@h', 'https://:geheim@h', 'http://u:geheim@localhost/'])
    expect(() => parseReceiver(bad, 'read')).toThrow(/^read: expected a URL without a user and a password(?!.*geheim)/);
});

test('a key of fewer than 24 bytes is refused', () => {
  expect(parseKey('a'.repeat(24), 'KEY')).toEqual(Buffer.from('a'.repeat(24)));
  for (const bad of ['', 'short', 'whsec_YWJj'])
    expect(() => parseKey(bad, 'KEY')).toThrow(/^read KEY: expected a key of at least 24 bytes/);
});
