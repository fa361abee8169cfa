import type { BlobEvent } from '../lib/sync/events.ts';

/** The number of one repository's images that need no work in a run. */
interface Idle {
  readonly run: string;
  readonly repository: string;
  /** `queued` by an earlier run. */
  readonly kind: 'unchanged' | 'queued';
  images: number;
}

/** The share of one run in the cost of an invocation. */
interface Cost {
  readonly run: string;
  readonly gbSeconds: number;
  /** Bytes fetched from registries. */
  readonly bytes: number;
}

/** The counts of one invocation by run, because one log line per image or part would cost more than the work itself. */
export class Tally {
  readonly #started: number;
  readonly #idle = new Map<string, Idle>();
  /** Bytes from registries by run, including discarded bytes. */
  readonly #fetched = new Map<string, number>();
  /** Message ids by run. */
  readonly #messages = new Map<string, Set<string>>();
  /** By blob: the start in milliseconds, and the bytes of this attempt so far. */
  readonly #begun = new Map<string, number>();
  readonly #arrived = new Map<string, number>();

  constructor(now: number) {
    this.#started = now;
  }

  /** Counts a message as work for its run. */
  handled(run: string, messageId: string): void {
    this.#messages.set(run, (this.#messages.get(run) ?? new Set()).add(messageId));
  }

  idle(run: string, repository: string, kind: Idle['kind']): void {
    const key = `${kind} ${run} ${repository}`;
    const found = this.#idle.get(key) ?? { run, repository, kind, images: 0 };
    found.images += 1;
    this.#idle.set(key, found);
  }

  fetched(run: string, bytes: number): void {
    this.#fetched.set(run, (this.#fetched.get(run) ?? 0) + bytes);
  }

  /** Starts an attempt at a blob. */
  begin(blob: string, now: number): void {
    this.#begun.set(blob, now);
    this.#arrived.delete(blob);
  }

  /** The start of the last attempt at a blob. */
  begun(blob: string): number | undefined {
    return this.#begun.get(blob);
  }

  /** Counts the bytes of an attempt; fewer bytes than before belong to a new attempt. */
  progress({ run, blob, fetched }: Pick<BlobEvent, 'run' | 'blob' | 'fetched'>): void {
    const before = this.#arrived.get(blob) ?? 0;
    this.fetched(run, fetched >= before ? fetched - before : fetched);
    this.#arrived.set(blob, fetched);
  }

  get idleImages(): readonly Idle[] {
    return [...this.#idle.values()];
  }

  get bytes(): number {
    return [...this.#fetched.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /**
   * The cost of the invocation by run: time and memory are divided by the messages of each run. The start of the sandbox
   * is not included.
   */
  costs(now: number, memoryMiB: number): readonly Cost[] {
    const gbSeconds = ((now - this.#started) / 1_000) * (memoryMiB / 1_024);
    const all = [...this.#messages.values()].reduce((sum, { size }) => sum + size, 0);
    return [...this.#messages].map(([run, { size }]) => ({
      run,
      gbSeconds: Math.round(((gbSeconds * size) / all) * 1e6) / 1e6,
      bytes: this.#fetched.get(run) ?? 0,
    }));
  }
}
