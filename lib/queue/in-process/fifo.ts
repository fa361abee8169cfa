import { LinkedList } from './linked-list.ts';
import type { Message } from '../messages.ts';
import type { Outgoing } from '../queue.ts';

/** SQS's deduplication interval, in milliseconds. */
const DEDUPLICATION_MS = 5 * 60 * 1000;

export interface Entry {
  readonly id: string;
  readonly message: Message;
  /** Deliveries so far. */
  receives: number;
  /** It has failed before: delivered alone, so that it does not take its neighbours to the dead letters with it. */
  suspect: boolean;
}

/** Messages that are handled in order. */
export interface Group {
  readonly name: string;
  readonly entries: LinkedList<Entry>;
}

/** Entries of one group, taken from its front. The group is held until it is released. */
export interface Batch {
  readonly group: Group;
  readonly entries: readonly Entry[];
}

/**
 * One FIFO queue's state: what waits, in which group, whose turn it is, and what was seen within five minutes. It decides
 * and does nothing: no time passes in it and nothing runs. Every step costs the same however much is queued, and a group
 * with nothing in it is forgotten.
 */
export class Fifo {
  readonly #name: string;
  readonly #maxReceives: number;
  readonly #groups = new Map<string, Group>();
  /**
   * Groups whose first entry may be taken now: those that are neither in flight nor waiting after a failure. Taken at the
   * front, back at the end: each gets its turn.
   */
  readonly #ready = new LinkedList<Group>();
  readonly #seen = new Set<string>();
  /** The same ids in the order in which they are forgotten. */
  readonly #seenUntil = new LinkedList<{ readonly id: string; readonly until: number }>();
  #accepted = 0;

  /** @param maxReceives deliveries of a message, the last of which leaves it to the dead letters where it fails */
  constructor(name: string, maxReceives: number) {
    this.#name = name;
    this.#maxReceives = maxReceives;
  }

  /** Queues a message, unless its deduplication id was seen within five minutes; says whether it did. */
  accept({ message, group: name, deduplicationId }: Outgoing, now: number): boolean {
    this.#forget(now);
    if (this.#seen.has(deduplicationId)) return false;
    this.#seen.add(deduplicationId);
    this.#seenUntil.push({ id: deduplicationId, until: now + DEDUPLICATION_MS });

    let group = this.#groups.get(name);
    if (group === undefined) {
      group = { name, entries: new LinkedList() };
      this.#groups.set(name, group);
      this.#ready.push(group);
    }
    this.#accepted += 1;
    group.entries.push({ id: `${this.#name}-${this.#accepted}`, message, receives: 0, suspect: false });
    return true;
  }

  /** Takes the next group's first entries, and holds the group. */
  take(batchSize: number): Batch | undefined {
    const group = this.#ready.shift();
    if (group === undefined) return undefined;
    const entries: Entry[] = [];
    while (entries.length < batchSize) {
      const next = group.entries.first;
      if (next === undefined || (next.suspect && entries.length > 0)) break;
      group.entries.shift();
      next.receives += 1;
      entries.push(next);
      if (next.suspect) break;
    }
    return { group, entries };
  }

  /**
   * Puts back what has to be delivered again: the first failed entry and all that were taken after it, as SQS demands of
   * a FIFO queue's consumers, at the front and in order. Those that have had all their deliveries are left out.
   */
  putBack({ group, entries }: Batch, failed: ReadonlySet<string>): { readonly done: number; readonly dead: Entry[] } {
    const firstFailed = entries.findIndex(({ id }) => failed.has(id));
    if (firstFailed < 0) return { done: entries.length, dead: [] };
    const returned = entries.slice(firstFailed);
    for (const entry of returned) entry.suspect ||= failed.has(entry.id);
    const { dead = [], again = [] } = Object.groupBy(returned, ({ receives }) =>
      receives >= this.#maxReceives ? 'dead' : 'again',
    );
    for (const entry of again.toReversed()) group.entries.unshift(entry);
    return { done: firstFailed, dead };
  }

  /** Gives a held group its turn again. */
  release(group: Group): void {
    if (group.entries.first === undefined) this.#groups.delete(group.name);
    else this.#ready.push(group);
  }

  #forget(now: number): void {
    for (
      let oldest = this.#seenUntil.first;
      oldest !== undefined && oldest.until <= now;
      oldest = this.#seenUntil.first
    ) {
      this.#seen.delete(oldest.id);
      this.#seenUntil.shift();
    }
  }
}
