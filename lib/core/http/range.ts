import { type HeaderValue, singleValue } from './header.ts';

export interface ByteRange {
  /** The first byte. */
  readonly start: number;
  /** The byte after the last. */
  readonly end: number;
}

/**
 * The range in a `Range` header (RFC 9110, section 14.2); `unsatisfiable` if the content has none of its bytes. Undefined for the whole content: without
 * a header, and for a header with several ranges or an invalid one, which a server may ignore.
 */
export function parseRange(header: HeaderValue, size: number): ByteRange | 'unsatisfiable' | undefined {
  const [, first, last] = /^bytes=[ \t]*(\d*)-(\d*)$/i.exec(singleValue(header) ?? '') ?? [];
  if (first === undefined || last === undefined || first + last === '') return undefined;
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size };
  }
  const start = Number(first);
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  if (last !== '' && Number(last) < start) return undefined;
  return start >= size ? 'unsatisfiable' : { start, end };
}
