import type { Failure } from './failure.ts';

/** The number of tries and the waits between them; all times in milliseconds. */
export interface RetryPolicy {
  /** All tries, including the first one. */
  readonly tries: number;
  /** Upper bound of the first wait; it doubles with every further try. */
  readonly baseMs: number;
  /** Upper bound of the doubling. A Retry-After may be longer: it is honoured in full. */
  readonly capMs: number;
}

export const PATIENT: RetryPolicy = { tries: 6, baseMs: 250, capMs: 20_000 };

export type Decision = { readonly again: true; readonly afterMs: number } | { readonly again: false };

/**
 * Decides whether to try again after `failure`, and when. The wait is random below an exponential bound (full jitter),
 * and never shorter than the other side asked for (RFC 9110, section 10.2.3: Retry-After).
 *
 * @param attempt the number of failed tries so far, 1 after the first
 * @param random a number from 0 to 1, which keeps the decision a pure function
 */
export function decide(failure: Failure, attempt: number, policy: RetryPolicy, random: number): Decision {
  if (failure.remedy === 'never' || failure.code === 'aborted' || attempt >= policy.tries) return { again: false };
  const bound = Math.min(policy.capMs, policy.baseMs * 2 ** (attempt - 1));
  const jittered = Math.ceil(bound * random);
  return { again: true, afterMs: Math.max(jittered, failure.retryAfterMs ?? 0) };
}

/** A kind of request that is retried. */
export interface Retries {
  /** The failure of a try. */
  readonly failureOf: (thrown: unknown) => Failure;
  readonly decide: (failure: Failure, attempt: number) => Decision;
  /** Waits before the next try. A rejection ends the retries. */
  readonly wait: (ms: number, failure: Failure, attempt: number) => Promise<void>;
}

/** Runs `work` until it succeeds. Throws the failure of a try that must not be repeated. */
export async function retrying<T>(work: (attempt: number) => Promise<T>, retries: Retries): Promise<T> {
  for (let attempt = 1; ; attempt += 1)
    try {
      return await work(attempt);
    } catch (thrown) {
      await beforeRetry(retries.failureOf(thrown), attempt, retries);
    }
}

/** Waits before the next try. Throws the failure if there is none. */
export async function beforeRetry(
  failure: Failure,
  attempt: number,
  { decide: decision, wait }: Pick<Retries, 'decide' | 'wait'>,
): Promise<void> {
  const next = decision(failure, attempt);
  if (!next.again) throw failure;
  await wait(next.afterMs, failure, attempt);
}
