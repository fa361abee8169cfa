/**
 * The times at which an image is checked for new referrers. A signature or an SBOM is often pushed after its image, and
 * sometimes days later, so the checks become rare with the age of the digest. Pure.
 */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The ages of a digest at which a check is due, in milliseconds since it was first observed. */
const DUE_AT = [10 * MINUTE, HOUR, 6 * HOUR, DAY, 3 * DAY, 7 * DAY, 30 * DAY] as const;

/** The times of an image, in milliseconds since the epoch. */
export interface CheckTimes {
  /** All observations of the digest in ascending order; empty where the entry has no time. */
  readonly observations: readonly number[];
  /** The last check; undefined where none is recorded, as in archives of earlier releases. */
  readonly checked: number | undefined;
  /** The referrers that the last check has ordered, and that the archive still lacks. */
  readonly awaited?: readonly string[];
}

/**
 * The time at which the next check is due; undefined after the last one. A late check replaces all checks that were due
 * before it. While a referrer is awaited, a check is due at once.
 */
export function nextCheck({ observations, checked, awaited = [] }: CheckTimes): number | undefined {
  const [first] = observations;
  if (checked === undefined) return first ?? 0;
  if (awaited.length > 0) return checked;
  if (first === undefined) return undefined;
  return DUE_AT.map((age) => first + age).find((due) => due > checked);
}

export function isCheckDue(times: CheckTimes, now: number): boolean {
  const next = nextCheck(times);
  return next !== undefined && next <= now;
}
