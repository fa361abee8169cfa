/** The waits of messages between their deliveries: after a failure, and until they can be handled. */
import { createHash } from 'node:crypto';
import type { SQSRecord } from 'aws-lambda';
import { Failure } from '../lib/core/failure.ts';
import { decide, type RetryPolicy } from '../lib/core/retry.ts';

/** The maximum wait for a valid configuration, or for a release that can read the message: a long weekend. */
const LONGEST_WAIT_MS = 4 * 24 * 60 * 60_000;

/** The time between two deliveries of a waiting message. Only one message of each group is delivered. */
const WAIT_MS = 20_000;

/** The message attribute with the time of the first send, in milliseconds since the epoch. */
export const FIRST_SENT = 'firstSent';

/** The deduplication id of the copy. */
export function copyIdOf({ attributes: { MessageDeduplicationId = '' }, messageId }: SQSRecord): string {
  return createHash('sha256').update(`${MessageDeduplicationId} ${messageId}`).digest('hex');
}

/** The maximum wait for a registry's rate limit; the longest quotas are per day. */
const LONGEST_LIMIT_MS = 24 * 60 * 60_000;

/** Whether a message may still wait for a registry's rate limit. */
export function mayWaitForLimit(record: SQSRecord, now: number): boolean {
  return now - firstSent(record) <= LONGEST_LIMIT_MS;
}

/** Whether a message has waited too long, so that its images are recorded as failed. */
export function hasWaitedTooLong(record: SQSRecord, now: number): boolean {
  return now - firstSent(record) > LONGEST_WAIT_MS;
}

/** A record that a person passes to the function may lack the attributes of its message. */
export function firstSent({
  attributes,
  messageAttributes,
}: Pick<SQSRecord, 'attributes'> & Partial<Pick<SQSRecord, 'messageAttributes'>>): number {
  return Number(messageAttributes?.[FIRST_SENT]?.stringValue ?? attributes.SentTimestamp);
}

/** The failure of a waiting message, with the time until its next delivery. */
export function waiting({ operation, side, code, detail }: Failure): Failure {
  return new Failure({ operation, side, code, detail, remedy: 'retry', retryAfterMs: WAIT_MS });
}

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
