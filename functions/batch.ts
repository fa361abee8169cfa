import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { asFailure, type Failure } from '../lib/core/failure.ts';
import { parseMessage } from '../lib/queue/parse.ts';
import type { Message } from '../lib/queue/messages.ts';
import type { Delivery } from '../lib/queue/queue.ts';
import { hasWaitedTooLong, mayWaitForLimit, waiting } from './waiting.ts';
import { handling } from './telemetry.ts';

export interface BatchOptions<M extends Message> {
  /** The type of message that this function handles. */
  readonly type: M['type'];
  /** With `requeues`, the handler throws a rate limit even on the last delivery, and the message is queued again. */
  readonly handle: (delivery: Delivery<M>, requeues: boolean) => Promise<void>;
  /** Handles several deliveries of one group in order; a rejection fails all of them, and they are handled one by one. */
  readonly handleTogether?: (deliveries: readonly Delivery<M>[]) => Promise<void>;
  /** The maximum number of deliveries of a message, after which it is a dead letter. */
  readonly maxReceives: number;
  /** Records a failure on the last delivery. If undefined, `handle` records it. */
  readonly giveUp?: (delivery: Delivery<M>, failure: Failure) => Promise<void>;
  /**
   * Resolves if the configuration and the secrets are valid. Until then, messages wait without using up their
   * deliveries.
   */
  readonly ready?: () => Promise<unknown>;
  /** Sets the time of the next delivery of these messages of one group; without a failure, immediately. */
  readonly postpone: (records: readonly SQSRecord[], failure?: Failure) => Promise<void>;
  /** Sends a copy of a message to the end of its group, with a new count of deliveries. */
  readonly requeue: (record: SQSRecord) => Promise<void>;
  /** `waits` if the message is not the cause. */
  readonly onFailure: (record: SQSRecord, failure: Failure, waits: boolean) => void;
}

/** The parts of the options that depend on the deployment's queue, and not on the type of its messages. */
export type QueuePorts = Pick<BatchOptions<Message>, 'maxReceives' | 'postpone' | 'requeue' | 'onFailure'>;

/** The reason why a message is not handled. */
interface Problem {
  readonly failure: Failure;
  /** The message waits for a valid configuration, or for a release that can read it. */
  readonly waits: boolean;
  /** A registry's rate limit; on its last delivery the message is queued again. */
  readonly requeues?: boolean;
}

/**
 * Handles an SQS FIFO batch with partial failures (Lambda, "Implementing partial batch responses"). To keep the order of a
 * group, a failed message and all messages behind it are returned unhandled. A message on its last delivery is an
 * exception: it alone goes to the dead letters, or, if it waits, to the end of its group.
 */
export async function handleBatch<M extends Message>(
  event: SQSEvent,
  options: BatchOptions<M>,
): Promise<SQSBatchResponse> {
  const failed = await Promise.all(groupsOf(event.Records).map((records) => handleGroup(records, options)));
  return { batchItemFailures: failed.flat().map(({ messageId }) => ({ itemIdentifier: messageId })) };
}

/** The records of each group, in their order. */
export function groupsOf(records: readonly SQSRecord[]): readonly (readonly SQSRecord[])[] {
  return [...Map.groupBy(records, ({ attributes, messageId }) => attributes.MessageGroupId ?? messageId).values()];
}

/** Returns the records to deliver again. */
async function handleGroup<M extends Message>(
  records: readonly SQSRecord[],
  options: BatchOptions<M>,
): Promise<readonly SQSRecord[]> {
  const dead: SQSRecord[] = [];
  if (await isHandledTogether(records, options)) return [];
  for (const [index, record] of records.entries()) {
    const problem = await handling([record], () => handleOne(record, options));
    if (problem === undefined) continue;
    const { failure, waits, requeues = waits } = problem;
    options.onFailure(record, failure, waits);
    if (isLast(record, options)) {
      if (requeues && (await isRequeued(record, options))) continue;
      // While it is in flight, its group is blocked.
      await options.postpone([record]);
      dead.push(record);
      continue;
    }
    const rest = records.slice(index);
    await options.postpone(rest, waits ? waiting(failure) : failure);
    return [...dead, ...rest];
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

async function isHandledTogether<M extends Message>(
  records: readonly SQSRecord[],
  { type, handleTogether }: BatchOptions<M>,
): Promise<boolean> {
  if (records.length === 1 || handleTogether === undefined) return false;
  return handling(records, async () => {
    try {
      await handleTogether(records.map((record) => deliveryOf<M>(record, type)));
      return true;
    } catch {
      return false;
    }
  });
}

/** Returns the problem, unless the message is handled or its failure is recorded. */
async function handleOne<M extends Message>(record: SQSRecord, options: BatchOptions<M>): Promise<Problem | undefined> {
  const { type, handle, ready } = options;
  const patient = !hasWaitedTooLong(record, Date.now());
  const failureOf = (error: unknown): Failure => asFailure(error, `handle ${type} message`, 'queue');
  let delivery: Delivery<M>;
  try {
    delivery = deliveryOf<M>(record, type);
  } catch (error) {
    const failure = failureOf(error);
    // A message of a later release waits, and is finally recorded as a dead letter.
    return { failure, waits: patient && failure.code === 'unsupported' };
  }
  try {
    await ready?.();
  } catch (error) {
    return patient ? { failure: failureOf(error), waits: true } : givenUp(record, delivery, failureOf(error), options);
  }
  const requeues = mayWaitForLimit(record, Date.now());
  try {
    await handle(delivery, requeues);
    return undefined;
  } catch (error) {
    const failure = failureOf(error);
    const isLimited = failure.side === 'source' && failure.code === 'rate-limited' && failure.remedy === 'retry';
    if (isLimited && requeues) return { failure, waits: false, requeues };
    return givenUp(record, delivery, failure, options);
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
  // An aborted invocation has no time left to record a failure.
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
  if (message.type !== type) throw new Error(`expected a ${type} message, got a ${message.type} message`);
  return {
    id: record.messageId,
    group: record.attributes.MessageGroupId ?? '',
    message: message as M,
    receiveCount: Number(record.attributes.ApproximateReceiveCount),
  };
}
