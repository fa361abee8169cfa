import { Counts } from '../../core/counts.ts';
import type { Semaphore } from '../../core/semaphore.ts';
import { LinkedList } from './linked-list.ts';
import { SeenIds } from './seen-ids.ts';
import { Turns } from './turns.ts';
import type { Message } from '../messages.ts';
import type { Outgoing } from '../queue.ts';

export interface Entry {
  readonly id: string;
  readonly message: Message;
  /** The host of its source. */
  readonly registry: string;
  /** Deliveries so far. */
  receives: number;
  /**
   * Whether it has failed before. It is then delivered alone, so that other messages do not become dead letters with
   * it.
   */
  suspect: boolean;
  /** The room that it takes until it is done or dead. */
  readonly room: Semaphore | undefined;
}

/** A group: messages that are handled in order. */
export interface Group {
  readonly name: string;
  readonly entries: LinkedList<Entry>;
}

/** Entries from the front of one group. The group is held until it is released. */
export interface Batch {
  readonly group: Group;
  /** The registry that the batch counts for until it is put back. */
  readonly registry: string;
  readonly entries: readonly Entry[];
}

/** The places for batches in flight. */
export interface Places {
  /** Those that no batch has. */
  readonly free: number;
  /** The maximum for one registry. */
  readonly perRegistry: number;
}

/**
 * The state of one FIFO queue: the waiting messages by group, the order of groups, and the deduplication ids of the
 * last five minutes. It runs no handlers, and has no timers. The cost of a step does not depend on the number of queued
 * messages. Empty groups are dropped.
 */
export class Fifo {
  readonly #name: string;
  readonly #maxReceives: number;
  readonly #groups = new Map<string, Group>();
  /**
   * Groups whose first entry may be taken now: those that are neither in flight nor waiting after a failure. A group
   * is returned at the end of its registry, so that each gets its turn.
   */
  readonly #ready = new Turns();
  /** Ready groups of failing images. They are taken while no other group is ready. */
  readonly #late = new Turns();
  /** The batches in flight of each registry. */
  readonly #inFlight = new Counts();
  /** Images of which a layer has failed, and none has been stored since. */
  readonly #failing = new Set<string>();
  readonly #seen = new SeenIds();
  #accepted = 0;

  /**
   * @param maxReceives deliveries of a message; if the last one fails, the message becomes a dead letter
   */
  constructor(name: string, maxReceives: number) {
    this.#name = name;
    this.#maxReceives = maxReceives;
  }

  /**
   * Queues a message, unless its deduplication id was seen within five minutes; returns whether the message was queued.
   */
  accept(
    { message, group: name, deduplicationId }: Outgoing,
    { now, registry, room }: { readonly now: number; readonly registry: string; readonly room?: Semaphore | undefined },
  ): boolean {
    if (!this.#seen.add(deduplicationId, now)) return false;
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = { name, entries: new LinkedList() };
      this.#groups.set(name, group);
      this.#ready.push(registry, group);
    }
    this.#accepted += 1;
    const id = `${this.#name}-${this.#accepted}`;
    group.entries.push({ id, message, registry, receives: 0, suspect: false, room });
    return true;
  }

  /**
   * Takes the next group's first entries, and holds the group. A registry gets another place only while it has fewer than
   * are free. So one that does not respond leaves places to the others.
   */
  take(batchSize: number, { free, perRegistry }: Places): Batch | undefined {
    const group = this.#next((registry) => this.#inFlight.of(registry) < Math.min(free, perRegistry));
    const registry = group?.entries.first?.registry;
    if (group === undefined || registry === undefined) return undefined;
    this.#inFlight.add(registry, 1);
    const entries: Entry[] = [];
    while (entries.length < batchSize) {
      const next = group.entries.first;
      if (next === undefined || (next.suspect && entries.length > 0)) break;
      group.entries.shift();
      next.receives += 1;
      entries.push(next);
      if (next.suspect) break;
    }
    return { group, registry, entries };
  }

  /**
   * The next group. The groups of failing images wait until no other group is ready, so that they do not delay the other images. Of these,
   * layers that have failed come first: the failure of an image is final once one of its layers has failed in all deliveries.
   */
  #next(mayHaveTurn: (registry: string) => boolean): Group | undefined {
    for (let group = this.#ready.take(mayHaveTurn); group !== undefined; group = this.#ready.take(mayHaveTurn)) {
      const { first } = group.entries;
      const image = first === undefined ? undefined : imageOf(first);
      if (first === undefined || image === undefined || !this.#failing.has(image)) return group;
      if (first.suspect) this.#late.unshift(first.registry, group);
      else this.#late.push(first.registry, group);
    }
    return this.#late.take(mayHaveTurn);
  }

  /**
   * Puts back the entries that have to be delivered again, at the front and in order: the first failed entry and all
   * that were taken after it, as SQS demands of a FIFO queue's consumers. Entries without deliveries left are returned
   * as dead.
   */
  putBack(
    { group, registry, entries }: Batch,
    failed: ReadonlySet<string>,
  ): { readonly done: readonly Entry[]; readonly dead: readonly Entry[] } {
    this.#inFlight.add(registry, -1);
    for (const entry of entries) this.#judge(entry, failed.has(entry.id));
    const firstFailed = entries.findIndex(({ id }) => failed.has(id));
    if (firstFailed < 0) return { done: entries, dead: [] };
    const returned = entries.slice(firstFailed);
    for (const entry of returned) entry.suspect ||= failed.has(entry.id);
    const { dead = [], again = [] } = Object.groupBy(returned, ({ receives }) =>
      receives >= this.#maxReceives ? 'dead' : 'again',
    );
    for (const entry of again.toReversed()) group.entries.unshift(entry);
    return { done: entries.slice(0, firstFailed), dead };
  }

  /** Releases a held group, so that it gets its turn again. */
  release(group: Group): void {
    const { first } = group.entries;
    if (first === undefined) this.#groups.delete(group.name);
    else this.#ready.push(first.registry, group);
  }

  #judge(entry: Entry, hasFailed: boolean): void {
    const image = imageOf(entry);
    if (image === undefined) return;
    if (hasFailed) this.#failing.add(image);
    else this.#failing.delete(image);
  }
}

/** The image of a layer; undefined for any other message. */
function imageOf({ message }: Entry): string | undefined {
  return message.type === 'layer' ? `${message.source}@${message.image.digest}` : undefined;
}
