/**
 * SQS FIFO queues behind Lambda's poller: messages of a group in order, at least one delivery, deduplication for five minutes,
 * a visibility timeout, and dead letters.
 */
import { createHash } from 'node:crypto';
import type { SQSRecord } from 'aws-lambda';
import { Failure } from '../../lib/core/failure.ts';
import { prepare } from '../../lib/queue/prepare.ts';
import type { Outgoing, QueueName, Queues } from '../../lib/queue/queue.ts';
import { copyIdOf, FIRST_SENT, firstSent } from '../../functions/waiting.ts';
import type { World } from './world.ts';

/** AWS: "the deduplication interval is 5 minutes". */
const DEDUPLICATION_MS = 5 * 60_000;
/** AWS: SendMessageBatch takes 10 messages. */
const BATCH = 10;
/** The share of deletions that SQS loses, while faults happen: the messages are delivered again. */
const LOST_DELETIONS = 0.02;

interface Held {
  readonly id: string;
  readonly body: string;
  readonly group: string;
  readonly deduplicationId: string;
  readonly sent: number;
  readonly firstSent: number;
  receives: number;
  visibleAt: number;
  inFlight: boolean;
}

export interface QueueOptions {
  readonly name: string;
  readonly visibilityMs: number;
  /** The concurrent batches. */
  readonly concurrency: number;
  readonly batch: number;
  /** Deliveries after which a message is moved to the dead letters; undefined for a queue of dead letters. */
  readonly maxReceives: number | undefined;
  /** Handles a batch; resolves to the ids to deliver again, or to `all` if the function failed or was killed. */
  readonly invoke: (records: readonly SQSRecord[]) => Promise<ReadonlySet<string> | 'all'>;
}

export class SimQueue {
  readonly name: string;
  readonly #world: World;
  readonly #o: QueueOptions;
  readonly #dead: SimQueue | undefined;
  readonly #messages: Held[] = [];
  readonly #seen = new Map<string, number>();
  #running = 0;
  #ids = 0;
  isReliable = false;

  constructor(world: World, options: QueueOptions, dead?: SimQueue) {
    this.#world = world;
    this.name = options.name;
    this.#o = options;
    this.#dead = dead;
  }

  get size(): number {
    return this.#messages.length;
  }

  accept(body: string, group: string, deduplicationId: string, first = this.#world.now): void {
    const seen = this.#seen.get(deduplicationId);
    if (seen !== undefined && this.#world.now - seen < DEDUPLICATION_MS) return;
    this.#seen.set(deduplicationId, this.#world.now);
    this.#ids += 1;
    const hash = createHash('sha256').update(`${deduplicationId} ${this.#world.now}`).digest('hex');
    this.#messages.push({
      id: `${this.name}-${hash.slice(0, 8)}`,
      body,
      group,
      deduplicationId,
      sent: this.#world.now,
      firstSent: first,
      receives: 0,
      visibleAt: this.#world.now,
      inFlight: false,
    });
    this.#look(1);
  }

  /** Sends a copy of a message to the end of its group. */
  requeue(record: SQSRecord): void {
    this.accept(record.body, record.attributes.MessageGroupId ?? '', copyIdOf(record), firstSent(record));
  }

  /** SQS ChangeMessageVisibility. */
  hide(id: string, seconds: number): void {
    const held = this.#messages.find((message) => message.id === id);
    if (held === undefined) return;
    held.visibleAt = this.#world.now + seconds * 1_000;
    held.inFlight = seconds > 0;
    this.#look(seconds * 1_000);
  }

  /** Looks for deliverable messages after a time. */
  #look(ms: number): void {
    this.#world.after(ms, () => {
      this.#deliver();
    });
  }

  #deliver(): void {
    while (this.#running < this.#o.concurrency) {
      const batch = this.#take();
      if (batch.length === 0) return;
      this.#running += 1;
      void this.#handle(batch);
    }
  }

  async #handle(batch: readonly Held[]): Promise<void> {
    const failed = await this.#o.invoke(batch.map((held) => recordOf(held)));
    this.#running -= 1;
    for (const held of batch) {
      const isFailed = failed === 'all' || failed.has(held.id);
      const isLost = !this.isReliable && this.#world.chance(`delete ${held.id} ${held.receives}`) < LOST_DELETIONS;
      if (isFailed || isLost) this.#look(Math.max(held.visibleAt - this.#world.now, 0));
      else this.#messages.splice(this.#messages.indexOf(held), 1);
    }
    this.#look(1);
  }

  /** The next messages, in order, from groups without a message in flight. */
  #take(): readonly Held[] {
    const { now } = this.#world;
    const blocked = new Set(
      this.#messages.filter(({ inFlight, visibleAt }) => inFlight && visibleAt > now).map(({ group }) => group),
    );
    const taken: Held[] = [];
    for (const held of [...this.#messages]) {
      if (taken.length >= this.#o.batch) break;
      if (blocked.has(held.group)) continue;
      // The whole group waits for a waiting message.
      if (held.visibleAt > now) {
        blocked.add(held.group);
        continue;
      }
      if (this.#isDead(held)) continue;
      held.receives += 1;
      held.inFlight = true;
      held.visibleAt = now + this.#o.visibilityMs;
      taken.push(held);
    }
    return taken;
  }

  /** Moves a message whose deliveries are used up. */
  #isDead(held: Held): boolean {
    const { maxReceives } = this.#o;
    if (maxReceives === undefined || held.receives < maxReceives) return false;
    this.#messages.splice(this.#messages.indexOf(held), 1);
    this.#world.say(this.name, `${held.id} is a dead letter`);
    this.#dead?.accept(held.body, held.group, `${held.deduplicationId} ${held.id}`, held.firstSent);
    return true;
  }
}

function recordOf({ id, body, group, deduplicationId, sent, firstSent: first, receives }: Held): SQSRecord {
  return {
    messageId: id,
    receiptHandle: id,
    body,
    attributes: {
      ApproximateReceiveCount: String(receives),
      MessageGroupId: group,
      MessageDeduplicationId: deduplicationId,
      SentTimestamp: String(sent),
      SenderId: 'simulation',
      ApproximateFirstReceiveTimestamp: String(sent),
    },
    messageAttributes: { [FIRST_SENT]: { dataType: 'Number', stringValue: String(first) } },
    md5OfBody: '',
    eventSource: 'aws:sqs',
    eventSourceARN: 'arn:aws:sqs:eu-central-1:000000000000:queue.fifo',
    awsRegion: 'eu-central-1',
  };
}

/** The calls of a sender, one for each batch of SendMessageBatch. */
type Call = (what: string, effect: () => Promise<void>, signal: AbortSignal | undefined) => Promise<void>;

/** The queues as a process sees them. SQS may refuse a part of a batch. */
export function queuesOf(
  queues: Readonly<Record<QueueName, SimQueue>>,
  world: World,
  call: Call,
  inForm: (body: string) => string,
): Queues {
  return {
    async send(name, messages, { signal } = {}) {
      const prepared = messages.map((outgoing: Outgoing) => prepare(name, outgoing));
      const queue = queues[name];
      for (let at = 0; at < prepared.length; at += BATCH) {
        const batch = prepared.slice(at, at + BATCH);
        const ids = batch.map(({ deduplicationId }) => deduplicationId.slice(0, 8)).join(', ');
        // eslint-disable-next-line @typescript-eslint/require-await -- the effect is immediate
        const effect = async (): Promise<void> => {
          const isPartial = !queue.isReliable && world.chance(`partial ${ids} ${world.now}`) < LOST_DELETIONS;
          const accepted = isPartial ? batch.slice(0, Math.floor(batch.length / 2)) : batch;
          for (const { body, group, deduplicationId } of accepted) queue.accept(inForm(body), group, deduplicationId);
          if (!isPartial) return;
          throw new Failure({
            operation: `send to ${name}`,
            side: 'queue',
            code: 'unavailable',
            detail: 'a part was refused',
          });
        };
        await call(`send ${batch.length} to ${name} (${ids})`, effect, signal);
      }
    },
  };
}
