import type { Clock } from '../../../lib/queue/in-process/clock.ts';

interface Alarm {
  readonly at: number;
  readonly callback: () => void;
}

/** A clock that advances only on request. */
export class ManualClock implements Clock {
  #now = 0;
  readonly #alarms = new Set<Alarm>();

  /** Timers that are set, not yet due and not cancelled. */
  get pending(): number {
    return this.#alarms.size;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const alarm = { at: this.#now + ms, callback };
    this.#alarms.add(alarm);
    return () => this.#alarms.delete(alarm);
  }

  /** Advances by this number of milliseconds, and calls all timers that become due, the earliest first. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (let next = this.#earliest(); next !== undefined && next.at <= end; next = this.#earliest()) {
      this.#now = next.at;
      this.#alarms.delete(next);
      next.callback();
    }
    this.#now = end;
  }

  /** Advances to the next timer, if there is one. */
  advanceToNext(): void {
    const next = this.#earliest();
    if (next !== undefined) this.advance(next.at - this.#now);
  }

  #earliest(): Alarm | undefined {
    return [...this.#alarms].toSorted((a, b) => a.at - b.at)[0];
  }
}
