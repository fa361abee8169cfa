import { ChangeMessageVisibilityCommand, SQSClient } from '@aws-sdk/client-sqs';
import type { SQSRecord } from 'aws-lambda';
import type { Failure } from '../lib/core/failure.ts';
import { once } from './aws.ts';
import { secondsUntilNext } from './next-delivery.ts';
import { log } from './telemetry.ts';

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
