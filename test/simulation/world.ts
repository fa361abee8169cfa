/**
 * One seed, one clock, one queue of events. Time passes only from one event to the next, and no real I/O happens, so the same
 * schedule gives the same trace on every machine.
 *
 * Randomness is keyed: a decision depends on the seed and on its own name, and not on the decisions before it. So a schedule
 * keeps most of its decisions when an action or a fault is left out, and can be reduced.
 */

/** 2026-01-01T00:00:00Z */
export const START = 1_767_225_600_000;

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  isCancelled: boolean;
}

export interface Line {
  readonly at: number;
  /** The actor: `layer sha256:1a2b… #3`. */
  readonly who: string;
  readonly what: string;
}

export class World {
  readonly seed: number;
  readonly trace: Line[] = [];
  /** Called after each event, once all work that it started is waiting. */
  afterEvent: () => void = () => undefined;
  #failure: { readonly error: unknown } | undefined;
  #now = START;
  #order = 0;
  readonly #heap: Event[] = [];

  constructor(seed: number) {
    this.seed = seed;
  }

  /** Milliseconds since the epoch. */
  get now(): number {
    return this.#now;
  }

  /** The number of events so far. */
  get steps(): number {
    return this.#order;
  }

  /** A number from 0 to 1 that depends on the seed and the name alone. */
  chance(name: string): number {
    let hash = this.seed ^ 0x9e3779b9;
    for (let at = 0; at < name.length; at += 1) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
    // The finaliser of MurmurHash3: neighbouring names get unrelated numbers.
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
  }

  /** One of the values. */
  pick<T>(name: string, values: readonly T[]): T {
    return values[Math.floor(this.chance(name) * values.length)] as T;
  }

  say(who: string, what: string): void {
    this.trace.push({ at: this.#now, who, what });
  }

  /** Ends the run with an error, of an actor or of a check within a call. */
  fail(error: unknown): void {
    this.#failure ??= { error };
  }

  /** Runs `run` after a time in milliseconds; returns a function that cancels it. */
  after(ms: number, run: () => void): () => void {
    const event: Event = {
      at: this.#now + Math.ceil(Math.max(ms, 0)),
      order: (this.#order += 1),
      run,
      isCancelled: false,
    };
    push(this.#heap, event);
    return () => {
      event.isCancelled = true;
    };
  }

  /** Runs events until none is left. @throws Error after too many events, because some work never ends */
  async run(maxEvents: number): Promise<void> {
    const end = this.#order + maxEvents;
    await turn();
    for (let next = pop(this.#heap); next !== undefined; next = pop(this.#heap)) {
      if (next.isCancelled) continue;
      if (this.#order > end) throw new Error(`more than ${maxEvents} events: something repeats for ever`);
      this.#now = Math.max(this.#now, next.at);
      next.run();
      await turn();
      this.afterEvent();
      if (this.#failure !== undefined) throw this.#failure.error as Error;
    }
  }
}

/** Resolves when all promises that can settle now have settled. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function push(heap: Event[], event: Event): void {
  let at = heap.push(event) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] as Event;
    if (!isBefore(event, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = event;
}

function pop(heap: Event[]): Event | undefined {
  const [first] = heap;
  const last = heap.pop();
  if (first === undefined || last === undefined || heap.length === 0) return first;
  let at = 0;
  for (;;) {
    const left = 2 * at + 1;
    if (left >= heap.length) break;
    const right = left + 1;
    const child = right < heap.length && isBefore(heap[right] as Event, heap[left] as Event) ? right : left;
    if (!isBefore(heap[child] as Event, last)) break;
    heap[at] = heap[child] as Event;
    at = child;
  }
  heap[at] = last;
  return first;
}
