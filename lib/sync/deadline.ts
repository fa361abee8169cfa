/** The time that is left. A function gets it from the Lambda context; a process on a laptop has no limit. */
export interface Deadline {
  /** Whether it is too late for new work; parts in flight can still complete. */
  near(): boolean;
  /** Aborts work in flight, early enough to send one more message. */
  readonly over: AbortSignal;
}

/** The time for parts in flight to complete: twice that of 8 MiB at a slow 1 MB/s. */
const LANDING_MS = 20_000;

/** The time for the message with which another invocation continues. */
const PARTING_MS = 5_000;

export const NO_DEADLINE: Deadline = { near: () => false, over: new AbortController().signal };

/**
 * @param remainingMs the time that is left, in milliseconds; of a short time, parts in flight get no more than half
 * @param timeout a signal that is aborted after this time
 */
export function deadlineFrom(remainingMs: () => number, timeout = (ms: number) => AbortSignal.timeout(ms)): Deadline {
  const all = remainingMs();
  const landingMs = Math.min(LANDING_MS, all / 2);
  const partingMs = Math.min(PARTING_MS, all / 4);
  return {
    near: () => remainingMs() < landingMs,
    // Whole milliseconds: AbortSignal.timeout throws at anything else.
    over: timeout(Math.max(Math.floor(all - partingMs), 0)),
  };
}
