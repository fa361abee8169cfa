import type { RetryPolicy } from '../../core/retry.ts';

/**
 * The request rate of an endpoint after it has refused a request for its rate limit. AIMD: a refusal multiplies the rate
 * by a factor below 1, and each accepted request raises it slightly. Pure functions of values; times are in milliseconds
 * and rates in requests per second.
 */
export interface Pace {
  /** Infinite until a request is refused. */
  readonly rate: number;
  /** The rate at the last refusal; infinite until a paced request is refused. */
  readonly ceiling: number;
  /** The number of refusals that changed the pace. The response to a request of an earlier epoch is outdated. */
  readonly epoch: number;
  /** The end of the pause; no request is sent before it. */
  readonly pausedUntil: number;
  /** The last Retry-After of the endpoint, or 0. */
  readonly askedMs: number;
  /** The time of the next request at this rate. */
  readonly nextAt: number;
  /** True from a pause until one request is accepted; meanwhile, requests are sent one at a time. */
  readonly probing: boolean;
  /** The accepted requests in the second from `countedFrom`, and in the second before it. */
  readonly count: number;
  readonly before: number;
  readonly countedFrom: number;
}

export const UNPACED: Pace = {
  rate: Infinity,
  ceiling: Infinity,
  epoch: 0,
  pausedUntil: -Infinity,
  askedMs: 0,
  nextAt: -Infinity,
  probing: false,
  count: 0,
  before: 0,
  countedFrom: -Infinity,
};

/** The first rate as a part of the last second's throughput, which may contain a burst allowance. */
const FIRST_FACTOR = 0.5;
/** The factor after a later refusal; the rate rose slowly, so the limit is only just below it. */
const DECREASE = 0.7;
/** Below this rate, the pauses after refusals are sufficient. */
const MIN_RATE = 0.2;
/** The minimum first rate after a refusal that may have another reason than a rate limit. */
const UNSURE_RATE = 10;
/** Above this rate, timers are too coarse to space requests. */
const MAX_RATE = 500;
/** While the limit is unknown, the rate grows by a factor of e in this time, or slower if the last Retry-After was long. */
const SEARCH_S = 2;
/** The growth per second near a known limit, as a part of that limit. */
const GROWTH_PER_S = 0.03;
/** Above this multiple of the rate at the last refusal, the limit has changed and is searched again. */
const ABOVE = 1.3;

/** The wait before the next request. */
export function waitMs(pace: Pace, now: number): number {
  return Math.max(0, pace.pausedUntil - now, pace.nextAt - now);
}

export function sent(pace: Pace, now: number): Pace {
  if (pace.rate === Infinity) return pace;
  const interval = 1000 / pace.rate;
  // A late timer costs no throughput, and idle time allows no burst.
  return { ...pace, nextAt: Math.max(pace.nextAt, now - interval) + interval };
}

/** A request of this epoch was accepted. */
export function passed(pace: Pace, epoch: number, now: number): Pace {
  const counted = count(pace, now);
  if (epoch !== pace.epoch || pace.rate === Infinity) return counted;
  // The response shows that the pause is over.
  return { ...counted, pausedUntil: Math.min(pace.pausedUntil, now), probing: false, ...grown(pace) };
}

/**
 * A request of this epoch was refused; the endpoint gets no requests during the pause.
 *
 * @param options.askedMs the Retry-After of the endpoint, or 0
 * @param options.sure whether the refusal was certainly for a rate limit
 * @param options.again whether the same request was refused before
 */
export function refused(
  pace: Pace,
  {
    epoch,
    pauseMs: ms,
    askedMs,
    sure,
    again,
    now,
  }: { epoch: number; pauseMs: number; askedMs: number; sure: boolean; again: boolean; now: number },
): Pace {
  const pausedUntil = Math.max(pace.pausedUntil, now + ms);
  // Requests that were in flight together are refused for one reason.
  if (epoch !== pace.epoch) return { ...pace, pausedUntil: Math.max(pace.pausedUntil, now + askedMs) };
  const next = { ...pace, epoch: epoch + 1, pausedUntil, askedMs, probing: true, nextAt: pausedUntil };
  // A refusal during the probe says nothing about the rate.
  if (pace.probing) return next;
  // The endpoint may be unable to serve this request alone.
  if (again && !sure) return next;
  const first = throughput(pace, now) * FIRST_FACTOR;
  if (pace.rate === Infinity) return { ...next, rate: bounded(sure ? first : Math.max(UNSURE_RATE, first)) };
  return { ...next, rate: bounded(pace.rate * DECREASE), ceiling: pace.rate };
}

function grown({ rate, ceiling, askedMs }: Pace): Pick<Pace, 'rate' | 'ceiling'> {
  const scale = Math.max(1, askedMs / 1000);
  const known = rate < ceiling * ABOVE && ceiling !== Infinity;
  const next = known ? rate + (GROWTH_PER_S * ceiling) / (scale * rate) : rate + 1 / (SEARCH_S * scale);
  if (next > MAX_RATE) return { rate: Infinity, ceiling: Infinity };
  return { rate: next, ceiling: next < ceiling * ABOVE ? ceiling : Infinity };
}

function bounded(rate: number): number {
  return Math.min(MAX_RATE, Math.max(MIN_RATE, rate));
}

function count(pace: Pace, now: number): Pace {
  const elapsed = now - pace.countedFrom;
  if (elapsed < 1000) return { ...pace, count: pace.count + 1 };
  return { ...pace, count: 1, before: elapsed < 2000 ? pace.count : 0, countedFrom: now };
}

/** The refusals of one kind of request since one of that kind was accepted. */
export interface RefusalStreak {
  readonly refusals: number;
  /** The sum of the pauses after them. */
  readonly pausedMs: number;
  /** Whether a request of this kind was ever accepted, so that the limit is temporary. */
  readonly wasAccepted: boolean;
}

export const NO_REFUSALS: RefusalStreak = { refusals: 0, pausedMs: 0, wasAccepted: false };

/** The pause after consecutive refusals, in milliseconds; never shorter than the endpoint's Retry-After. */
export function pauseMs(refusals: number, askedMs: number, policy: RetryPolicy, random: number): number {
  const bound = Math.min(policy.capMs, policy.baseMs * 2 ** (refusals - 1));
  // Equal jitter: a pause close to 0 would only cause another refusal.
  return Math.max(askedMs, Math.ceil((bound * (1 + random)) / 2));
}

/**
 * Whether a kind of request has failed. Rate limits are counted per second, minute or hour, so an endpoint that has
 * accepted requests gets minutes, and any other endpoint the usual number of tries.
 */
export function isOver({ refusals, pausedMs, wasAccepted }: RefusalStreak, limits: StreakLimits): boolean {
  const tries = limits.tries * (wasAccepted ? limits.factor : 1);
  return refusals >= tries || pausedMs > limits.maxMs;
}

export interface StreakLimits {
  readonly tries: number;
  /** The multiple of `tries` for an endpoint that has accepted requests before. */
  readonly factor: number;
  /** The maximum sum of all pauses. */
  readonly maxMs: number;
}

/** The maximum number of requests in flight before the first refusal; it grows as in TCP's slow start. */
export function slowStart(passes: number): number {
  return 4 + passes / 2;
}

/** The approximate number of requests accepted in the last second. */
function throughput({ count: current, before, countedFrom }: Pace, now: number): number {
  const elapsed = now - countedFrom;
  if (elapsed < 1000) return current + before * (1 - elapsed / 1000);
  return elapsed < 2000 ? current * (2 - elapsed / 1000) : 0;
}
