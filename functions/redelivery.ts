/** The next delivery of a message that was not handled. */
import { ChangeMessageVisibilityCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import type { SQSRecord } from 'aws-lambda';
import { SMALL_REQUESTS } from '../lib/app/aws-requests.ts';
import type { Failure } from '../lib/core/failure.ts';
import { once } from './aws.ts';
import type { QueuePorts } from './batch.ts';
import { log, onFailedRecord } from './telemetry.ts';
import { copyIdOf, FIRST_SENT, firstSent, secondsUntilNext } from './waiting.ts';

/** The SDK retries these single requests. */
const sqs = once(() => new SQSClient({ ...SMALL_REQUESTS, maxAttempts: 4 }));

/** The ports of a function that handles the messages of a queue. */
export function queuePorts(queueUrl: string, maxReceives: number): QueuePorts {
  return {
    maxReceives,
    postpone: (records, failure) => postpone(queueUrl, records, failure),
    requeue: (record) => requeue(queueUrl, record),
    onFailure: onFailedRecord,
  };
}

/**
 * Sets the next delivery of failed messages of one group, all to the same time, because a group waits for each of its
 * messages. Without a failure they are delivered immediately. If a request fails, the queue's visibility timeout applies.
 */
async function postpone(QueueUrl: string, records: readonly SQSRecord[], failure?: Failure): Promise<void> {
  const VisibilityTimeout = secondsUntilNext(failure, records[0]);
  const hide = async ({ receiptHandle: ReceiptHandle, messageId }: SQSRecord): Promise<void> => {
    try {
      await sqs().send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle, VisibilityTimeout }));
    } catch (error) {
      // SQS already delivers the message again.
      if (error instanceof Error && hasExpired(error)) return;
      log('warn', 'message not postponed', { messageId, seconds: VisibilityTimeout, reason: String(error) });
    }
  };
  await Promise.all(records.map(hide));
}

/** `MessageNotInflight`, or an expired receipt handle (InvalidParameterValue: "… has expired"). */
function hasExpired({ name, message }: Error): boolean {
  return (
    /MessageNotInflight|ReceiptHandleIsInvalid/.test(name) ||
    /receipt handle.*expired|not available for visib/i.test(message)
  );
}

/**
 * Sends an unchanged copy of a message to the end of its group, where its deliveries are counted from 1. The caller reports
 * the original as handled. All copies of one delivery have the same deduplication id.
 */
async function requeue(QueueUrl: string, record: SQSRecord): Promise<void> {
  await sqs().send(
    new SendMessageCommand({
      QueueUrl,
      MessageBody: record.body,
      MessageGroupId: record.attributes.MessageGroupId,
      MessageDeduplicationId: copyIdOf(record),
      MessageAttributes: { [FIRST_SENT]: { DataType: 'Number', StringValue: String(firstSent(record)) } },
    }),
  );
}
