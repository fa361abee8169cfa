import { retryAfterMs, type Answer } from '../errors.ts';
import {
  type Drought,
  isOver,
  NO_DROUGHT,
  passed,
  pauseMs,
  refused,
  sent,
  slowStart,
  UNPACED,
  waitMs,
  type Pace as State,
} from './pace-policy.ts';
import { isOutOfTime, type Patience } from './patience.ts';
import { Refused, type Ticket, type Turn } from './ticket.ts';

interface Waiter {
  readonly ticket: Ticket;
  readonly grant: () => void;
  readonly reject: (reason: unknown) => void;
}

interface Kind {
  drought: Drought;
  /** The request that all refusals of the drought were of; none where they were of several. */
  only: Ticket | undefined;
  /** Requests of this kind fail without being sent until then. */
  closedUntil: number;
  /** The last refusal of this kind. */
  answer: Answer | undefined;
}

export interface PaceOptions {
  readonly patience: Patience;
  readonly now: () => number;
}

/** How many times as many tries there are where requests were let through before: 12 refusals take more than a minute. */
const OPENED_FACTOR = 2;
/** A kind of request that is given up is tried again by one request, after so many milliseconds at most. */
const CLOSED_MS = 1000;

/**
 * The rate at which one endpoint is asked. The endpoint rests, not the request: all requests take turns, first come, first
 * served, and a refused one is the first to be sent again.
 */
export class Pace {
  readonly #options: PaceOptions;
  readonly #kinds = new Map<string, Kind>();
  readonly #waiting: Waiter[] = [];
  #state: State = UNPACED;
  #tickets = 0;
  #passes = 0;
  #inFlight = 0;
  /** Requests on their way that were sent after the last refusal. */
  #probes = 0;
  #sleeping: AbortController | undefined;
  /** The last refusal. */
  #answer: Answer | undefined;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  ticket(kind: string): Ticket {
    this.#tickets += 1;
    return { kind, order: this.#tickets, refusals: 0, overtaken: 0, passesSeen: 0, epoch: 0, probed: false };
  }

  /** Resolves when the request may be sent. @throws Refused, or the signal's reason */
  async take(ticket: Ticket, turn: Turn, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const kind = this.#kind(ticket.kind);
    const now = this.#options.now();
    if (kind.answer !== undefined && kind.closedUntil > now) throw new Refused(kind.answer, kind.closedUntil - now);
    if (turn === 'at-once' && kind.drought.refusals === 0) {
      this.#grant(ticket);
      return;
    }
    const { longestMs = Infinity } = this.#options.patience;
    const restMs = this.#state.pausedUntil - now;
    if (this.#answer !== undefined && restMs > longestMs) throw new Refused(this.#answer, restMs);
    await this.#queue(ticket, signal);
  }

  /** It was let through. */
  passed(ticket: Ticket): void {
    this.#end(ticket);
    this.#passes += 1;
    this.#state = passed(this.#state, ticket.epoch, this.#options.now());
    const kind = this.#kind(ticket.kind);
    kind.drought = { ...NO_DROUGHT, opened: true };
    kind.closedUntil = 0;
    this.#pump();
  }

  /** It had an answer that says nothing about a limit, or none at all. */
  ended(ticket: Ticket): void {
    this.#end(ticket);
    this.#pump();
  }

  /**
   * It was refused.
   *
   * @param sure whether it was for a limit, beyond doubt
   * @returns the pause that begins, in milliseconds
   */
  refused(ticket: Ticket, answer: Answer, sure: boolean): number {
    const { patience, now } = this.#options;
    const time = now();
    this.#end(ticket);
    const kind = this.#kind(ticket.kind);
    kind.answer = answer;
    this.#answer = answer;
    ticket.refusals += 1;
    if (ticket.refusals > 1 && this.#passes > ticket.passesSeen) ticket.overtaken += 1;
    ticket.passesSeen = this.#passes;
    const isNews = ticket.epoch === this.#state.epoch;
    ticket.probed = isNews && this.#state.probing;
    kind.only = kind.drought.refusals === 0 || kind.only === ticket ? ticket : undefined;
    const refusals = kind.drought.refusals + (isNews || kind.drought.refusals === 0 ? 1 : 0);
    const askedMs = retryAfterMs(answer.headers['retry-after'], time) ?? 0;
    const ms = pauseMs(refusals, askedMs, patience.policy, patience.random());
    const opened = kind.drought.opened || (sure && this.#passes > 0);
    if (refusals > kind.drought.refusals) kind.drought = { opened, refusals, pausedMs: kind.drought.pausedMs + ms };
    this.#state = refused(this.#state, {
      epoch: ticket.epoch,
      pauseMs: ms,
      askedMs,
      sure,
      again: ticket.refusals > 1,
      now: time,
    });
    if (isNews) this.#probes = 0;
    const tooLong = kind.drought.pausedMs > (patience.maxMs ?? Infinity);
    // Refusals of one request alone say nothing about the next one.
    if (tooLong || (kind.only === undefined && this.#isOver(kind))) this.#close(ticket.kind, kind, time, askedMs);
    this.#pump();
    return ms;
  }

  /** Whether this request is not worth another try. */
  isHopeless(ticket: Ticket): boolean {
    return this.#isOver(this.#kind(ticket.kind));
  }

  /** Whether a request of this kind was ever let through. */
  isOpened(ticket: Ticket): boolean {
    return this.#kind(ticket.kind).drought.opened;
  }

  /** The refusals of this kind were not sign of a limit. */
  forgive(): void {
    this.#state = { ...UNPACED, epoch: this.#state.epoch + 1 };
    this.#probes = 0;
    this.#pump();
  }

  #isOver({ drought }: Kind): boolean {
    const { policy, longestMs, maxMs = Infinity } = this.#options.patience;
    // Where long waits are left to the caller, so are many of them.
    const factor = longestMs === undefined ? OPENED_FACTOR : 1;
    return isOver(drought, { tries: policy.tries, factor, maxMs });
  }

  /** The kind rests instead of the endpoint, so that other kinds of request go on. */
  #close(name: string, kind: Kind, now: number, askedMs: number): void {
    const ownMs = Math.min(CLOSED_MS, this.#options.patience.policy.capMs);
    const restMs = askedMs > 0 ? Math.max(askedMs, this.#state.pausedUntil - now) : ownMs;
    kind.closedUntil = now + restMs;
    this.#state = { ...this.#state, pausedUntil: now, nextAt: now };
    const { answer } = kind;
    for (const waiter of this.#waiting.filter(({ ticket }) => ticket.kind === name)) {
      this.#leave(waiter);
      if (answer !== undefined) waiter.reject(new Refused(answer, restMs));
    }
  }

  #kind(name: string): Kind {
    const known = this.#kinds.get(name);
    if (known !== undefined) return known;
    const kind = { drought: NO_DROUGHT, only: undefined, closedUntil: 0, answer: undefined };
    this.#kinds.set(name, kind);
    return kind;
  }

  #queue(ticket: Ticket, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#leave(waiter);
        this.#pump();
        // The time for it was over while it waited: the refusal is what the caller has to know.
        const answer = isOutOfTime(signal) ? this.#answer : undefined;
        const restMs = this.#state.pausedUntil - this.#options.now();
        waiter.reject(answer === undefined ? signal?.reason : new Refused(answer, restMs));
      };
      const settle = (done: () => void): void => {
        signal?.removeEventListener('abort', onAbort);
        done();
      };
      const waiter: Waiter = {
        ticket,
        grant: () => {
          settle(resolve);
        },
        reject: (reason) => {
          settle(() => {
            reject(reason);
          });
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const behind = this.#waiting.findIndex((other) => other.ticket.order > ticket.order);
      const at = behind === -1 ? this.#waiting.length : behind;
      this.#waiting.splice(ticket.probed ? Math.max(at, 1) : at, 0, waiter);
      // The timer that runs already is as good for whoever is first when it ends.
      if (this.#sleeping === undefined) this.#pump();
    });
  }

  #leave(waiter: Waiter): void {
    const at = this.#waiting.indexOf(waiter);
    if (at !== -1) this.#waiting.splice(at, 1);
  }

  #grant(ticket: Ticket): void {
    this.#state = sent(this.#state, this.#options.now());
    ticket.epoch = this.#state.epoch;
    this.#inFlight += 1;
    this.#probes += 1;
  }

  #end(ticket: Ticket): void {
    this.#inFlight -= 1;
    if (ticket.epoch === this.#state.epoch) this.#probes -= 1;
  }

  #mayGo(): boolean {
    if (this.#state.rate === Infinity) return this.#inFlight < slowStart(this.#passes);
    return !this.#state.probing || this.#probes === 0;
  }

  /** Lets go whoever may go now, and sets the timer for the next one. */
  #pump(): void {
    this.#sleeping?.abort();
    this.#sleeping = undefined;
    while (this.#waiting.length > 0 && this.#mayGo()) {
      const ms = waitMs(this.#state, this.#options.now());
      if (ms > 0) {
        this.#sleep(ms);
        return;
      }
      this.#grantFirst();
    }
  }

  #grantFirst(): void {
    const waiter = this.#waiting.shift();
    if (waiter === undefined) return;
    this.#grant(waiter.ticket);
    waiter.grant();
  }

  #sleep(ms: number): void {
    const abort = new AbortController();
    this.#sleeping = abort;
    this.#options.patience.sleep(ms, abort.signal).then(
      () => {
        if (this.#sleeping !== abort) return;
        this.#sleeping = undefined;
        // A timer may be early by a fraction of a millisecond: the time was slept, whatever the clock says.
        if (this.#mayGo()) this.#grantFirst();
        this.#pump();
      },
      (thrown: unknown) => {
        if (this.#sleeping !== abort) return;
        this.#sleeping = undefined;
        for (const waiter of this.#waiting.splice(0)) waiter.reject(thrown);
      },
    );
  }
}
