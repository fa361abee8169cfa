import { ChangeMessageVisibilityCommand, SQSClient } from '@aws-sdk/client-sqs';
import type { SQSRecord } from 'aws-lambda';
import { Failure } from '../lib/core/failure.ts';
import { decide, type RetryPolicy } from '../lib/core/retry.ts';
import { once } from './aws.ts';
import { log } from './telemetry.ts';

/** The waits between deliveries; a Retry-After is honoured up to SQS's limit. */
const DELIVERIES: RetryPolicy = { tries: Infinity, baseMs: 5_000, capMs: 300_000 };

/** The waits after a rate limit without a Retry-After. Quotas are per minute or hour, so 5 deliveries take 15 minutes. */
const THROTTLED: RetryPolicy = { tries: Infinity, baseMs: 60_000, capMs: 900_000 };

/** SQS's limit of 12 hours after the receipt, minus the maximum time of the function and of its start, in seconds. */
const MAX_VISIBILITY_S = 12 * 60 * 60 - 900 - 60;

/** The SDK retries this single request. */
const sqs = once(() => new SQSClient({ maxAttempts: 4 }));

/**
 * Sets the next delivery of failed messages of one group, all to the same time, because a group waits for each of its
 * messages. Without a failure they are delivered immediately. If a request fails, the queue's visibility timeout applies.
 */
export function postponeIn(
  queueUrl: string,
  tell: typeof log = log,
): (records: readonly SQSRecord[], failure?: Failure) => Promise<void> {
  return async (records, failure) => {
    const seconds = secondsUntilNext(failure, records[0]);
    await Promise.all(records.map((record) => hide(queueUrl, record, seconds, tell)));
  };
}

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

/** A failure without a remedy waits as long as any other before it is a dead letter. */
function asRetryable({ operation, side, code, detail }: Failure): Failure {
  return new Failure({ operation, side, code, detail, remedy: 'retry' });
}

async function hide(QueueUrl: string, record: SQSRecord, VisibilityTimeout: number, tell: typeof log): Promise<void> {
  const { receiptHandle: ReceiptHandle, messageId } = record;
  try {
    await sqs().send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle, VisibilityTimeout }));
  } catch (error) {
    // SQS already delivers the message again.
    if (error instanceof Error && hasExpired(error)) return;
    tell('warn', 'message not postponed', { messageId, seconds: VisibilityTimeout, reason: String(error) });
  }
}

/** `MessageNotInflight`, or an expired receipt handle (InvalidParameterValue: "… has expired"). */
function hasExpired({ name, message }: Error): boolean {
  return (
    /MessageNotInflight|ReceiptHandleIsInvalid/.test(name) ||
    /receipt handle.*expired|not available for visib/i.test(message)
  );
}
