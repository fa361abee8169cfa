import {
  ChangeMessageVisibilityCommand,
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  type SQSClient,
} from '@aws-sdk/client-sqs';
import type { SQSEvent, SQSRecord } from 'aws-lambda';
import { setTimeout as sleep } from 'node:timers/promises';
import { Semaphore } from '../../../lib/core/semaphore.ts';
import type { LambdaFunction } from './function.ts';

export interface EventSource {
  readonly client: SQSClient;
  readonly queue: { readonly url: string; readonly arn: string };
  readonly target: Pick<LambdaFunction, 'invoke'>;
  /** The largest number of messages in a batch; SQS returns at most 10 at once. */
  readonly batchSize: number;
  /** The number of concurrent batches (Lambda's maximumConcurrency). */
  readonly concurrency: number;
  /** Handled messages that are delivered again, as "at least once" allows. */
  readonly again?: (record: SQSRecord) => boolean;
  /** Milliseconds for which a received batch is held back, so that batches of other groups overtake it. */
  readonly heldBackMs?: () => number;
  /** Polling starts when this resolves, as with a mapping that is enabled later. */
  readonly enabled?: Promise<unknown>;
}

/**
 * An event source mapping as Lambda runs it for an SQS FIFO queue (AWS Lambda, "Using Lambda with Amazon SQS", "Handling
 * errors for an SQS event source"). It receives batches, passes each to the function, and deletes the messages that the
 * function has not named as failed. Failed messages stay in flight until their visibility timeout ends, or until the
 * function changes it. The queue is responsible for the order within groups, the redrive and the timeouts.
 */
export class EventSourcePoller implements AsyncDisposable {
  readonly #source: EventSource;
  readonly #permits: Semaphore;
  readonly #stop = new AbortController();
  readonly #batches = new Set<Promise<void>>();
  readonly #running: Promise<void>;
  #turn = Promise.withResolvers<void>();
  #failure: { readonly error: unknown } | undefined;
  /** The batches that the function got, each with the bodies of its messages. */
  readonly batches: string[][] = [];

  constructor(source: EventSource) {
    this.#source = source;
    this.#permits = new Semaphore(source.concurrency);
    this.#running = this.#run().catch((error: unknown) => {
      this.#fail(error);
    });
  }

  get inFlight(): number {
    return this.#batches.size;
  }

  /** The number of visible and invisible messages in the queue. */
  async waiting(): Promise<number> {
    const { client, queue } = this.#source;
    const { Attributes: counts = {} } = await client.send(
      new GetQueueAttributesCommand({
        QueueUrl: queue.url,
        AttributeNames: ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible'],
      }),
    );
    return Object.values(counts).reduce((sum, count) => sum + Number(count), 0);
  }

  /** Resolves after a receive or a batch. Rejects after polling has failed. */
  async turn(): Promise<void> {
    if (this.#failure === undefined) await this.#turn.promise;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await Promise.all(this.#batches);
  }

  async #run(): Promise<void> {
    const { client, queue, batchSize } = this.#source;
    const receive = new ReceiveMessageCommand({
      QueueUrl: queue.url,
      MaxNumberOfMessages: batchSize,
      WaitTimeSeconds: 1,
      MessageSystemAttributeNames: ['All'],
      MessageAttributeNames: ['All'],
    });
    const stopped = new Promise((resolve) => {
      this.#stop.signal.addEventListener('abort', resolve);
    });
    await Promise.race([this.#source.enabled, stopped]);
    while (!this.#stop.signal.aborted) {
      await this.#permits.take();
      const messages = await this.#receive(client, receive);
      if (messages.length === 0) this.#permits.give();
      else {
        const batch = this.#handle(messages)
          .catch((error: unknown) => {
            this.#fail(error);
          })
          .finally(() => {
            this.#batches.delete(batch);
            this.#permits.give();
            this.#tell();
          });
        this.#batches.add(batch);
      }
      this.#tell();
    }
  }

  async #receive(client: SQSClient, command: ReceiveMessageCommand): Promise<Message[]> {
    try {
      return (await client.send(command, { abortSignal: this.#stop.signal })).Messages ?? [];
    } catch (error) {
      if (this.#stop.signal.aborted) return [];
      throw error;
    }
  }

  async #handle(messages: readonly Message[]): Promise<void> {
    const { target, again, heldBackMs } = this.#source;
    if (heldBackMs !== undefined) await sleep(heldBackMs());
    const event = this.#event(messages);
    this.batches.push(event.Records.map(({ body }) => body));
    const { outcome } = await target.invoke(event);
    const failed = 'error' in outcome ? undefined : failedOf(outcome.payload, event.Records);
    if (failed === undefined) return;
    const done = event.Records.filter(({ messageId }) => !failed.has(messageId));
    const { forgotten = [], deleted = [] } = Object.groupBy(done, (record) =>
      again?.(record) === true ? 'forgotten' : 'deleted',
    );
    await this.#delete(deleted);
    await this.#show(forgotten);
  }

  async #delete(records: readonly SQSRecord[]): Promise<void> {
    if (records.length === 0) return;
    const Entries = records.map(({ receiptHandle }, index) => ({ Id: String(index), ReceiptHandle: receiptHandle }));
    // A message that cannot be deleted because it took too long is delivered again.
    await this.#source.client.send(new DeleteMessageBatchCommand({ QueueUrl: this.#source.queue.url, Entries }));
  }

  async #show(records: readonly SQSRecord[]): Promise<void> {
    for (const { receiptHandle } of records) {
      await this.#source.client.send(
        new ChangeMessageVisibilityCommand({
          QueueUrl: this.#source.queue.url,
          ReceiptHandle: receiptHandle,
          VisibilityTimeout: 0,
        }),
      );
    }
  }

  #event(messages: readonly Message[]): SQSEvent {
    const Records = messages.map((message): SQSRecord => ({
      messageId: message.MessageId ?? '',
      receiptHandle: message.ReceiptHandle ?? '',
      body: message.Body ?? '',
      attributes: message.Attributes as unknown as SQSRecord['attributes'],
      messageAttributes: Object.fromEntries(
        Object.entries(message.MessageAttributes ?? {}).map(([name, { DataType = '', StringValue = '' }]) => [
          name,
          { dataType: DataType, stringValue: StringValue, stringListValues: [], binaryListValues: [] },
        ]),
      ),
      md5OfBody: message.MD5OfBody ?? '',
      eventSource: 'aws:sqs',
      eventSourceARN: this.#source.queue.arn,
      awsRegion: 'eu-central-1',
    }));
    return { Records };
  }

  #tell(): void {
    this.#turn.resolve();
    this.#turn = Promise.withResolvers();
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#stop.abort();
    this.#tell();
  }
}

/**
 * The messages that the response names as failed; undefined if all failed. A response without names is a success. An
 * unreadable response, or one that names other messages, fails the whole batch.
 */
export function failedOf(payload: unknown, records: readonly SQSRecord[]): ReadonlySet<string> | undefined {
  if (payload === null || payload === undefined) return new Set();
  if (typeof payload !== 'object') return undefined;
  const { batchItemFailures: named } = payload as { batchItemFailures?: unknown };
  if (named === null || named === undefined) return new Set();
  if (!Array.isArray(named)) return undefined;
  const ids = named.map((item: unknown) => (item as { itemIdentifier?: unknown } | null)?.itemIdentifier);
  const known = new Set<unknown>(records.map(({ messageId }) => messageId));
  return ids.every((id) => known.has(id)) ? new Set(ids as string[]) : undefined;
}

/**
 * Resolves when every queue is empty, including messages in flight, and no batch began during the check. A handler sends
 * new messages before its own message is deleted, so no message is missing between two queues.
 */
export async function drained(pollers: readonly EventSourcePoller[]): Promise<void> {
  const begun = (): number => pollers.reduce((sum, { batches }) => sum + batches.length, 0);
  const idle = (): boolean => pollers.every(({ inFlight }) => inFlight === 0);
  for (;;) {
    const before = begun();
    if (idle()) {
      const waiting = await Promise.all(pollers.map((poller) => poller.waiting()));
      if (waiting.every((count) => count === 0) && idle() && begun() === before) return;
    }
    await Promise.race(pollers.map((poller) => poller.turn()));
  }
}
