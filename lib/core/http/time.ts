import { type HeaderValue, singleValue } from './header.ts';

/** Longer waits are reduced to one year. */
const MAX_RETRY_AFTER_MS = 365 * 24 * 3_600_000;

/** The time in a header such as `Date`, in milliseconds since the epoch. */
export function parseDate(header: HeaderValue): number | undefined {
  const time = Date.parse(singleValue(header) ?? '');
  return Number.isNaN(time) ? undefined : time;
}

/** `Retry-After` (RFC 9110, section 10.2.3), seconds or a date: milliseconds from `now`, from 0 to one year. */
export function parseRetryAfter(header: HeaderValue, now: number): number | undefined {
  const value = singleValue(typeof header === 'string' ? header : header?.[0]);
  const time = parseDate(value);
  if (/^\d+(\.\d+)?$/.test(value ?? '')) return Math.min(Math.ceil(Number(value) * 1000), MAX_RETRY_AFTER_MS);
  return time === undefined ? undefined : Math.min(Math.max(0, time - now), MAX_RETRY_AFTER_MS);
}
