import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { asFailure, type Failure } from '../lib/core/failure.ts';
import { parseMessage } from '../lib/queue/parse.ts';
import type { Message } from '../lib/queue/messages.ts';
import type { Delivery } from '../lib/queue/queue.ts';
import { hasWaitedTooLong, mayWaitForLimit, waiting } from './requeue.ts';
import { handling } from './telemetry.ts';

/** What a batch needs of the queue that it came from. */
export interface BatchOptions<M extends Message> {
  /** The type of message that this function handles. */
  readonly type: M['type'];
  /**
   * Deliveries of one group, in order; a rejection fails them all. With `requeues`, a rate limit is thrown on the last
   * delivery too: the message is queued again.
   */
  readonly handle: (deliveries: readonly Delivery<M>[], requeues: boolean) => Promise<void>;
  /** Messages of one group that are handled together; 1 where each stands for itself. */
  readonly together: number;
  /** Deliveries of a message in all; what fails on its last one is a dead letter. */
  readonly maxReceives: number;
  /** Records what fails on its last delivery, so that it is done with; without it, `handle` sees to that itself. */
  readonly giveUp?: (delivery: Delivery<M>, failure: Failure) => Promise<void>;
  /** Resolves once the configuration and the secrets can be used. Messages wait for it, and use up no deliveries. */
  readonly ready?: () => Promise<unknown>;
  /** Sets when these messages of one group come again; without a failure, at once. */
  readonly postpone: (records: readonly SQSRecord[], failure?: Failure) => Promise<void>;
  /** Sends a copy of a message to the end of its group, with all its deliveries before it. */
  readonly requeue: (record: SQSRecord) => Promise<void>;
  /** `waits` where the message itself is not to blame. */
  readonly onFailure: (record: SQSRecord, failure: Failure, waits: boolean) => void;
}

/** Why a message is not handled. */
interface Problem {
  readonly failure: Failure;
  /** Neither the message nor its image is to blame: it waits for a configuration, or for a release that can read it. */
  readonly waits: boolean;
  /** On its last delivery the message is queued again: a registry has refused it for a rate limit. */
  readonly requeues?: boolean;
}

/**
 * An SQS FIFO batch with partial failures (Lambda, "Implementing partial batch responses"): within a group nothing is
 * handled behind a failed message, and everything behind it is returned with it, so that the order is kept. The exception
 * is a message on its last delivery: it goes to the dead letters alone, or, where it waits, to the end of its group.
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
      const problem = await handling([record], () => handleOne(record, options));
      if (problem === undefined) continue;
      const { failure, waits, requeues = waits } = problem;
      options.onFailure(record, failure, waits);
      if (isLast(record, options)) {
        if (requeues && (await isRequeued(record, options))) continue;
        // While it is in flight nothing of its group is delivered.
        await options.postpone([record]);
        dead.push(record);
        continue;
      }
      const rest = records.slice(at + index);
      await options.postpone(rest, waits ? waiting(failure) : failure);
      return [...dead, ...rest];
    }
  }
  return dead;
}

async function isRequeued<M extends Message>(record: SQSRecord, options: BatchOptions<M>): Promise<boolean> {
  try {
    await options.requeue(record);
    return true;
  } catch (error) {
    options.onFailure(record, asFailure(error, `requeue ${options.type} message`, 'queue'), false);
    return false;
  }
}

async function handledTogether<M extends Message>(
  records: readonly SQSRecord[],
  { type, handle }: BatchOptions<M>,
): Promise<boolean> {
  try {
    await handle(
      records.map((record) => deliveryOf<M>(record, type)),
      false,
    );
    return true;
  } catch {
    return false;
  }
}

/** Resolves to the problem, unless the message is handled or its failure is recorded. */
async function handleOne<M extends Message>(record: SQSRecord, options: BatchOptions<M>): Promise<Problem | undefined> {
  const { type, handle, ready } = options;
  const patient = !hasWaitedTooLong(record, Date.now());
  const failureOf = (error: unknown): Failure => asFailure(error, `handle ${type} message`, 'queue');
  let delivery: Delivery<M>;
  try {
    delivery = deliveryOf<M>(record, type);
  } catch (error) {
    const failure = failureOf(error);
    // A message of a later release; the dead letters record it in the end.
    return { failure, waits: patient && failure.code === 'unsupported' };
  }
  try {
    await ready?.();
  } catch (error) {
    return patient ? { failure: failureOf(error), waits: true } : givenUp(record, delivery, failureOf(error), options);
  }
  try {
    await handle([delivery], mayWaitForLimit(record, Date.now()));
    return undefined;
  } catch (error) {
    const failure = failureOf(error);
    const isLimited =
      failure.side === 'source' &&
      failure.code === 'rate-limited' &&
      failure.remedy === 'retry' &&
      mayWaitForLimit(record, Date.now());
    if (isLimited) return { failure, waits: false, requeues: true };
    return givenUp(record, delivery, failureOf(error), options);
  }
}

/** Records the failure of a message on its last delivery. */
async function givenUp<M extends Message>(
  record: SQSRecord,
  delivery: Delivery<M>,
  failure: Failure,
  options: BatchOptions<M>,
): Promise<Problem | undefined> {
  const { giveUp, type } = options;
  // An invocation that was stopped has no time left to record anything.
  if (giveUp === undefined || !isLast(record, options) || failure.code === 'aborted') return { failure, waits: false };
  return giveUp(delivery, failure).then(
    () => undefined,
    (again: unknown) => ({
      failure: asFailure(again, `record failure of ${type} message`, 'queue'),
      waits: false,
    }),
  );
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
