/** How far another machine's clock may be ahead of this one's, in milliseconds. */
const MAX_AHEAD_MS = 15 * 60 * 1000;

/** The last instant that a `Date` can hold (ECMA-262, "Time Values and Time Range"). */
const MAX_MS = 8.64e15;

/**
 * Explains why a time from another program cannot be an observation time; undefined for a valid time. A time in the
 * future would make each later observation count as older.
 *
 * @param ms milliseconds since the epoch
 */
export function instantFault(ms: number, now: number, remedy = 'correct the clock that is wrong'): string | undefined {
  if (!Number.isInteger(ms) || Math.abs(ms) > MAX_MS)
    return 'is not a whole number of milliseconds that a date can hold';
  if (ms <= now + MAX_AHEAD_MS) return undefined;
  const [then, clock] = [new Date(ms).toISOString(), new Date(now).toISOString()];
  return `is ${then}, more than 15 minutes after the clock of this machine (${clock}); ${remedy}`;
}
