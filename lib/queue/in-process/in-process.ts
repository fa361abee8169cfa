import { asFailure, type Failure } from '../../core/failure.ts';
import { type Batch, type Entry, Fifo, type Group } from './fifo.ts';
import { type Clock, SYSTEM_CLOCK } from './clock.ts';
import { prepared } from './prepared.ts';
import { stopped } from '../prepare.ts';
import type { BatchResult, Consumer, Delivery, MessageOf, Outgoing, QueueName, Queues } from '../queue.ts';
import { largest } from '../../core/extremes.ts';

/** A message whose last delivery failed. */
export interface DeadLetter {
  readonly queue: QueueName;
  readonly delivery: Delivery;
  /** The error that the handler threw; undefined if it only reported the delivery as failed. */
  readonly failure: Failure | undefined;
}

export interface InProcessOptions {
  /** Records a message that could not be handled; its group waits for this. It must not throw. */
  readonly deadLetter: (letter: DeadLetter, signal: AbortSignal) => Promise<void>;
  /** The maximum number of deliveries of a message. */
  readonly maxReceives?: number;
  /** The default wait before a failed message is delivered again, in milliseconds. */
  readonly retryMs?: number;
  readonly clock?: Clock;
}

/** SQS's longest visibility timeout: twelve hours. A message with a longer wait comes back earlier, and waits again. */
const MAX_VISIBILITY_MS = 12 * 60 * 60 * 1000;

interface Lane {
  readonly name: QueueName;
  readonly fifo: Fifo;
  consumer: Consumer | undefined;
  inFlight: number;
  /** A check for deliverable messages is already scheduled. */
  due: boolean;
}

/** The result of a batch: the failed entries, the known reasons, and the wait of its group. */
interface Outcome {
  readonly failed: ReadonlySet<string>;
  readonly failure?: Failure;
  readonly waitMs: number;
  readonly restMs?: number;
}

/**
 * The queues of a mirror on one machine, with the semantics of SQS FIFO behind Lambda, so that code behaves the same in
 * both. Queued messages live as long as the process: an interrupted sync is completed by running it again.
 */
export class InProcessQueues implements Queues {
  readonly #options: Required<InProcessOptions>;
  readonly #lanes: Readonly<Record<QueueName, Lane>>;
  /** Batches in flight, each with its abort controller. */
  readonly #running = new Map<Promise<void>, AbortController>();
  /** Functions that cancel the timers of groups that wait after a failure. */
  readonly #timers = new Set<() => void>();
  /** Functions that end the pauses of groups early. */
  readonly #rests = new Set<() => void>();
  readonly #waiters: PromiseWithResolvers<void>[] = [];
  /** Messages that were accepted, and are neither done nor recorded as dead. */
  #outstanding = 0;
  #unrecorded: Failure | undefined;
  #stopped = false;
  #stopping: Promise<void> | undefined;

  constructor(options: InProcessOptions) {
    this.#options = { maxReceives: 5, retryMs: 1_000, clock: SYSTEM_CLOCK, ...options };
    const lane = (name: QueueName): Lane => {
      const fifo = new Fifo(name, this.#options.maxReceives);
      return { name, fifo, consumer: undefined, inFlight: 0, due: false };
    };
    this.#lanes = { resolve: lane('resolve'), layer: lane('layer'), finalize: lane('finalize') };
  }

  /** Accepts all messages or, where SQS would refuse one of them, none. */
  // eslint-disable-next-line @typescript-eslint/require-await -- the port is asynchronous, and so are its errors
  async send(
    queue: QueueName,
    messages: readonly Outgoing[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    if (this.#stopped || options.signal?.aborted === true) throw stopped(`send to ${queue} queue`);
    const lane = this.#lanes[queue];
    const accepted = prepared(queue, messages);
    const now = this.#options.clock.now();
    for (const outgoing of accepted) if (lane.fifo.accept(outgoing, now)) this.#outstanding += 1;
    this.#look(lane);
  }

  /** Starts to deliver a queue's messages to a handler. A queue can have only one consumer. */
  consume<Q extends QueueName>(queue: Q, consumer: Consumer<MessageOf<Q>>): void {
    const { concurrency, batchSize } = consumer;
    if (!(concurrency >= 1 && batchSize >= 1))
      throw new RangeError('consume: concurrency and batchSize are at least 1');
    const lane = this.#lanes[queue];
    if (lane.consumer !== undefined) throw new Error(`consume: the ${queue} queue has its consumer`);
    // `send` accepts only messages of the queue's type.
    lane.consumer = consumer as Consumer<never> as Consumer;
    this.#look(lane);
  }

  /**
   * Resolves when nothing is queued, in flight or waiting in any queue. Rejects when the queues are stopped before that,
   * and when a dead letter could not be recorded.
   */
  idle(): Promise<void> {
    const waiter = Promise.withResolvers<void>();
    this.#waiters.push(waiter);
    this.#settleWaiters();
    return waiter.promise;
  }

  /**
   * Aborts the running handlers and resolves when they have ended; queued messages are dropped. A handler must not call
   * it, since it would wait for itself.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#stopped = true;
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    this.#rests.clear();
    const reason = stopped('handle messages');
    for (const controller of this.#running.values()) controller.abort(reason);
    await Promise.all(this.#running.keys());
    this.#settleWaiters();
  }

  /** Schedules one check for messages that the lane's consumer can take. */
  #look(lane: Lane): void {
    if (lane.due) return;
    lane.due = true;
    queueMicrotask(() => {
      lane.due = false;
      const { consumer } = lane;
      if (consumer === undefined) return;
      while (lane.inFlight < consumer.concurrency && !this.#stopped) {
        const batch = lane.fifo.take(consumer.batchSize);
        if (batch === undefined) return;
        this.#start(lane, consumer, batch);
      }
    });
  }

  #start(lane: Lane, consumer: Consumer, batch: Batch): void {
    lane.inFlight += 1;
    const controller = new AbortController();
    const running = this.#handle(lane, consumer, batch, controller.signal).then(() => {
      this.#running.delete(running);
      lane.inFlight -= 1;
      this.#look(lane);
      this.#settleWaiters();
      // Runs after that check: if it delivered nothing, no handler can send further messages for a pausing group.
      queueMicrotask(() => {
        if (this.#running.size === 0) for (const end of this.#rests) end();
      });
    });
    this.#running.set(running, controller);
  }

  /** Handles a batch, from its delivery to its group's next turn. Never rejects. */
  async #handle(lane: Lane, consumer: Consumer, batch: Batch, signal: AbortSignal): Promise<void> {
    const outcome = await this.#deliver(lane, consumer, batch, signal);
    const { done, dead } = lane.fifo.putBack(batch, outcome.failed);
    this.#outstanding -= done;
    // The failure of a stopped handler is not final.
    if (signal.aborted) return;
    for (const entry of dead) await this.#bury(lane, batch.group, entry, outcome.failure, signal);
    if (this.#stopped) return;
    const { waitMs, restMs = 0 } = outcome;
    if (waitMs > 0 && batch.group.entries.first !== undefined) this.#releaseAfter(waitMs, lane, batch.group);
    else if (restMs > 0) this.#rests.add(this.#releaseAfter(restMs, lane, batch.group));
    else lane.fifo.release(batch.group);
  }

  async #deliver(lane: Lane, { handler }: Consumer, { group, entries }: Batch, signal: AbortSignal): Promise<Outcome> {
    try {
      const result = await handler(
        entries.map((entry) => deliveryOf(group, entry)),
        signal,
      );
      return this.#outcomeOf(result, entries);
    } catch (thrown) {
      const failure = asFailure(thrown, `handle ${lane.name} messages`, 'queue');
      const waitMs = clamped(failure.retryAfterMs ?? this.#options.retryMs);
      return { failed: new Set(entries.map(({ id }) => id)), failure, waitMs };
    }
  }

  #outcomeOf({ failed, retryAfterMs, restMs = 0 }: BatchResult, entries: readonly Entry[]): Outcome {
    for (const id of failed) {
      // As in Lambda: a result that names an unknown message cannot be trusted about the others either.
      if (!entries.some((entry) => entry.id === id)) throw new Error(`${id} was not in the batch`);
    }
    const waits = failed.map((id) => clamped(retryAfterMs?.get(id) ?? this.#options.retryMs));
    return {
      failed: new Set(failed),
      waitMs: Math.max(0, largest(waits)),
      restMs: failed.length === 0 ? clamped(restMs) : 0,
    };
  }

  async #bury(
    lane: Lane,
    group: Group,
    entry: Entry,
    failure: Failure | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await this.#options.deadLetter({ queue: lane.name, delivery: deliveryOf(group, entry), failure }, signal);
    } catch (thrown) {
      if (this.#stopped) return;
      this.#unrecorded ??= asFailure(thrown, `record dead letter of ${lane.name} queue`, 'queue');
    }
    this.#outstanding -= 1;
  }

  /** Returns a function that releases it at once. */
  #releaseAfter(ms: number, lane: Lane, group: Group): () => void {
    const release = (): void => {
      cancel();
      this.#timers.delete(cancel);
      this.#rests.delete(release);
      lane.fifo.release(group);
      this.#look(lane);
    };
    const cancel = this.#options.clock.after(ms, release);
    this.#timers.add(cancel);
    return release;
  }

  #settleWaiters(): void {
    let failure = this.#unrecorded;
    if (this.#outstanding > 0) {
      if (!this.#stopped || this.#running.size > 0) return;
      failure = stopped('wait for queues');
    }
    for (const { resolve, reject } of this.#waiters.splice(0)) {
      if (failure === undefined) resolve();
      else reject(failure);
    }
  }
}

function deliveryOf(group: Group, { id, message, receives }: Entry): Delivery {
  return { id, group: group.name, message, receiveCount: receives };
}

function clamped(ms: number): number {
  return Math.min(Math.max(0, ms), MAX_VISIBILITY_MS);
}
