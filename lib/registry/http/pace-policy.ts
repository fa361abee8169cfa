import type { RetryPolicy } from '../../core/retry.ts';

/**
 * How fast an endpoint is asked once it has refused a request for being one too many. AIMD on the rate: a refusal
 * lowers it by a factor, and every request that is let through raises it a little. Pure functions of values; times are in
 * milliseconds and rates in requests per second.
 */
export interface Pace {
  /** Requests per second; infinite as long as nothing is refused. */
  readonly rate: number;
  /** The rate at the last refusal; infinite until a paced request is refused. */
  readonly ceiling: number;
  /** The number of refusals that were acted on. A request that was sent before the last of them tells nothing new. */
  readonly epoch: number;
  /** No request is sent earlier: the endpoint rests. */
  readonly pausedUntil: number;
  /** The wait that the endpoint asked for last, zero where it named none. */
  readonly askedMs: number;
  /** When the next request is due at this rate. */
  readonly nextAt: number;
  /** True after a pause, until one request is let through: only one is sent at a time. */
  readonly probing: boolean;
  /** Requests let through in the second that began at `countedFrom`, and in the second before it. */
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

/** A burst allowance hides the rate behind it: of what one second let through, half is a safe start. */
const FIRST_FACTOR = 0.5;
/** What is left of the rate after a later refusal: the limit is close below, since the rate rose to it slowly. */
const DECREASE = 0.7;
/** Below this rate the pauses after refusals do the rest. */
const MIN_RATE = 0.2;
/** No first rate is lower where the refusal may have another reason than a limit. */
const UNSURE_RATE = 10;
/** Above this rate a timer is too coarse to space requests. */
const MAX_RATE = 500;
/** Seconds in which the rate grows by a factor of e while the limit is unknown; longer where a refusal costs a long pause. */
const SEARCH_S = 2;
/** What the rate grows by in a second near a known limit, as a part of that limit. */
const GROWTH_PER_S = 0.03;
/** So far above the last refusal's rate the limit has changed, and is searched for again. */
const ABOVE = 1.3;

/** How long the next request has to wait. */
export function waitMs(pace: Pace, now: number): number {
  return Math.max(0, pace.pausedUntil - now, pace.nextAt - now);
}

/** One request is sent now. */
export function sent(pace: Pace, now: number): Pace {
  if (pace.rate === Infinity) return pace;
  const interval = 1000 / pace.rate;
  // A timer that fires late loses nothing; a longer idle time saves nothing up.
  return { ...pace, nextAt: Math.max(pace.nextAt, now - interval) + interval };
}

/** A request of this epoch was let through. */
export function passed(pace: Pace, epoch: number, now: number): Pace {
  const counted = count(pace, now);
  if (epoch !== pace.epoch || pace.rate === Infinity) return counted;
  // The answer shows that the pause is over, whatever was left of it.
  return { ...counted, pausedUntil: Math.min(pace.pausedUntil, now), probing: false, ...grown(pace) };
}

/**
 * A request of this epoch was refused. The endpoint rests for all of the pause.
 *
 * @param options.askedMs the wait that the endpoint named, in full; zero where it named none
 * @param options.sure whether the refusal was for a limit, beyond doubt
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
  // Requests that were on their way together are refused together, for one reason.
  if (epoch !== pace.epoch) return { ...pace, pausedUntil: Math.max(pace.pausedUntil, now + askedMs) };
  const next = { ...pace, epoch: epoch + 1, pausedUntil, askedMs, probing: true, nextAt: pausedUntil };
  // The endpoint is not open yet: that says nothing about the rate at which it will be.
  if (pace.probing) return next;
  // It may be this request alone that the endpoint cannot serve.
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

/** Requests of one kind that were refused since one of that kind was let through. */
export interface Drought {
  readonly refusals: number;
  /** The pauses after them, together. */
  readonly pausedMs: number;
  /** Whether one of that kind was ever let through: then the limit is known to open again. */
  readonly opened: boolean;
}

export const NO_DROUGHT: Drought = { refusals: 0, pausedMs: 0, opened: false };

/** How long to pause after the last of so many refusals in a row, in milliseconds; never less than the endpoint asked. */
export function pauseMs(refusals: number, askedMs: number, policy: RetryPolicy, random: number): number {
  const bound = Math.min(policy.capMs, policy.baseMs * 2 ** (refusals - 1));
  // Only the lower half is left to chance: what is refused now is refused again in no time.
  return Math.max(askedMs, Math.ceil((bound * (1 + random)) / 2));
}

/**
 * Whether to give up on a kind of request. Limits are counted by the second, the minute and the hour: an endpoint that
 * has let requests through is given minutes, one that never has only the usual number of tries.
 */
export function isOver({ refusals, pausedMs, opened }: Drought, limits: DroughtLimits): boolean {
  const tries = limits.tries * (opened ? limits.factor : 1);
  return refusals >= tries || pausedMs > limits.maxMs;
}

export interface DroughtLimits {
  readonly tries: number;
  /** How many times as many tries an endpoint has that let requests through before. */
  readonly factor: number;
  /** The longest time in all pauses together. */
  readonly maxMs: number;
}

/** Requests on their way at once, before any was refused: as with TCP's slow start, so that a first refusal meets few. */
export function slowStart(passes: number): number {
  return 4 + passes / 2;
}

/** Requests let through in the last second, about. */
function throughput({ count: current, before, countedFrom }: Pace, now: number): number {
  const elapsed = now - countedFrom;
  if (elapsed < 1000) return current + before * (1 - elapsed / 1000);
  return elapsed < 2000 ? current * (2 - elapsed / 1000) : 0;
}
