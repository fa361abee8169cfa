import { setTimeout as sleep } from 'node:timers/promises';
import { type BatchResultErrorEntry, SendMessageBatchCommand, type SQSClient } from '@aws-sdk/client-sqs';
import { asFailure, Failure, type FailureCode } from '../../core/failure.ts';
import { decide, PATIENT, type RetryPolicy } from '../../core/retry.ts';
import { isThrottling } from '../../core/throttling.ts';
import { MAX_MESSAGE_BYTES } from '../parse.ts';
import { describe, prepare, type Prepared, stopped } from '../prepare.ts';
import type { Outgoing, QueueName, Queues } from '../queue.ts';

/** Messages in one SendMessageBatch. */
const MAX_BATCH_ENTRIES = 10;

/** Bytes in one SendMessageBatch: the sum of its messages has the limit of a single one. */
const MAX_BATCH_BYTES = MAX_MESSAGE_BYTES;

/** Messages that an error describes; the others are counted. */
const DESCRIBED = 3;

export interface SqsOptions {
  /**
   * Create it with `maxAttempts: 1`. This class retries whole requests and single messages; the SDK would retry only
   * whole requests.
   */
  readonly client: SQSClient;
  /** The queues that the function may send to. */
  readonly urls: Readonly<Partial<Record<QueueName, string>>>;
  readonly retry?: RetryPolicy;
  /** A number from 0 to 1, for the jitter. */
  readonly random?: () => number;
  readonly wait?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

/** A message that SQS did not accept, with the reason. */
interface Refused {
  readonly message: Prepared;
  readonly failure: Failure;
}

/**
 * The queues as SQS FIFO queues. Batches are sent one at a time, so that a group keeps its order. If SQS refuses one
 * entry of a batch, that message comes after the accepted ones. A request whose response was lost is repeated: SQS
 * drops duplicates by their deduplication ids.
 */
export class SqsQueues implements Queues {
  readonly #options: Required<SqsOptions>;

  constructor(options: SqsOptions) {
    this.#options = {
      retry: PATIENT,
      random: Math.random,
      wait: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
      ...options,
    };
  }

  async send(
    queue: QueueName,
    messages: readonly Outgoing[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    const prepared = messages.map((outgoing) => prepare(queue, outgoing));
    let tried = 0;
    for (const batch of batchesOf(prepared)) {
      if (options.signal?.aborted === true) throw stopped(`send to ${queue} queue`);
      const refused = await this.#sendBatch(queue, batch, options.signal);
      tried += batch.length;
      const [first] = refused;
      if (first !== undefined) {
        const lost = [...refused.map(({ message }) => message), ...prepared.slice(tried)];
        throw notAccepted(queue, first.failure, lost, prepared.length);
      }
    }
  }

  /** Sends until SQS has accepted all messages, or until no tries are left. */
  async #sendBatch(queue: QueueName, batch: readonly Prepared[], signal: AbortSignal | undefined): Promise<Refused[]> {
    const { retry, random, wait } = this.#options;
    const final: Refused[] = [];
    let left = batch;
    let state = 'SQS had not responded';
    for (let attempt = 1; ; attempt += 1) {
      const refused = await this.#try(queue, left, { signal, state });
      const again = refused.filter(({ failure }) => failure.remedy !== 'never');
      for (const each of refused) if (each.failure.remedy === 'never') final.push(each);
      const [first] = again;
      if (first === undefined) return final;
      const decision = decide(first.failure, attempt, retry, random());
      if (!decision.again) return [...final, ...again];
      state = `the last try failed: ${first.failure.detail}`;
      try {
        await wait(decision.afterMs, signal);
      } catch {
        throw stopped(`send to ${queue} queue`, state);
      }
      left = again.map(({ message }) => message);
    }
  }

  async #try(
    queue: QueueName,
    batch: readonly Prepared[],
    { signal, state }: { readonly signal: AbortSignal | undefined; readonly state: string },
  ): Promise<Refused[]> {
    const Entries = batch.map(({ body, group, deduplicationId }, index) => ({
      Id: String(index),
      MessageBody: body,
      MessageGroupId: group,
      MessageDeduplicationId: deduplicationId,
    }));
    const QueueUrl = this.#options.urls[queue];
    if (QueueUrl === undefined) throw new RangeError(`this function may not send to the ${queue} queue`);
    const command = new SendMessageBatchCommand({ QueueUrl, Entries });
    try {
      const answer = await this.#options.client.send(command, signal === undefined ? {} : { abortSignal: signal });
      const accepted = new Set(answer.Successful?.map(({ Id }) => Id));
      const failed = new Map(answer.Failed?.map((entry) => [entry.Id, entry]));
      return batch.flatMap((message, index) =>
        accepted.has(String(index)) ? [] : [{ message, failure: entryFailure(failed.get(String(index))) }],
      );
    } catch (thrown) {
      if (signal?.aborted === true) throw stopped(`send to ${queue} queue`, state);
      const failure = requestFailure(thrown);
      return batch.map((message) => ({ message, failure }));
    }
  }
}

/** Batches in order, each as full as SQS allows. */
export function batchesOf(prepared: readonly Prepared[]): Prepared[][] {
  const batches: Prepared[][] = [];
  let bytes = 0;
  for (const message of prepared) {
    const last = batches.at(-1);
    if (last !== undefined && last.length < MAX_BATCH_ENTRIES && bytes + message.body.length <= MAX_BATCH_BYTES) {
      last.push(message);
      bytes += message.body.length;
    } else {
      batches.push([message]);
      bytes = message.body.length;
    }
  }
  return batches;
}

/** The reason why SQS refused one entry of a batch; an entry without a result was not accepted either. */
function entryFailure(entry: BatchResultErrorEntry | undefined): Failure {
  if (entry === undefined) return failureOf('internal', 'SQS returned no result for it');
  const detail = `${entry.Code ?? 'no code'}: ${entry.Message ?? 'no message'}`;
  if (isThrottling(entry.Code ?? '')) return failureOf('rate-limited', detail);
  return failureOf(entry.SenderFault === true ? 'invalid' : 'unavailable', detail);
}

/**
 * The reason why a whole request failed, from the SDK's error: service exceptions have a status, network errors do not.
 */
function requestFailure(thrown: unknown): Failure {
  if (!(thrown instanceof Error)) return asFailure(thrown, 'send', 'queue');
  const { $metadata, code: cause } = thrown as { $metadata?: { httpStatusCode?: number }; code?: unknown };
  const status = $metadata?.httpStatusCode;
  const fail = (code: FailureCode): Failure => failureOf(code, `${thrown.name}: ${thrown.message}`, thrown, status);
  if (isThrottling(thrown.name) || status === 429) return fail('rate-limited');
  if (thrown.name === 'TimeoutError') return fail('timeout');
  if (status === undefined) return typeof cause === 'string' ? fail('network') : asFailure(thrown, 'send', 'queue');
  if (status >= 500) return fail('unavailable');
  return fail(status === 401 || status === 403 ? 'denied' : 'invalid');
}

function failureOf(code: FailureCode, detail: string, cause?: unknown, status?: number): Failure {
  return new Failure({ operation: 'send', side: 'queue', code, detail, cause, status });
}

function notAccepted(queue: QueueName, why: Failure, lost: readonly Prepared[], total: number): Failure {
  const named = lost.slice(0, DESCRIBED).map(({ message }) => describe(message));
  const others = lost.length - named.length;
  const names = `${named.join('; ')}${others > 0 ? `; and ${others} more` : ''}`;
  return new Failure({
    operation: `send to ${queue} queue`,
    side: 'queue',
    code: why.code,
    remedy: why.remedy,
    detail: `${lost.length} of ${total} messages were not accepted (${names}): ${why.detail}`,
    cause: why,
    status: why.status,
  });
}
