import { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import type { SQSRecord } from 'aws-lambda';
import { once } from './aws.ts';
import { copyIdOf, FIRST_SENT, firstSent } from './waiting.ts';

/** The SDK retries this single request. */
const sqs = once(() => new SQSClient({ maxAttempts: 4 }));

/**
 * Sends an unchanged copy of a message to the end of its group, where its deliveries are counted from 1. The caller reports
 * the original as handled. All copies of one delivery have the same deduplication id.
 */
export function requeueIn(QueueUrl: string): (record: SQSRecord) => Promise<void> {
  return async (record) => {
    const { body: MessageBody, attributes } = record;
    const { MessageGroupId } = attributes;
    await sqs().send(
      new SendMessageCommand({
        QueueUrl,
        MessageBody,
        MessageGroupId,
        MessageDeduplicationId: copyIdOf(record),
        MessageAttributes: { [FIRST_SENT]: { DataType: 'Number', StringValue: String(firstSent(record)) } },
      }),
    );
  };
}
