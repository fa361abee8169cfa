/** Sends one notification to a URL, with retries. */
import { setTimeout as delay } from 'node:timers/promises';
import { asFailure, Failure, invalid } from '../core/failure.ts';
import { parseRetryAfter } from '../core/http/time.ts';
import { decide, retrying, type RetryPolicy } from '../core/retry.ts';
import { USER_AGENT } from '../core/product.ts';
import { wordsFor } from '../core/system-error.ts';
import { sign } from './signature.ts';

export interface Notification {
  readonly url: URL;
  /** The id of the notification, the same in all tries. */
  readonly id: string;
  /** JSON */
  readonly body: string;
  readonly key: Uint8Array;
}

export interface NotifyOptions {
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** The waits between tries, together at most about 90 seconds. */
const POLICY: RetryPolicy = { tries: 5, baseMs: 1_000, capMs: 15_000 };
const TIMEOUT_MS = 10_000;
/** The longest wait that a receiver may ask for. */
const MAX_RETRY_AFTER_MS = 30_000;

/** A URL without the parts that may contain a secret, for messages. */
function nameOf({ protocol, host }: URL): string {
  return `${protocol}//${host}`;
}

/**
 * Parses the URL of a receiver: HTTPS, or HTTP on this machine. fetch refuses a URL with a user or a password.
 *
 * @throws Failure `invalid`
 */
export function parseReceiver(text: string, operation: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isLocal = url?.protocol === 'http:' && /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (url === undefined || (url.protocol !== 'https:' && !isLocal))
    throw invalid(operation, 'expected a URL that begins with https://');
  if (url.username === '' && url.password === '') return url;
  throw invalid(operation, 'expected a URL without a user and a password; the receiver verifies the signature instead');
}

/**
 * Sends a notification. Redirects are not followed.
 *
 * @throws Failure if the receiver has not accepted it
 */
export async function notify(notification: Notification, options: NotifyOptions): Promise<void> {
  const { signal, wait = sleep } = options;
  await retrying(() => send(notification, options), {
    failureOf: (error) => asFailure(error, `notify ${nameOf(notification.url)}`, 'archive'),
    decide: (failure, attempt) => (signal.aborted ? { again: false } : decide(failure, attempt, POLICY, Math.random())),
    wait: (ms) => wait(ms, signal),
  });
}

async function send({ url, id, body, key }: Notification, { signal, now = Date.now }: NotifyOptions): Promise<void> {
  const operation = `notify ${nameOf(url)}`;
  const common = { operation, side: 'archive' } as const;
  const headers = {
    'content-type': 'application/json',
    'user-agent': USER_AGENT,
    ...sign(id, Math.floor(now() / 1_000), body, key),
  };
  let response: Response;
  try {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
    response = await fetch(url, { method: 'POST', headers, body, redirect: 'manual', signal: limited });
    await response.body?.cancel();
  } catch (error) {
    const code = signal.aborted ? 'aborted' : 'network';
    throw new Failure({ ...common, code, detail: reasonOf(error), cause: error });
  }
  const { status } = response;
  if (status >= 200 && status < 300) return;
  const isTemporary = status === 408 || status === 425 || status === 429 || status >= 500;
  const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'), now());
  throw new Failure({
    ...common,
    code: isTemporary ? 'unavailable' : 'denied',
    detail: `expected status 2xx, got ${status}`,
    status,
    retryAfterMs: retryAfterMs === undefined ? undefined : Math.min(retryAfterMs, MAX_RETRY_AFTER_MS),
  });
}

/** fetch names the URL, whose path and query may be secret, only in errors without a cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no response within ${TIMEOUT_MS / 1_000} s`;
  if (error.name === 'AbortError') return 'stopped on request';
  return error.cause instanceof Error ? wordsFor(error.cause) : 'the request cannot be sent';
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal });
}
