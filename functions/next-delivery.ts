import type { SQSRecord } from 'aws-lambda';
import { Failure } from '../lib/core/failure.ts';
import { decide, type RetryPolicy } from '../lib/core/retry.ts';

/** The waits between deliveries; a Retry-After is honoured up to SQS's limit. */
const DELIVERIES: RetryPolicy = { tries: Infinity, baseMs: 5_000, capMs: 300_000 };

/** The waits after a rate limit without a Retry-After. Quotas are per minute or hour, so 5 deliveries take 15 minutes. */
const THROTTLED: RetryPolicy = { tries: Infinity, baseMs: 60_000, capMs: 900_000 };

/** SQS's limit of 12 hours after the receipt, minus the maximum time of the function and of its start, in seconds. */
const MAX_VISIBILITY_S = 12 * 60 * 60 - 900 - 60;

/** The time until the next delivery after a failure, in seconds; without a failure, none. */
export function secondsUntilNext(failure: Failure | undefined, record: SQSRecord | undefined): number {
  if (failure === undefined) return 0;
  const attempt = Number(record?.attributes.ApproximateReceiveCount ?? 1);
  const retryable = failure.remedy === 'never' ? asRetryable(failure) : failure;
  const untold = failure.code === 'rate-limited' && failure.retryAfterMs === undefined;
  // Equal jitter: only half of the wait is random.
  const decision = untold
    ? decide(retryable, attempt, THROTTLED, (1 + Math.random()) / 2)
    : decide(retryable, attempt, DELIVERIES, Math.random());
  return decision.again ? Math.min(Math.ceil(decision.afterMs / 1000), MAX_VISIBILITY_S) : 0;
}

/** A failure without a remedy has the same waits as any other, until the message is a dead letter. */
function asRetryable({ operation, side, code, detail }: Failure): Failure {
  return new Failure({ operation, side, code, detail, remedy: 'retry' });
}
