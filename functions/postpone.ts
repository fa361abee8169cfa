import { ChangeMessageVisibilityCommand, SQSClient } from '@aws-sdk/client-sqs';
import type { SQSRecord } from 'aws-lambda';
import { Failure } from '../lib/core/failure.ts';
import { decide, type RetryPolicy } from '../lib/core/retry.ts';
import { once } from './aws.ts';
import { log } from './telemetry.ts';

/** Waits between the deliveries of a message, in milliseconds; a Retry-After is honoured in full, up to SQS's limit. */
const DELIVERIES: RetryPolicy = { tries: Infinity, baseMs: 5_000, capMs: 300_000 };

/**
 * Where a registry says "too many requests" and not until when: each delivery counts, and quotas are by the minute and
 * the hour, so that five deliveries should take a quarter of an hour and not a minute.
 */
const THROTTLED: RetryPolicy = { tries: Infinity, baseMs: 60_000, capMs: 900_000 };

/**
 * SQS keeps a message out of sight for twelve hours, in seconds, counted from when it was received: of that a function has
 * used up its own time already, and Lambda what it took to start it.
 */
const MAX_VISIBILITY_S = 12 * 60 * 60 - 900 - 60;

/** Here the SDK repeats what is throttled or has failed on the way: nothing but this one request depends on it. */
const sqs = once(() => new SQSClient({ maxAttempts: 4 }));

/**
 * Sets when failed messages of a group are delivered again, all at the same time, since a group waits for each of its
 * messages; without a failure, at once. What cannot be set is logged: then the queue's own visibility timeout decides.
 */
export function postponeIn(
  queueUrl: string,
  tell: typeof log = log,
): (records: readonly SQSRecord[], failure?: Failure) => Promise<void> {
  return async (records, failure) => {
    const seconds = failure === undefined ? 0 : secondsFor(failure, records[0]);
    await Promise.all(records.map((record) => hide(queueUrl, record, seconds, tell)));
  };
}

function secondsFor(failure: Failure, record: SQSRecord | undefined): number {
  const attempt = Number(record?.attributes.ApproximateReceiveCount ?? 1);
  const retryable = failure.remedy === 'never' ? asRetryable(failure) : failure;
  const untold = failure.code === 'rate-limited' && failure.retryAfterMs === undefined;
  // Of such a wait only the upper half is left to chance.
  const decision = untold
    ? decide(retryable, attempt, THROTTLED, (1 + Math.random()) / 2)
    : decide(retryable, attempt, DELIVERIES, Math.random());
  return decision.again ? Math.min(Math.ceil(decision.afterMs / 1000), MAX_VISIBILITY_S) : 0;
}

/** What no retry mends waits as long as anything else on its way to the dead letters. */
function asRetryable({ operation, side, code, detail }: Failure): Failure {
  return new Failure({ operation, side, code, detail, remedy: 'retry' });
}

async function hide(QueueUrl: string, record: SQSRecord, VisibilityTimeout: number, tell: typeof log): Promise<void> {
  const { receiptHandle: ReceiptHandle, messageId } = record;
  try {
    await sqs().send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle, VisibilityTimeout }));
  } catch (error) {
    // The message is on its way again already.
    if (error instanceof Error && hasExpired(error)) return;
    tell('warn', 'message not postponed', { messageId, seconds: VisibilityTimeout, reason: String(error) });
  }
}

/** `MessageNotInflight`; and what SQS says of a handle of which the time is over (InvalidParameterValue: "… has expired"). */
function hasExpired({ name, message }: Error): boolean {
  return (
    /MessageNotInflight|ReceiptHandleIsInvalid/.test(name) ||
    /receipt handle.*expired|not available for visib/i.test(message)
  );
}
