import { setTimeout as delay } from 'node:timers/promises';
import { asFailure, Failure } from '../core/failure.ts';
import { decide, type RetryPolicy } from '../core/retry.ts';

/** Waits for a time in milliseconds. */
export type Wait = (ms: number, operation: string, signal: AbortSignal | undefined) => Promise<void>;

/**
 * Retries when other writers of one tag index, or receipt, commit first. Messages are grouped so that conflicts are
 * rare.
 */
const CONFLICTS: RetryPolicy = { tries: 12, baseMs: 50, capMs: 2_000 };

/** Waits so that another writer can finish; throws errors that are not conflicts, and the last permitted conflict. */
export async function afterConflict(
  error: unknown,
  attempt: number,
  { key, wait, signal }: { readonly key: string; readonly wait: Wait; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const failure = asFailure(error, `write ${key}`, 'archive');
  const decision = decide(failure, attempt, CONFLICTS, Math.random());
  if (failure.code !== 'precondition-failed' || !decision.again) throw failure;
  await wait(decision.afterMs, failure.operation, signal);
}

/** Another writer has replaced the version that this one has read. */
export function conflict(key: string): Failure {
  const detail = 'another version is there; try again';
  return new Failure({ operation: `write ${key}`, side: 'archive', code: 'precondition-failed', detail });
}

export async function sleep(ms: number, operation: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    throw asFailure(error, operation, 'archive');
  }
}
