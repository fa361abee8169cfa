import { setTimeout as delay } from 'node:timers/promises';
import { Failure } from '../../core/failure.ts';
import { decide, type Retries, type RetryPolicy } from '../../core/retry.ts';
import { sourceFailure } from '../errors.ts';
import { inWords } from './duration.ts';

export interface RetryInfo {
  readonly failure: Failure;
  /** The number of consecutive failures, including this one. */
  readonly attempt: number;
  /** The wait before the next try, in milliseconds. */
  readonly afterMs: number;
}

/** The retry policy, its limits, and its random numbers and timers, which tests replace. */
export interface RetryOptions {
  readonly policy: RetryPolicy;
  readonly random: () => number;
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** For a longer wait, in milliseconds, the failure is thrown with its Retry-After. Default: no limit. */
  readonly longestMs?: number | undefined;
  /** A longer wait, in milliseconds, is a final failure. Default: no limit. */
  readonly maxMs?: number | undefined;
  readonly onRetry?: ((info: RetryInfo) => void) | undefined;
}

/** Whether the failure is, or may be, a rate limit. */
export function isRefusal(failure: Failure): boolean {
  return failure.code === 'rate-limited' || failure.status === 503;
}

/**
 * The retries of a request. The failure is thrown if no tries are left, if the wait exceeds the limit, or if the caller's
 * time is over; a caller with more time finds the wait in the failure. Rate limits are handled in `paced-wire.ts`.
 */
export function retriesOf(retry: RetryOptions, operation: string, signal: AbortSignal | undefined): Retries {
  const { longestMs = Infinity, maxMs = Infinity } = retry;
  return {
    failureOf(thrown) {
      const failure = sourceFailure(thrown, operation, signal);
      return (failure.retryAfterMs ?? 0) > maxMs && failure.remedy !== 'never' ? tooLong(failure, maxMs) : failure;
    },
    decide(failure, attempt) {
      if (isRefusal(failure)) return { again: false };
      const next = decide(failure, attempt, retry.policy, retry.random());
      return next.again && next.afterMs > longestMs ? { again: false } : next;
    },
    async wait(afterMs, failure, attempt) {
      retry.onRetry?.({ failure, attempt, afterMs });
      try {
        await retry.sleep(afterMs, signal);
      } catch (thrown) {
        throw isOutOfTime(signal) ? failure : sourceFailure(thrown, operation, signal);
      }
    },
  };
}

/** A wait above the maximum is final. */
function tooLong(failure: Failure, maxMs: number): Failure {
  const { operation, side, code, status, cause } = failure;
  const detail = `${failure.detail}; the maximum wait is ${inWords(maxMs)} (--max-wait)`;
  return new Failure({ operation, side, code, detail, remedy: 'never', status, cause });
}

/** Whether the signal was aborted by its timeout (`AbortSignal.timeout`), and not on request. */
export function isOutOfTime(signal: AbortSignal | undefined): boolean {
  const reason: unknown = signal?.reason;
  return reason instanceof DOMException && reason.name === 'TimeoutError';
}

/** The maximum delay of a timer; a longer one fires immediately. */
const TIMER_MAX_MS = 2 ** 31 - 1;

export async function realSleep(ms: number, signal?: AbortSignal): Promise<void> {
  for (let left = ms; left > 0; left -= TIMER_MAX_MS) await delay(Math.min(left, TIMER_MAX_MS), undefined, { signal });
}
