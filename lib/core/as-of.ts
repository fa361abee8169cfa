/** Times in the past, as users write them. */
import { invalid } from './failure.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

/** `2026-01-31T12:00:00Z`, or with milliseconds; or a day. */
const EXTENDED = /^(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d:\d\d)(\.\d{3})?Z)?$/i;
/** `20260131T120000Z` (ISO 8601, basic format), or a day. */
const BASIC = /^(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)Z)?$/i;

/**
 * Parses a time in UTC. A day means its last millisecond.
 *
 * @returns milliseconds since the epoch
 * @throws Failure `invalid`
 */
export function parseAsOf(text: string, option: string): number {
  const [, day, time, ms = '.000'] = EXTENDED.exec(text) ?? [];
  const instant = day === undefined ? undefined : instantOf(day, time, ms);
  if (instant === undefined)
    throw invalid(
      `parse ${option} ${JSON.stringify(text)}`,
      'expected a time such as 2026-01-31T12:00:00Z, or a day such as 2026-01-31 (its end in UTC)',
    );
  return instant;
}

/** Parses the basic format of ISO 8601, which has no colons; undefined for any other text. */
export function basicAsOfTime(text: string): number | undefined {
  const [, year, month, day, hours, minutes, seconds] = BASIC.exec(text) ?? [];
  if (year === undefined) return undefined;
  const time = hours === undefined ? undefined : `${hours}:${minutes ?? ''}:${seconds ?? ''}`;
  return instantOf(`${year}-${month ?? ''}-${day ?? ''}`, time, '.000');
}

/** Undefined for an invalid day or time, such as 2026-02-30. */
function instantOf(day: string, time: string | undefined, ms: string): number | undefined {
  const iso = `${day}T${time ?? '00:00:00'}${ms}Z`;
  const instant = Date.parse(iso);
  if (Number.isNaN(instant) || new Date(instant).toISOString() !== iso) return undefined;
  return time === undefined ? instant + DAY_MS - 1 : instant;
}
