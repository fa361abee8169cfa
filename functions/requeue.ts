import { createHash } from 'node:crypto';
import { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import type { SQSRecord } from 'aws-lambda';
import { Failure } from '../lib/core/failure.ts';
import { once } from './aws.ts';

/** How long a message waits for a configuration, or for a release that can read it, in milliseconds: a long weekend. */
const LONGEST_WAIT_MS = 4 * 24 * 60 * 60_000;

/** The time between two deliveries of a message that waits, in milliseconds. One message of each group is delivered. */
const WAIT_MS = 20_000;

/** The message attribute that keeps the time of the first send, in milliseconds since the epoch. */
const FIRST_SENT = 'firstSent';

/** Only this request depends on it, so that the SDK repeats it. */
const sqs = once(() => new SQSClient({ maxAttempts: 4 }));

/**
 * Sends a copy of a message, unread, to the end of its group, where its deliveries are counted from 1 again. The caller
 * reports the original as handled. The copy of one delivery always has the same deduplication id.
 */
export function requeueIn(QueueUrl: string): (record: SQSRecord) => Promise<void> {
  return async (record) => {
    const { body: MessageBody, attributes, messageId } = record;
    const { MessageGroupId, MessageDeduplicationId = '' } = attributes;
    const copy = createHash('sha256').update(`${MessageDeduplicationId} ${messageId}`).digest('hex');
    await sqs().send(
      new SendMessageCommand({
        QueueUrl,
        MessageBody,
        MessageGroupId,
        MessageDeduplicationId: copy,
        MessageAttributes: { [FIRST_SENT]: { DataType: 'Number', StringValue: String(firstSent(record)) } },
      }),
    );
  };
}

/** How long a message waits for a registry that refuses it for a rate limit, in milliseconds; quotas are by the day at most. */
const LONGEST_LIMIT_MS = 24 * 60 * 60_000;

/** Whether a message may go on to wait for a registry that limits its requests. */
export function mayWaitForLimit(record: SQSRecord, now: number): boolean {
  return now - firstSent(record) <= LONGEST_LIMIT_MS;
}

/** Whether a message has waited for so long that its images are recorded as failed. */
export function hasWaitedTooLong(record: SQSRecord, now: number): boolean {
  return now - firstSent(record) > LONGEST_WAIT_MS;
}

function firstSent({ attributes, messageAttributes }: SQSRecord): number {
  return Number(messageAttributes[FIRST_SENT]?.stringValue ?? attributes.SentTimestamp);
}

/** The failure of a message that waits, with the time until its next delivery. */
export function waiting({ operation, side, code, detail }: Failure): Failure {
  return new Failure({ operation, side, code, detail, remedy: 'retry', retryAfterMs: WAIT_MS });
}
