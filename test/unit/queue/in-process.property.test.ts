import fc from 'fast-check';
import { expect, test } from 'vitest';
import { InProcessQueues } from '../../../lib/queue/in-process/in-process.ts';
import type { FinalizeMessage } from '../../../lib/queue/messages.ts';
import type { Delivery, Handler } from '../../../lib/queue/queue.ts';
import { ManualClock } from './manual-clock.ts';
import { tagged } from './samples.ts';

const MAX_RECEIVES = 4;

/** One message: its group, the number and the kind of failures before it succeeds. */
interface Plan {
  readonly group: number;
  readonly failures: number;
  readonly how: 'named' | 'thrown';
  readonly waitMs: number;
  /** Whether the handler of the message before sends it, instead of the start of the run. */
  readonly late: boolean;
}

interface Waiting {
  readonly tag: string;
  receives: number;
}

/**
 * The guarantees of FIFO queues, as one list per group of the messages that are neither done nor dead. Checks every delivery.
 */
class Model {
  readonly groups = new Map<string, Waiting[]>();
  readonly inFlight = new Set<string>();
  readonly done: string[] = [];
  readonly dead: string[] = [];

  sent(tag: string, group: string): void {
    this.groups.set(group, [...(this.groups.get(group) ?? []), { tag, receives: 0 }]);
  }

  delivered(group: string, deliveries: readonly Delivery<FinalizeMessage>[], batchSize: number): void {
    expect(this.inFlight).not.toContain(group);
    this.inFlight.add(group);
    expect(deliveries.length).toBeLessThanOrEqual(batchSize);
    const first = this.groups.get(group)?.slice(0, deliveries.length) ?? [];
    for (const waiting of first) waiting.receives += 1;
    expect(deliveries.map(({ message, receiveCount }) => [message.image.tag, receiveCount])).toEqual(
      first.map(({ tag, receives }) => [tag, receives]),
    );
  }

  handled(group: string, batch: number, firstFailed: number): void {
    this.inFlight.delete(group);
    const waiting = this.groups.get(group) ?? [];
    const done = firstFailed < 0 ? batch : firstFailed;
    this.done.push(...waiting.splice(0, done).map(({ tag }) => tag));
    const dead = waiting.slice(0, batch - done).filter(({ receives }) => receives >= MAX_RECEIVES);
    this.dead.push(...dead.map(({ tag }) => tag));
    this.groups.set(
      group,
      waiting.filter((each) => !dead.includes(each)),
    );
  }
}

const plans = fc.array(
  fc.record<Plan>({
    group: fc.nat(3),
    failures: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(MAX_RECEIVES + 1) }),
    how: fc.constantFrom('named', 'thrown'),
    waitMs: fc.constantFrom(0, 0, 10, 1000),
    late: fc.boolean(),
  }),
  { minLength: 1, maxLength: 25 },
);

// Some messages are sent by handlers. Each fails any number of times, by name or by throwing, with or without a wait.
// Batches have any size and end in any order, and any number of them run concurrently.
test('every message is delivered in order, with one batch in flight per group, until it is done or dead', async () => {
  await fc.assert(
    fc.asyncProperty(
      plans,
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 6 }),
      fc.infiniteStream(fc.nat()),
      async (messages, concurrency, batchSize, choices) => {
        const clock = new ManualClock();
        const model = new Model();
        const recorded: string[] = [];
        const left = messages.map(({ failures }) => failures);
        const queues = new InProcessQueues({
          deadLetter: async ({ delivery: { message } }) => {
            await Promise.resolve();
            recorded.push((message as FinalizeMessage).image.tag ?? '');
          },
          maxReceives: MAX_RECEIVES,
          retryMs: 5,
          clock,
        });
        const send = async (index: number): Promise<void> => {
          const group = `g${messages[index]?.group ?? 0}`;
          model.sent(`${index}`, group);
          await queues.send('finalize', [tagged(`${index}`, group)]);
        };

        const gates: (() => void)[] = [];
        const sentLate = new Set<number>();
        const handler: Handler<FinalizeMessage> = async (deliveries) => {
          const group = deliveries[0]?.group ?? '';
          model.delivered(group, deliveries, batchSize);
          await new Promise<void>((resolve) => gates.push(resolve));
          const failed = new Map<string, Plan>();
          for (const { id, message } of deliveries) {
            const index = Number(message.image.tag);
            const plan = messages[index] as Plan;
            if (messages[index + 1]?.late === true && !sentLate.has(index + 1)) {
              sentLate.add(index + 1);
              await send(index + 1);
            }
            if ((left[index] ?? 0) > 0) {
              left[index] = (left[index] ?? 0) - 1;
              failed.set(id, plan);
            }
          }
          const thrown = [...failed.values()].some(({ how }) => how === 'thrown');
          const firstFailed = thrown ? 0 : deliveries.findIndex(({ id }) => failed.has(id));
          model.handled(group, deliveries.length, firstFailed);
          if (thrown) throw new Error('thrown');
          return {
            failed: [...failed.keys()],
            retryAfterMs: new Map([...failed].map(([id, { waitMs }]) => [id, waitMs])),
          };
        };

        for (const [index, { late }] of messages.entries()) if (index === 0 || !late) await send(index);
        queues.consume('finalize', { concurrency, batchSize, handler });
        const ended: 'idle'[] = [];
        const idle = queues.idle().then(() => ended.push('idle'));
        for (;;) {
          await new Promise((resolve) => setImmediate(resolve));
          if (ended.length > 0) break;
          expect(gates.length).toBeLessThanOrEqual(concurrency);
          const [gate] = gates.splice((choices.next().value ?? 0) % Math.max(1, gates.length), 1);
          if (gate !== undefined) gate();
          else if (clock.pending > 0) clock.advanceToNext();
          else expect.fail('nothing is in flight, nothing waits, and it is not idle');
        }
        await idle;

        const all = messages.map((_, index) => `${index}`).toSorted();
        expect([...model.done, ...model.dead].toSorted()).toEqual(all);
        expect(recorded.toSorted()).toEqual(model.dead.toSorted());
        expect(clock.pending).toBe(0);
        await queues.stop();
      },
    ),
    { numRuns: 200 },
  );
});
