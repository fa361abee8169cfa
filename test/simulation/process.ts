/** A simulated process: the only way from the code under test to a store, a queue or a registry. */
import { Failure, type Side } from '../../lib/core/failure.ts';
import type { World } from './world.ts';

/** How often things go wrong, from 0 to 1, for each call of a port. */
export interface Rates {
  /** The call fails, and has no effect. */
  readonly before: number;
  /** The call fails after its effect. */
  readonly after: number;
  /** The answer never comes, and the client gives up after a minute. The call still takes effect. */
  readonly lost: number;
  /** The call takes some seconds or minutes. */
  readonly slow: number;
  /** The process ends before the call, or after it. */
  readonly kill: number;
  /** The completion of an upload fails with 409, since another request for the key is under way; none by default. */
  readonly conflict?: number;
  /** The share of processes whose calls take ten times as long; none by default. */
  readonly sluggish?: number;
}

export const NO_FAULTS: Rates = { before: 0, after: 0, lost: 0, slow: 0, kill: 0 };

type Kind = 'before' | 'after' | 'lost' | 'slow' | 'killed before' | 'killed after' | 'conflict';

/** Decides which calls fail, and remembers them. */
export class Faults {
  readonly struck = new Map<string, Kind>();
  readonly #world: World;
  readonly #only: ReadonlySet<string> | undefined;
  #rates: Rates;

  /** @param only the names of the calls that may fail, where a schedule is reduced */
  constructor(world: World, rates: Rates, only?: ReadonlySet<string>) {
    this.#world = world;
    this.#rates = rates;
    this.#only = only;
  }

  /** Ends all faults. */
  stop(): void {
    this.#rates = NO_FAULTS;
  }

  /** The factor for the latency of a process. */
  paceOf(process: string): number {
    return this.#world.chance(`pace ${process}`) < (this.#rates.sluggish ?? 0) ? SLUGGISH : 1;
  }

  of(call: string): Kind | undefined {
    const { before, after, lost, slow, kill, conflict = 0 } = this.#rates;
    let left = this.#world.chance(`fault ${call}`);
    const kinds: readonly (readonly [Kind, number])[] = [
      ['before', before],
      ['after', after],
      ['lost', lost],
      ['slow', slow],
      ['killed before', kill / 2],
      ['killed after', kill / 2],
      ['conflict', conflict],
    ];
    for (const [kind, rate] of kinds) {
      if (left < rate) {
        if (this.#only?.has(call) === false) return undefined;
        this.struck.set(call, kind);
        return kind;
      }
      left -= rate;
    }
    return undefined;
  }
}

/** The time after which a client gives up, in milliseconds. */
const CLIENT_TIMEOUT_MS = 60_000;
const MAX_SLOW_MS = 90_000;
const MAX_LATENCY_MS = 200;
const SLUGGISH = 10;

export interface CallOptions {
  readonly side: Side;
  /** It completes an upload with a condition. Other requests are repeated by the S3 client after a 409. */
  readonly isCompletion?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export class Process {
  readonly name: string;
  readonly world: World;
  readonly #faults: Faults;
  readonly #onKilled: () => void;
  #isAlive = true;
  #calls = 0;

  /** The message group that it works for. */
  lane = '';
  /** It continues work that an earlier process began. */
  mustResume = false;

  /** @param name unique, and the same in a schedule that leaves out other actions */
  constructor(name: string, world: World, faults: Faults, onKilled: () => void = () => undefined) {
    this.name = name;
    this.world = world;
    this.#faults = faults;
    this.#onKilled = onKilled;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Ends the process: none of its promises settles any more. */
  kill(reason: string): void {
    if (!this.#isAlive) return;
    this.#isAlive = false;
    this.world.say(this.name, `killed: ${reason}`);
    this.#onKilled();
  }

  /** The process has done its work; late timers of it do nothing. */
  end(): void {
    this.#isAlive = false;
  }

  /** Runs `run` after a time, if the process lives then. */
  after(ms: number, run: () => void): () => void {
    return this.world.after(ms, () => {
      if (this.#isAlive) run();
    });
  }

  /** A signal that is aborted after a time in milliseconds, as AbortSignal.timeout. */
  timeout(ms: number): AbortSignal {
    const controller = new AbortController();
    this.after(ms, () => {
      controller.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError'));
    });
    return controller.signal;
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve);
    });
  }

  /**
   * One call of a port. It takes effect at an instant between the call and the answer; other processes act before and
   * after that instant. An abort before that instant prevents the effect.
   */
  call<T>(what: string, effect: () => Promise<T>, { side, signal, isCompletion }: CallOptions): Promise<T> {
    this.#calls += 1;
    const id = `${this.name} #${this.#calls}`;
    const fault = this.#faults.of(id);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    // Either the request or its answer is slow.
    const isSlowRequest = this.world.chance(`way ${id}`) < 0.5;
    const slowMs = (isRequest: boolean): number =>
      fault === 'slow' && isRequest === isSlowRequest ? this.world.chance(`slow ${id}`) * MAX_SLOW_MS : 0;
    let isSettled = false;
    const settle = (word: string, how: () => void): void => {
      if (isSettled || !this.#isAlive) return;
      isSettled = true;
      signal?.removeEventListener('abort', onAbort);
      this.world.say(id, `${what}: ${word}`);
      how();
    };
    const fail = (code: 'unavailable' | 'timeout' | 'precondition-failed', detail: string): void => {
      settle(detail, () => {
        reject(new Failure({ operation: what, side, code, detail }));
      });
    };
    const onAbort = (): void => {
      settle('aborted', () => {
        reject(signal?.reason as Error);
      });
    };
    const answer = (word: string, how: () => void): void => {
      if (fault === 'killed after') this.kill(`after ${what} (${word})`);
      else if (fault === 'after')
        this.after(this.#latency(id, 'answer'), () => fail('unavailable', 'failed after its effect'));
      else if (fault === 'lost') this.after(CLIENT_TIMEOUT_MS, () => fail('timeout', 'the answer was lost'));
      else this.after(this.#latency(id, 'answer') + slowMs(false), () => settle(word, how));
    };
    const act = (): void => {
      if (isSettled || !this.#isAlive) return;
      if (fault === 'killed before') this.kill(`before ${what}`);
      else if (fault === 'before') fail('unavailable', 'failed before its effect');
      else if (fault === 'conflict' && isCompletion === true)
        fail('precondition-failed', 'conflicted with another request');
      else
        effect().then(
          (value) => answer('done', () => resolve(value)),
          (error: unknown) => answer(wordOf(error), () => reject(error)),
        );
    };
    if (signal?.aborted === true) onAbort();
    else {
      signal?.addEventListener('abort', onAbort, { once: true });
      this.after(this.#latency(id, 'request') + slowMs(true), act);
    }
    return promise;
  }

  #latency(id: string, way: string): number {
    const pace = this.#faults.paceOf(this.name);
    return Math.floor(this.world.chance(`${way} ${id}`) * MAX_LATENCY_MS * pace) + 1;
  }
}

function wordOf(error: unknown): string {
  return error instanceof Failure ? `${error.code}: ${error.detail.slice(0, 100)}` : String(error);
}
