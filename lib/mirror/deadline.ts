/** How much time is left. A function knows its own from the Lambda context; a process on a laptop has all the time. */
export interface Deadline {
  /** True when nothing new should be begun, so that what is in flight can still land. */
  near(): boolean;
  /** Milliseconds until the end. */
  remainingMs(): number;
}

/** What parts in flight may need to land: a part of 8 MiB at a poor 1 MB/s, twice over. */
const LANDING_MS = 20_000;

export const NO_DEADLINE: Deadline = { near: () => false, remainingMs: () => Infinity };

export function deadlineFrom(remainingMs: () => number, landingMs = LANDING_MS): Deadline {
  return { near: () => remainingMs() < landingMs, remainingMs };
}
