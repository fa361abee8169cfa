/** The messages that wait for a valid configuration, a later release or a registry's rate limit. */
import { createHash } from 'node:crypto';
import type { SQSRecord } from 'aws-lambda';
import { Failure } from '../lib/core/failure.ts';

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

export function firstSent({ attributes, messageAttributes }: SQSRecord): number {
  return Number(messageAttributes[FIRST_SENT]?.stringValue ?? attributes.SentTimestamp);
}

/** The failure of a waiting message, with the time until its next delivery. */
export function waiting({ operation, side, code, detail }: Failure): Failure {
  return new Failure({ operation, side, code, detail, remedy: 'retry', retryAfterMs: WAIT_MS });
}
