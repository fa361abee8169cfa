import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { asFailure, type Failure } from '../lib/base/failure.ts';
import { parseMessage } from '../lib/queue/parse.ts';
import type { Message } from '../lib/queue/messages.ts';
import type { Delivery } from '../lib/queue/queue.ts';
import { handling } from './telemetry.ts';

/** What a batch needs of the queue that it came from. */
export interface BatchOptions<M extends Message> {
  /** The type of message that this function handles. */
  readonly type: M['type'];
  /** Deliveries of one group, in order; a rejection fails them all. */
  readonly handle: (deliveries: readonly Delivery<M>[]) => Promise<void>;
  /** Messages of one group that are handled together; 1 where each stands for itself. */
  readonly together: number;
  /** Deliveries of a message in all; what fails on its last one is a dead letter. */
  readonly maxReceives: number;
  /** Records what fails on its last delivery, so that it is done with; without it, `handle` sees to that itself. */
  readonly giveUp?: (delivery: Delivery<M>, failure: Failure) => Promise<void>;
  /** Sets when these messages of one group come again; without a failure, at once. */
  readonly postpone: (records: readonly SQSRecord[], failure?: Failure) => Promise<void>;
  readonly onFailure: (record: SQSRecord, failure: Failure) => void;
}

/**
 * An SQS FIFO batch with partial failures (Lambda, "Implementing partial batch responses"): within a group nothing is
 * handled behind a failed message, and everything behind it is returned with it, so that the order is kept. The exception
 * is a message on its last delivery: it goes to the dead letters, and takes nobody with it.
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
  const dead: SQSRecord[] = [];
  for (let at = 0; at < records.length; at += options.together) {
    const some = records.slice(at, at + options.together);
    if (some.length > 1 && (await handling(some, () => handledTogether(some, options)))) continue;
    // One by one, so that only the one that is to blame fails.
    for (const [index, record] of some.entries()) {
      const failure = await handling([record], () => handleOne(record, options));
      if (failure === undefined) continue;
      options.onFailure(record, failure);
      if (isLast(record, options)) {
        // While it is in flight nothing of its group is delivered.
        await options.postpone([record]);
        dead.push(record);
        continue;
      }
      const rest = records.slice(at + index);
      await options.postpone(rest, failure);
      return [...dead, ...rest];
    }
  }
  return dead;
}

async function handledTogether<M extends Message>(
  records: readonly SQSRecord[],
  { type, handle }: BatchOptions<M>,
): Promise<boolean> {
  try {
    await handle(records.map((record) => deliveryOf<M>(record, type)));
    return true;
  } catch {
    return false;
  }
}

/** Resolves to why it failed, where that is not recorded yet. */
async function handleOne<M extends Message>(record: SQSRecord, options: BatchOptions<M>): Promise<Failure | undefined> {
  const { type, handle, giveUp } = options;
  let delivery: Delivery<M> | undefined;
  try {
    delivery = deliveryOf<M>(record, type);
    await handle([delivery]);
    return undefined;
  } catch (error) {
    const failure = asFailure(error, `handle ${type} message`, 'queue');
    // Whoever was stopped has no time left to record anything.
    if (giveUp === undefined || delivery === undefined || !isLast(record, options) || failure.code === 'aborted')
      return failure;
    return giveUp(delivery, failure).then(
      () => undefined,
      (again: unknown) => asFailure(again, `record failure of ${type} message`, 'queue'),
    );
  }
}

function isLast<M extends Message>({ attributes }: SQSRecord, { maxReceives }: BatchOptions<M>): boolean {
  return Number(attributes.ApproximateReceiveCount) >= maxReceives;
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
