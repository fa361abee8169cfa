import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import type { Archive } from '../../lib/archive/archive.ts';
import { asFailure, Failure } from '../../lib/core/failure.ts';
import type { Message } from '../../lib/queue/messages.ts';
import { parseMessage } from '../../lib/queue/parse.ts';
import type { Queues } from '../../lib/queue/queue.ts';
import { namesInUnreadable } from '../../lib/queue/unreadable.ts';
import { type ImageEvent, imageName, type Observe } from '../../lib/sync/events.ts';
import { failedImages } from '../../lib/sync/failures.ts';
import { failLayer } from '../../lib/sync/layer/fail-layer.ts';
import { groupsOf } from '../batch.ts';
import { failMessage } from '../fail-images.ts';
import type { RecordImage } from '../record.ts';
import { handling, log, onLostRecord } from '../telemetry.ts';

export interface DeadLetterPorts {
  readonly archive: Archive;
  readonly queues: Queues;
  readonly record: RecordImage;
  readonly observe: Observe;
}

/** To keep the order of a group, a dead letter that is not recorded and all others behind it are returned. */
export async function handleDeadLetters(
  { Records: records }: SQSEvent,
  ports: DeadLetterPorts,
  signal: AbortSignal,
): Promise<SQSBatchResponse> {
  const failures: Failure[] = [];
  const failed: SQSRecord[] = [];
  for (const group of groupsOf(records))
    for (const [index, record] of group.entries())
      try {
        await handling([record], () => recordDeadLetter(record, ports, signal));
      } catch (error) {
        const failure = asFailure(error, 'record dead letter', 'queue');
        onLostRecord(record, failure);
        failures.push(failure);
        for (const left of group.slice(index)) failed.push(left);
        break;
      }
  const [first] = failures;
  // Lambda counts a partial failure as a success, so a complete failure must throw to raise the alarm.
  if (first !== undefined && failed.length === records.length) throw first;
  return { batchItemFailures: failed.map(({ messageId }) => ({ itemIdentifier: messageId })) };
}

async function recordDeadLetter(record: SQSRecord, ports: DeadLetterPorts, signal: AbortSignal): Promise<void> {
  const { queues, record: recordEvent } = ports;
  let message: Message;
  try {
    message = parseMessage(record.body);
  } catch (error) {
    for (const event of unreadable(record, asFailure(error, 'read message', 'queue')))
      await recordEvent(event, { signal });
    return;
  }
  const failure = new Failure({
    operation: `handle ${message.type} message of ${message.source}`,
    side: 'queue',
    code: 'internal',
    detail:
      'all deliveries crashed, timed out or were throttled; ' +
      `see the log of the function (message ${record.messageId})`,
  });
  switch (message.type) {
    case 'layer':
      await failLayer(ports, message, failure, signal);
      return;
    case 'resolve':
      await failMessage({ archive: ports.archive, queues }, message, failure, signal);
      return;
    case 'finalize':
      for (const event of failedImages(message, failure)) await recordEvent(event, { signal });
  }
}

/** The failures of the images in an unreadable message. A message without images is only logged. */
function unreadable({ messageId, body }: SQSRecord, { code, message: reason }: Failure): readonly ImageEvent[] {
  const named = namesInUnreadable(body);
  if (named === undefined) {
    log('error', 'dead letter that cannot be read', { messageId, reason, body: body.slice(0, 4096) });
    return [];
  }
  return named.images.map(({ asked, digest }) => ({
    type: 'image',
    status: 'failed',
    ...imageName(named, asked),
    ...(digest === undefined ? {} : { digest }),
    code,
    reason: `${reason} (message ${messageId})`,
  }));
}
