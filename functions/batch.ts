import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { asFailure, type Failure } from '../lib/base/failure.ts';
import { parseMessage } from '../lib/queue/parse.ts';
import type { Message } from '../lib/queue/messages.ts';
import type { Delivery } from '../lib/queue/queue.ts';

/** What a batch needs of the queue that it came from. */
export interface BatchOptions<M extends Message> {
  /** The type of message that this function handles. */
  readonly type: M['type'];
  /** Deliveries of one group, in order; a rejection fails them all. */
  readonly handle: (deliveries: readonly Delivery<M>[]) => Promise<void>;
  /** Messages of one group that are handled together; 1 where each stands for itself. */
  readonly together: number;
  /** Puts off a failed message's next delivery (its visibility timeout), in milliseconds. */
  readonly postpone: (record: SQSRecord, failure: Failure) => Promise<void>;
  readonly onFailure: (record: SQSRecord, failure: Failure) => void;
}

/**
 * An SQS FIFO batch with partial failures (Lambda, "Implementing partial batch responses"): within a group nothing is
 * handled behind a failed message, and everything behind it is returned with it, so that the order is kept.
 */
export async function handleBatch<M extends Message>(
  event: SQSEvent,
  options: BatchOptions<M>,
): Promise<SQSBatchResponse> {
  const groups = Map.groupBy(event.Records, (record) => record.attributes.MessageGroupId ?? record.messageId);
  const failed = await Promise.all([...groups.values()].map((records) => handleGroup(records, options)));
  return { batchItemFailures: failed.flat().map(({ messageId }) => ({ itemIdentifier: messageId })) };
}

/** Resolves to the records that are to be delivered again. */
async function handleGroup<M extends Message>(
  records: readonly SQSRecord[],
  options: BatchOptions<M>,
): Promise<readonly SQSRecord[]> {
  for (let at = 0; at < records.length; at += options.together) {
    const some = records.slice(at, at + options.together);
    try {
      await options.handle(some.map((record) => deliveryOf(record, options.type)));
    } catch (error) {
      const failure = asFailure(error, `handle ${options.type} message`, 'queue');
      for (const record of some) {
        options.onFailure(record, failure);
        await options.postpone(record, failure);
      }
      return records.slice(at);
    }
  }
  return [];
}

function deliveryOf<M extends Message>(record: SQSRecord, type: M['type']): Delivery<M> {
  const message = parseMessage(record.body);
  if (message.type !== type) throw new Error(`a ${message.type} message has come to the function for ${type} messages`);
  return {
    id: record.messageId,
    group: record.attributes.MessageGroupId ?? '',
    message: message as M,
    receiveCount: Number(record.attributes.ApproximateReceiveCount),
  };
}
