import type { Failure } from './failure.ts';

/** How often and how long to wait between tries; all times in milliseconds. */
export interface RetryPolicy {
  /** Tries in all, the first one included. */
  readonly tries: number;
  /** Upper bound of the first wait; it doubles with every further try. */
  readonly baseMs: number;
  /** Where the doubling stops. A Retry-After may be longer: it is honoured in full. */
  readonly capMs: number;
}

export const PATIENT: RetryPolicy = { tries: 6, baseMs: 250, capMs: 20_000 };

export type Decision = { readonly again: true; readonly afterMs: number } | { readonly again: false };

/**
 * Whether to try again after `failure`, and when. Full jitter over an exponential bound, and never sooner than the other
 * side asked (RFC 9110, section 10.2.3: Retry-After).
 *
 * @param attempt how many tries have failed so far, 1 for the first
 * @param random a number from 0 to 1, so that the decision is a function of values
 */
export function decide(failure: Failure, attempt: number, policy: RetryPolicy, random: number): Decision {
  if (failure.remedy === 'never' || failure.code === 'aborted' || attempt >= policy.tries) return { again: false };
  const bound = Math.min(policy.capMs, policy.baseMs * 2 ** (attempt - 1));
  const jittered = Math.ceil(bound * random);
  return { again: true, afterMs: Math.max(jittered, failure.retryAfterMs ?? 0) };
}
