import type { IncomingHttpHeaders } from 'undici/types/header.js';
import { Failure, type FailureCode } from '../../core/failure.ts';

/** What is wanted of a blob: bytes from `start` up to `end`, or to the blob's end. */
export interface Wanted {
  readonly start: number;
  readonly end: number | undefined;
}

/** What a blob's responses have to agree with. */
export interface Known {
  /** The whole blob's length, by its descriptor. */
  readonly size: number | undefined;
  /** The whole blob's length, by an earlier response. */
  readonly total: number | undefined;
}

/** A response that can be believed. */
export interface Opened {
  /** The bytes that come are those that were wanted; otherwise the whole blob comes. */
  readonly ranged: boolean;
  /** Where the body must end; not known where the length is not. */
  readonly end: number | undefined;
  readonly total: number | undefined;
  readonly etag: string | undefined;
}

export function rangeHeader({ start, end }: Wanted): string | undefined {
  if (start === 0 && end === undefined) return undefined;
  return `bytes=${start}-${end === undefined ? '' : String(end - 1)}`;
}

export interface ContentRange {
  /** Absent in what a 416 says. */
  readonly bytes: { readonly start: number; readonly end: number } | undefined;
  readonly total: number | undefined;
}

/** RFC 9110, section 14.4: `bytes 0-99/1234`, `bytes 0-99/*`, `bytes *\/1234`. `end` is exclusive here. */
export function parseContentRange(header: string | string[] | undefined): ContentRange | undefined {
  if (typeof header !== 'string') return undefined;
  const found = /^bytes (?:(\d{1,15})-(\d{1,15})|\*)\/(?:(\d{1,15})|\*)$/i.exec(header.trim());
  if (found === null) return undefined;
  const [, first, last, length] = found;
  const bytes = first === undefined || last === undefined ? undefined : { start: Number(first), end: Number(last) + 1 };
  const total = length === undefined ? undefined : Number(length);
  if (bytes !== undefined && bytes.end <= bytes.start) return undefined;
  if (bytes !== undefined && total !== undefined && bytes.end > total) return undefined;
  return { bytes, total };
}

/**
 * Whether what a server is about to send are the bytes that are wanted, of the blob that is known.
 *
 * @param answer a 200, 206 or 416
 * @throws Failure `range-ignored`, `range-mismatch`, `source-changed`, or `size-mismatch`
 */
export function judge(
  answer: { readonly status: number; readonly headers: IncomingHttpHeaders },
  wanted: Wanted,
  known: Known,
  { operation, host }: { readonly operation: string; readonly host: string },
): Opened {
  const { status, headers } = answer;
  const fail = (code: FailureCode, detail: string): Failure =>
    new Failure({ operation, side: 'source', code, detail: `${host} ${detail}`, status });
  const checkTotal = (total: number | undefined): void => {
    if (total === undefined) return;
    if (known.size !== undefined && total !== known.size)
      throw fail('size-mismatch', `has ${total} bytes where the descriptor says ${known.size}`);
    if (known.total !== undefined && total !== known.total)
      throw fail('source-changed', `has ${total} bytes where it had ${known.total} before`);
  };

  const range = rangeHeader(wanted);
  const contentRange = parseContentRange(headers['content-range']);
  const contentLength = parseLength(headers['content-length']);
  if (status === 416) {
    checkTotal(contentRange?.total);
    throw fail('range-mismatch', `cannot satisfy ${range ?? 'no range'}`);
  }
  // A blob is named by its digest, which decides what it is: backends behind one name often differ in their ETags.
  const etag = strongEtag(headers['etag']);

  if (status === 200) {
    if (wanted.start > 0) throw fail('range-ignored', `sent the whole blob for ${range ?? ''}`);
    checkTotal(contentLength);
    const total = contentLength ?? known.total ?? known.size;
    return { ranged: range === undefined, end: total, total, etag };
  }

  if (contentRange?.bytes === undefined) throw fail('range-mismatch', 'sent 206 without a usable Content-Range');
  checkTotal(contentRange.total);
  const total = contentRange.total ?? known.total ?? known.size;
  const { start, end } = contentRange.bytes;
  const last = wanted.end === undefined ? total : Math.min(wanted.end, total ?? wanted.end);
  if (range === undefined || start !== wanted.start || (last !== undefined && end !== last))
    throw fail('range-mismatch', `sent bytes ${start}-${end - 1} for ${range ?? 'no range'}`);
  if (contentLength !== undefined && contentLength !== end - start)
    throw fail('range-mismatch', `sent ${contentLength} bytes as bytes ${start}-${end - 1}`);
  return { ranged: true, end, total, etag };
}

function parseLength(header: string | string[] | undefined): number | undefined {
  return typeof header === 'string' && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

/** Only a strong ETag promises the same bytes (RFC 9110, section 8.8.1). */
function strongEtag(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && header.startsWith('"') ? header : undefined;
}
