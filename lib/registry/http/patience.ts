import { setTimeout as delay } from 'node:timers/promises';
import { Failure } from '../../core/failure.ts';
import { decide, type RetryPolicy } from '../../core/retry.ts';
import { inWords } from './duration.ts';

export interface RetryInfo {
  readonly failure: Failure;
  /** How many tries have failed in a row, this one included. */
  readonly attempt: number;
  /** How long it is waited before the next one, in milliseconds. */
  readonly afterMs: number;
}

/** How failures are waited out; what is random or takes time can be replaced. */
export interface Patience {
  readonly policy: RetryPolicy;
  readonly random: () => number;
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** A longer wait, in milliseconds, is left to the caller: the failure says how long it is. No limit unless given. */
  readonly longestMs?: number | undefined;
  /** A longer wait, in milliseconds, is a final failure. No limit unless given. */
  readonly maxMs?: number | undefined;
  readonly onRetry?: ((info: RetryInfo) => void) | undefined;
}

/** Whether an endpoint has refused a request for a rate limit, as far as can be told. */
export function isRefusal(failure: Failure): boolean {
  return failure.code === 'rate-limited' || failure.status === 503;
}

/**
 * Waits before the next try, or throws the failure where there is to be none, or not here: because the wait would be too
 * long, or because the time for it was over. The failure says how long, so that a caller with more time waits that out. A
 * refusal for a rate limit has been waited out already (`paced-wire.ts`).
 */
export async function waitOrThrow(
  failure: Failure,
  attempt: number,
  patience: Patience,
  signal?: AbortSignal,
): Promise<void> {
  const { longestMs, maxMs = Infinity } = patience;
  if ((failure.retryAfterMs ?? 0) > maxMs && failure.remedy !== 'never') throw tooLong(failure, maxMs);
  if (isRefusal(failure)) throw failure;
  const decision = decide(failure, attempt, patience.policy, patience.random());
  if (!decision.again || decision.afterMs > (longestMs ?? Infinity)) throw failure;
  patience.onRetry?.({ failure, attempt, afterMs: decision.afterMs });
  try {
    await patience.sleep(decision.afterMs, signal);
  } catch (thrown) {
    throw isOutOfTime(signal) ? failure : thrown;
  }
}

/** A wait that nobody sits out is a failure at once, and at every later try. */
function tooLong({ operation, side, code, detail, status, cause }: Failure, maxMs: number): Failure {
  return new Failure({
    operation,
    side,
    code,
    detail: `${detail}; the longest wait is ${inWords(maxMs)} (--max-wait)`,
    remedy: 'never',
    cause,
    ...(status === undefined ? {} : { status }),
  });
}

/** Whether it was aborted by its own clock (`AbortSignal.timeout`), and not on request. */
export function isOutOfTime(signal: AbortSignal | undefined): boolean {
  const reason: unknown = signal?.reason;
  return reason instanceof DOMException && reason.name === 'TimeoutError';
}

/** The longest time that a timer can be set to; a longer one would fire at once. */
const TIMER_MAX_MS = 2 ** 31 - 1;

export async function realSleep(ms: number, signal?: AbortSignal): Promise<void> {
  for (let left = ms; left > 0; left -= TIMER_MAX_MS)
    await delay(Math.min(left, TIMER_MAX_MS), undefined, signal === undefined ? {} : { signal });
}
