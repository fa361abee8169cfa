/** How much time is left. A function knows its own from the Lambda context; a process on a laptop has all the time. */
export interface Deadline {
  /** True when nothing new should be begun, so that what is in flight can still land. */
  near(): boolean;
  /** Aborted when what is still in flight is given up, while there is time left to say so. */
  readonly over: AbortSignal;
}

/** What parts in flight may need to land: a part of 8 MiB at a poor 1 MB/s, twice over. */
const LANDING_MS = 20_000;

/** What is left when the rest is given up: for the message that lets another invocation go on. */
const PARTING_MS = 5_000;

export const NO_DEADLINE: Deadline = { near: () => false, over: new AbortController().signal };

/** @param remainingMs what is left, in milliseconds; of little time, no more than half is spent on landing */
export function deadlineFrom(remainingMs: () => number): Deadline {
  const all = remainingMs();
  const landingMs = Math.min(LANDING_MS, all / 2);
  const partingMs = Math.min(PARTING_MS, all / 4);
  return {
    near: () => remainingMs() < landingMs,
    // Whole milliseconds: AbortSignal.timeout throws at anything else.
    over: AbortSignal.timeout(Math.max(Math.floor(all - partingMs), 0)),
  };
}
