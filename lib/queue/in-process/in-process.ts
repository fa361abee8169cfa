import { Counts } from '../../core/counts.ts';
import { asFailure, type Failure } from '../../core/failure.ts';
import { Semaphore } from '../../core/semaphore.ts';
import { parseRepository } from '../../oci/reference.ts';
import { type Batch, type Entry, Fifo, type Group, type Places } from './fifo.ts';
import { type Clock, SYSTEM_CLOCK } from './clock.ts';
import { prepared } from './prepared.ts';
import { stopped } from '../prepare.ts';
import type { Consumer, Delivery, MessageOf, Outgoing, QueueName, Queues } from '../queue.ts';
import { deliver, deliveryOf } from './outcome.ts';

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
  /** The maximum number of messages that a queue holds for each registry, before further senders wait. */
  readonly room?: number;
  readonly clock?: Clock;
}

/** The default maximum of messages per queue and registry, about 7 MB: enough to keep every transfer busy. */
const ROOM = 5_000;

interface Lane {
  readonly name: QueueName;
  readonly fifo: Fifo;
  /** The room of each registry. */
  readonly rooms: Map<string, Semaphore>;
  consumer: Consumer | undefined;
  /** Batches that are being handled. */
  inFlight: number;
  /** A check for deliverable messages is already scheduled. */
  due: boolean;
}

/**
 * The queues of a mirror on one machine, with the semantics of SQS FIFO behind Lambda, so that code behaves the same in
 * both. Queued messages live as long as the process: an interrupted sync is completed by running it again.
 */
export class InProcessQueues implements Queues {
  readonly #options: Required<InProcessOptions>;
  readonly #lanes: Readonly<Record<QueueName, Lane>>;
  readonly #running = new Map<Promise<void>, AbortController>();
  /** The lanes of handlers by the signals of these, which the handlers pass on when they send messages. */
  readonly #senders = new WeakMap<AbortSignal, Lane>();
  /** Functions that cancel the timers of groups that wait after a failure. */
  readonly #timers = new Set<() => void>();
  /** Functions that end the pauses of groups early. */
  readonly #rests = new Set<() => void>();
  readonly #waiters: PromiseWithResolvers<void>[] = [];
  /** By registry, the number of messages that were accepted, and are neither done nor recorded as dead. */
  readonly #outstanding = new Counts();
  #unrecorded: Failure | undefined;
  readonly #stop = new AbortController();
  #stopping: Promise<void> | undefined;

  constructor(options: InProcessOptions) {
    this.#options = { maxReceives: 5, retryMs: 1_000, room: ROOM, clock: SYSTEM_CLOCK, ...options };
    const lane = (name: QueueName): Lane => {
      const fifo = new Fifo(name, this.#options.maxReceives);
      return { name, fifo, rooms: new Map(), consumer: undefined, inFlight: 0, due: false };
    };
    this.#lanes = { resolve: lane('resolve'), layer: lane('layer'), finalize: lane('finalize') };
  }

  get #isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Whether several registries have messages that are not done. */
  get areShared(): boolean {
    return this.#outstanding.size > 1;
  }

  /**
   * Checks all messages before it accepts the first one. A message waits while the queue is full for its registry. Only a
   * handler of this queue does not wait, because it would wait for itself.
   */
  async send(
    queue: QueueName,
    messages: readonly Outgoing[],
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    if (this.#isStopped || signal?.aborted === true) throw stopped(`send to ${queue} queue`);
    const lane = this.#lanes[queue];
    const sender = signal === undefined ? undefined : this.#senders.get(signal);
    const limited = queue !== 'resolve' && sender !== lane;
    const registryOf = ({ message: { source } }: Outgoing): string => parseRepository(source).host;
    for (const [registry, outgoing] of Map.groupBy(prepared(queue, messages), registryOf)) {
      const room = limited ? this.#roomOf(lane, registry) : undefined;
      if (room?.tryTake(outgoing.length) === false) await this.#wait(room, outgoing.length, lane, signal);
      for (const [at, each] of outgoing.entries()) {
        // A send of more messages than the whole room takes the whole room.
        const place = at < (room?.total ?? 0) ? room : undefined;
        if (lane.fifo.accept(each, { now: this.#options.clock.now(), registry, room: place }))
          this.#outstanding.add(registry, 1);
        else place?.give();
      }
      this.#look(lane);
    }
  }

  #roomOf({ rooms }: Lane, registry: string): Semaphore {
    const room = rooms.get(registry) ?? new Semaphore(this.#options.room);
    rooms.set(registry, room);
    return room;
  }

  /** Waits for room. A handler keeps its place meanwhile, because it keeps its images in memory. */
  async #wait(room: Semaphore, count: number, { name }: Lane, signal: AbortSignal | undefined): Promise<void> {
    try {
      const signals = signal === undefined ? [this.#stop.signal] : [this.#stop.signal, signal];
      await room.take(AbortSignal.any(signals), count);
    } catch {
      throw stopped(`send to ${name} queue`);
    }
  }

  /** Starts to deliver a queue's messages to a handler. A queue can have only one consumer. */
  consume<Q extends QueueName>(queue: Q, consumer: Consumer<MessageOf<Q>>): void {
    const { concurrency, perRegistry = 1, batchSize } = consumer;
    if (!(concurrency >= 1 && perRegistry >= 1 && batchSize >= 1))
      throw new RangeError('consume: concurrency, perRegistry and batchSize are at least 1');
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
    this.#stopping ??= this.#end();
    return this.#stopping;
  }

  async #end(): Promise<void> {
    this.#stop.abort(stopped('handle messages'));
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    this.#rests.clear();
    for (const controller of this.#running.values()) controller.abort(this.#stop.signal.reason);
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
      while (lane.inFlight < consumer.concurrency && !this.#isStopped) {
        const batch = lane.fifo.take(consumer.batchSize, placesOf(consumer, lane.inFlight));
        if (batch === undefined) return;
        this.#start(lane, consumer, batch);
      }
    });
  }

  #start(lane: Lane, consumer: Consumer, batch: Batch): void {
    lane.inFlight += 1;
    const controller = new AbortController();
    this.#senders.set(controller.signal, lane);
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
    const outcome = await deliver(lane.name, consumer, batch, { retryMs: this.#options.retryMs, signal });
    const { done, dead } = lane.fifo.putBack(batch, outcome.failed);
    for (const entry of done) this.#settle(entry);
    // The failure of a stopped handler is not final.
    if (signal.aborted) return;
    for (const entry of dead) await this.#bury(lane, batch.group, entry, outcome.failure, signal);
    if (this.#isStopped) return;
    const { waitMs, restMs = 0 } = outcome;
    if (waitMs > 0 && batch.group.entries.first !== undefined) this.#releaseAfter(waitMs, lane, batch.group);
    else if (restMs > 0 && batch.group.entries.length < consumer.batchSize)
      this.#rests.add(this.#releaseAfter(restMs, lane, batch.group));
    else lane.fifo.release(batch.group);
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
      if (this.#isStopped) return;
      this.#unrecorded ??= asFailure(thrown, `record dead letter of ${lane.name} queue`, 'queue');
    }
    this.#settle(entry);
  }

  /** Counts an entry as done or dead. */
  #settle({ registry, room }: Entry): void {
    this.#outstanding.add(registry, -1);
    room?.give();
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
    if (this.#outstanding.size > 0) {
      if (!this.#isStopped || this.#running.size > 0) return;
      failure = stopped('wait for queues');
    }
    for (const { resolve, reject } of this.#waiters.splice(0)) {
      if (failure === undefined) resolve();
      else reject(failure);
    }
  }
}

/** The places of a lane. Only a limit for each registry makes a registry leave places to others. */
function placesOf({ concurrency, perRegistry }: Consumer, inFlight: number): Places {
  if (perRegistry === undefined) return { free: Infinity, perRegistry: Infinity };
  return { free: concurrency - inFlight, perRegistry };
}
