import { type HeaderValue, singleValue } from './header.ts';

export interface ContentRange {
  /** Undefined in the header of a 416. */
  readonly bytes: { readonly start: number; readonly end: number } | undefined;
  readonly total: number | undefined;
}

/** RFC 9110, section 14.4: `bytes 0-99/1234`, `bytes 0-99/*`, `bytes *\/1234`. `end` is exclusive here. */
export function parseContentRange(header: HeaderValue): ContentRange | undefined {
  const found = /^bytes (?:(\d{1,15})-(\d{1,15})|\*)\/(?:(\d{1,15})|\*)$/i.exec(singleValue(header) ?? '');
  if (found === null) return undefined;
  const [, first, last, length] = found;
  const bytes = first === undefined || last === undefined ? undefined : { start: Number(first), end: Number(last) + 1 };
  const total = length === undefined ? undefined : Number(length);
  if (bytes !== undefined && bytes.end <= bytes.start) return undefined;
  if (bytes !== undefined && total !== undefined && bytes.end > total) return undefined;
  return { bytes, total };
}

/** `Content-Length` (RFC 9110, section 8.6), in bytes. */
export function parseContentLength(header: HeaderValue): number | undefined {
  const value = singleValue(header) ?? '';
  return /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}
