import type { Clock } from '../../../lib/queue/in-process/in-process.ts';

interface Alarm {
  readonly at: number;
  readonly callback: () => void;
}

/** A clock that only goes on when it is told to. */
export class ManualClock implements Clock {
  #now = 0;
  readonly #alarms = new Set<Alarm>();

  /** Timers that are set and neither due nor taken back. */
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

  /** Lets so many milliseconds pass, and calls what is due by then, the earliest first. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (let next = this.#earliest(); next !== undefined && next.at <= end; next = this.#earliest()) {
      this.#now = next.at;
      this.#alarms.delete(next);
      next.callback();
    }
    this.#now = end;
  }

  /** Goes on to the next timer, where there is one. */
  advanceToNext(): void {
    const next = this.#earliest();
    if (next !== undefined) this.advance(next.at - this.#now);
  }

  #earliest(): Alarm | undefined {
    return [...this.#alarms].toSorted((a, b) => a.at - b.at)[0];
  }
}
