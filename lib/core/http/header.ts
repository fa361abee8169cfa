/**
 * The value of a header, as Node.js and undici (an array for a repeated header) and `Headers` (null for a missing one) return
 * it. Each parser in this folder returns undefined, or an empty list, for a missing or invalid value.
 */
export type HeaderValue = string | readonly string[] | null | undefined;

/** The only value of a header, without the white space around it. */
export function singleValue(header: HeaderValue): string | undefined {
  return typeof header === 'string' ? header.trim() : undefined;
}

/** A header that is a list: repeated headers are one list (RFC 9110, section 5.3). */
export function listValue(header: HeaderValue): string {
  return typeof header === 'string' ? header : (header ?? []).join(', ');
}
