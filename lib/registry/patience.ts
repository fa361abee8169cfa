import { setTimeout as delay } from 'node:timers/promises';
import type { Failure } from '../base/failure.ts';
import { decide, type RetryPolicy } from '../base/retry.ts';

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
  /** Waits longer than this, in milliseconds, are left to the caller, who is told at once how long; none unless told. */
  readonly longestMs?: number | undefined;
  readonly onRetry?: ((info: RetryInfo) => void) | undefined;
}

/**
 * Waits before the next try, or throws the failure where there is to be none, or not here: because the wait would be too
 * long, or because the time for it was over. The failure says how long, so that whoever has the time waits that out.
 */
export async function waitOrThrow(
  failure: Failure,
  attempt: number,
  patience: Patience,
  signal?: AbortSignal,
): Promise<void> {
  const decision = decide(failure, attempt, patience.policy, patience.random());
  if (!decision.again || decision.afterMs > (patience.longestMs ?? Infinity)) throw failure;
  patience.onRetry?.({ failure, attempt, afterMs: decision.afterMs });
  try {
    await patience.sleep(decision.afterMs, signal);
  } catch (thrown) {
    throw isOutOfTime(signal) ? failure : thrown;
  }
}

/** Whether it was aborted by its own clock (`AbortSignal.timeout`), and not on request. */
function isOutOfTime(signal: AbortSignal | undefined): boolean {
  const reason: unknown = signal?.reason;
  return reason instanceof DOMException && reason.name === 'TimeoutError';
}

/** The longest time that a timer can be set to; a longer one would fire at once. */
const TIMER_MAX_MS = 2 ** 31 - 1;

export async function realSleep(ms: number, signal?: AbortSignal): Promise<void> {
  for (let left = ms; left > 0; left -= TIMER_MAX_MS)
    await delay(Math.min(left, TIMER_MAX_MS), undefined, signal === undefined ? {} : { signal });
}
