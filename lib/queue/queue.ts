import type { Message } from './messages.ts';

/**
 * The queue port: SQS FIFO's semantics. Messages of one group are handled in order, with one batch in flight per group.
 * Every message is delivered at least once. A message whose deduplication id was seen within five minutes is accepted
 * and dropped.
 */
export interface Queues {
  /**
   * Resolves once every message is durably accepted; otherwise rejects with `side: queue` and the names of the others.
   */
  send(
    queue: QueueName,
    messages: readonly Outgoing[],
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<void>;
}

/** A queue takes the messages of the type that it is named for. */
export type QueueName = Message['type'];

/** The messages of a queue: `MessageOf<'layer'>` is a `LayerMessage`. */
export type MessageOf<Q extends QueueName> = Extract<Message, { readonly type: Q }>;

export interface Outgoing<M extends Message = Message> {
  readonly message: M;
  /** SQS MessageGroupId: 1 to 128 characters of letters, digits and punctuation. */
  readonly group: string;
  /** SQS MessageDeduplicationId: the same limits. */
  readonly deduplicationId: string;
}

/** One delivery, as a handler sees it. */
export interface Delivery<M extends Message = Message> {
  /** The message's id: the same for every delivery of it. */
  readonly id: string;
  readonly group: string;
  readonly message: M;
  /** 1 for the first delivery (SQS ApproximateReceiveCount). */
  readonly receiveCount: number;
}

/**
 * Handles a batch: deliveries of one group, in order. The handler stops at the first failure, because all later
 * deliveries of the batch return to the queue, even if they are done. A rejection fails the whole batch.
 */
export type Handler<M extends Message = Message> = (
  deliveries: readonly Delivery<M>[],
  signal: AbortSignal,
) => Promise<BatchResult>;

/** The result of a batch: deliveries before the first failed one are done and deleted. */
export interface BatchResult {
  /** Ids of the deliveries that failed. */
  readonly failed: readonly string[];
  /** By id, the wait in milliseconds before a failed delivery is repeated; its group waits for the same time. */
  readonly retryAfterMs?: ReadonlyMap<string, number>;
  /**
   * The pause of a group after a batch without failures, in milliseconds, which makes the next batch larger. It ends
   * early if no other batch is in flight, and is left out if the next batch is full already. Only in process: SQS has no such setting for FIFO queues.
   */
  readonly restMs?: number;
}

export interface Consumer<M extends Message = Message> {
  /** Concurrent batches, all of different groups. */
  readonly concurrency: number;
  /**
   * Concurrent batches of one registry. With this limit, a registry gets another place only while it has fewer than are free.
   * Only in process: on AWS, the lanes of a registry limit its layers.
   */
  readonly perRegistry?: number;
  /** The maximum number of deliveries per batch. Lambda's limit for FIFO queues is 10; the in-process queue has no limit. */
  readonly batchSize: number;
  readonly handler: Handler<M>;
}
