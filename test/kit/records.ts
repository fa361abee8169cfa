import type { SQSRecord } from 'aws-lambda';

let records = 0;

/** A message as an event source delivers it. */
export function recordOf(body: unknown, { group = 'a', receiveCount = 1, sent = Date.now() } = {}): SQSRecord {
  records += 1;
  return {
    messageId: `message-${records}`,
    receiptHandle: `handle-${records}`,
    body: typeof body === 'string' ? body : JSON.stringify(body),
    attributes: {
      ApproximateReceiveCount: String(receiveCount),
      MessageGroupId: group,
      SentTimestamp: String(sent),
      SenderId: 'sender',
      ApproximateFirstReceiveTimestamp: '0',
    },
    messageAttributes: {},
    md5OfBody: '',
    eventSource: 'aws:sqs',
    eventSourceARN: 'arn:aws:sqs:eu-central-1:000000000000:queue.fifo',
    awsRegion: 'eu-central-1',
  };
}
