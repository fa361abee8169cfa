import { parseRetryAfter } from '../../core/http/time.ts';
import type { ErrorResponse } from '../errors.ts';
import {
  type RefusalStreak,
  isOver,
  NO_REFUSALS,
  passed,
  pauseMs,
  refused,
  sent,
  slowStart,
  UNPACED,
  waitMs,
  type Pace as State,
} from './pace-policy.ts';
import { isOutOfTime, type RetryOptions } from './retry-wait.ts';
import type { Persistence } from './message.ts';
import { Refused, type PacedRequest } from './paced-request.ts';

interface Waiter {
  readonly paced: PacedRequest;
  readonly grant: () => void;
  readonly reject: (reason: unknown) => void;
}

interface Kind {
  streak: RefusalStreak;
  /** The request that received all refusals of the streak; undefined if there were several. */
  only: PacedRequest | undefined;
  /** Until then, requests of this kind fail without being sent. */
  closedUntil: number;
  /** The last refusal of this kind. */
  answer: ErrorResponse | undefined;
}

export interface PaceOptions {
  readonly retry: RetryOptions;
  readonly now: () => number;
}

/** The multiple of the tries where requests were accepted before; 12 refusals take more than a minute. */
const ACCEPTED_FACTOR = 2;
/** The maximum time for which a failed kind of request stays closed. */
const CLOSED_MS = 1000;

/**
 * Sends the requests to one endpoint at the rate that it accepts. A pause applies to the endpoint, and not to a request:
 * requests are sent first come, first served, and a refused request goes to the front.
 */
export class Pace {
  readonly #options: PaceOptions;
  readonly #kinds = new Map<string, Kind>();
  readonly #waiting: Waiter[] = [];
  #state: State = UNPACED;
  #count = 0;
  #passes = 0;
  #inFlight = 0;
  /** The requests in flight that were sent after the last refusal. */
  #probes = 0;
  #sleeping: AbortController | undefined;
  /** The last refusal. */
  #answer: ErrorResponse | undefined;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  paced(kind: string): PacedRequest {
    this.#count += 1;
    return { kind, order: this.#count, refusals: 0, overtaken: 0, passesSeen: 0, epoch: 0, probed: false };
  }

  /** Resolves when the request may be sent. @throws Refused, or the signal's reason */
  async take(
    paced: PacedRequest,
    persistence: Persistence | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    signal?.throwIfAborted();
    const kind = this.#kind(paced.kind);
    const now = this.#options.now();
    if (kind.answer !== undefined && kind.closedUntil > now) throw new Refused(kind.answer, kind.closedUntil - now);
    const isFirst = this.#waiting.length === 0 && this.#mayGo() && waitMs(this.#state, now) === 0;
    if (isFirst || (persistence === 'at-once' && kind.streak.refusals === 0)) {
      this.#grant(paced);
      return;
    }
    const { longestMs = Infinity } = this.#options.retry;
    const remainingMs = this.#state.pausedUntil - now;
    if (this.#answer !== undefined && remainingMs > longestMs) throw new Refused(this.#answer, remainingMs);
    await this.#queue(paced, signal);
  }

  /** The request was accepted. */
  passed(paced: PacedRequest): void {
    this.#end(paced);
    this.#passes += 1;
    this.#state = passed(this.#state, paced.epoch, this.#options.now());
    const kind = this.#kind(paced.kind);
    kind.streak = { ...NO_REFUSALS, wasAccepted: true };
    kind.closedUntil = 0;
    this.#pump();
  }

  /** The request failed, or its response says nothing about a rate limit. */
  ended(paced: PacedRequest): void {
    this.#end(paced);
    this.#pump();
  }

  /**
   * The request was refused.
   *
   * @param sure whether the refusal was certainly for a rate limit
   * @returns the pause that starts, in milliseconds
   */
  refused(paced: PacedRequest, answer: ErrorResponse, sure: boolean): number {
    const { retry, now } = this.#options;
    const time = now();
    this.#end(paced);
    const kind = this.#kind(paced.kind);
    kind.answer = answer;
    this.#answer = answer;
    paced.refusals += 1;
    if (paced.refusals > 1 && this.#passes > paced.passesSeen) paced.overtaken += 1;
    paced.passesSeen = this.#passes;
    const isNews = paced.epoch === this.#state.epoch;
    paced.probed = isNews && this.#state.probing;
    kind.only = kind.streak.refusals === 0 || kind.only === paced ? paced : undefined;
    const refusals = kind.streak.refusals + (isNews || kind.streak.refusals === 0 ? 1 : 0);
    const askedMs = parseRetryAfter(answer.headers['retry-after'], time) ?? 0;
    const ms = pauseMs(refusals, askedMs, retry.policy, retry.random());
    const wasAccepted = kind.streak.wasAccepted || (sure && this.#passes > 0);
    if (refusals > kind.streak.refusals) kind.streak = { wasAccepted, refusals, pausedMs: kind.streak.pausedMs + ms };
    this.#state = refused(this.#state, {
      epoch: paced.epoch,
      pauseMs: ms,
      askedMs,
      sure,
      again: paced.refusals > 1,
      now: time,
    });
    if (isNews) this.#probes = 0;
    const tooLong = kind.streak.pausedMs > (retry.maxMs ?? Infinity);
    // Refusals of a single request say nothing about other requests.
    if (tooLong || (kind.only === undefined && this.#isOver(kind))) this.#close(paced.kind, kind, time, askedMs);
    this.#pump();
    return ms;
  }

  /** Whether the request has no tries left. */
  isExhausted(paced: PacedRequest): boolean {
    return this.#isOver(this.#kind(paced.kind));
  }

  /** Whether a request of this kind was ever accepted. */
  wasAccepted(paced: PacedRequest): boolean {
    return this.#kind(paced.kind).streak.wasAccepted;
  }

  /** The refusals had another reason than a rate limit. */
  resetPace(): void {
    this.#state = { ...UNPACED, epoch: this.#state.epoch + 1 };
    this.#probes = 0;
    this.#pump();
  }

  #isOver({ streak }: Kind): boolean {
    const { policy, longestMs, maxMs = Infinity } = this.#options.retry;
    // A caller that handles long waits itself also handles repeated ones.
    const factor = longestMs === undefined ? ACCEPTED_FACTOR : 1;
    return isOver(streak, { tries: policy.tries, factor, maxMs });
  }

  /** Pauses the kind instead of the endpoint, so that other kinds of requests continue. */
  #close(name: string, kind: Kind, now: number, askedMs: number): void {
    const ownMs = Math.min(CLOSED_MS, this.#options.retry.policy.capMs);
    const remainingMs = askedMs > 0 ? Math.max(askedMs, this.#state.pausedUntil - now) : ownMs;
    kind.closedUntil = now + remainingMs;
    this.#state = { ...this.#state, pausedUntil: now, nextAt: now };
    const { answer } = kind;
    for (const waiter of this.#waiting.filter(({ paced }) => paced.kind === name)) {
      this.#leave(waiter);
      if (answer !== undefined) waiter.reject(new Refused(answer, remainingMs));
    }
  }

  #kind(name: string): Kind {
    const known = this.#kinds.get(name);
    if (known !== undefined) return known;
    const kind = { streak: NO_REFUSALS, only: undefined, closedUntil: 0, answer: undefined };
    this.#kinds.set(name, kind);
    return kind;
  }

  async #queue(paced: PacedRequest, signal: AbortSignal | undefined): Promise<void> {
    const { promise: granted, resolve: grant, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { paced, grant, reject };
    const onAbort = (): void => {
      this.#leave(waiter);
      this.#pump();
      // After a timeout in the queue, the caller gets the refusal that caused the wait.
      const answer = isOutOfTime(signal) ? this.#answer : undefined;
      const remainingMs = this.#state.pausedUntil - this.#options.now();
      reject(answer === undefined ? signal?.reason : new Refused(answer, remainingMs));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const behind = this.#waiting.findIndex((other) => other.paced.order > paced.order);
    const at = behind === -1 ? this.#waiting.length : behind;
    this.#waiting.splice(paced.probed ? Math.max(at, 1) : at, 0, waiter);
    // A running timer also serves the new first waiter.
    if (this.#sleeping === undefined) this.#pump();
    try {
      await granted;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #leave(waiter: Waiter): void {
    const at = this.#waiting.indexOf(waiter);
    if (at !== -1) this.#waiting.splice(at, 1);
  }

  #grant(paced: PacedRequest): void {
    this.#state = sent(this.#state, this.#options.now());
    paced.epoch = this.#state.epoch;
    this.#inFlight += 1;
    this.#probes += 1;
  }

  #end(paced: PacedRequest): void {
    this.#inFlight -= 1;
    if (paced.epoch === this.#state.epoch) this.#probes -= 1;
  }

  #mayGo(): boolean {
    if (this.#state.rate === Infinity) return this.#inFlight < slowStart(this.#passes);
    return !this.#state.probing || this.#probes === 0;
  }

  /** Sends the requests that may be sent now, and sets the timer for the next one. */
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
    this.#grant(waiter.paced);
    waiter.grant();
  }

  #sleep(ms: number): void {
    const abort = new AbortController();
    this.#sleeping = abort;
    this.#options.retry.sleep(ms, abort.signal).then(
      () => {
        if (this.#sleeping !== abort) return;
        this.#sleeping = undefined;
        // A timer may be early by a fraction of a millisecond, so the clock is not checked again.
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
