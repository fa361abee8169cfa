import type { IncomingHttpHeaders } from 'undici/types/header.js';
import { Failure, type FailureCode } from '../../core/failure.ts';
import { parseContentLength, parseContentRange } from '../../core/http/content.ts';
import { strongEtag } from '../../core/http/etag.ts';

/** The requested bytes of a blob; `end` is exclusive, and undefined for the blob's end. */
export interface ByteRange {
  readonly start: number;
  readonly end: number | undefined;
}

/** The known facts about a blob, which its responses must match. */
export interface ExpectedBlob {
  /** The length of the whole blob in its descriptor. */
  readonly size: number | undefined;
  /** The length of the whole blob in an earlier response. */
  readonly total: number | undefined;
}

/** A response that has passed the checks. */
export interface BlobResponse {
  /** Whether the response has the requested range; otherwise it has the whole blob. */
  readonly ranged: boolean;
  /** The end of the body; undefined if the length is unknown. */
  readonly end: number | undefined;
  readonly total: number | undefined;
  readonly etag: string | undefined;
}

export function rangeHeader({ start, end }: ByteRange): string | undefined {
  if (start === 0 && end === undefined) return undefined;
  return `bytes=${start}-${end === undefined ? '' : String(end - 1)}`;
}

/**
 * Checks that a response announces the requested bytes of the expected blob.
 *
 * @param answer a 200, 206 or 416
 * @throws Failure `range-ignored`, `range-mismatch`, `source-changed`, or `size-mismatch`
 */
// eslint-disable-next-line max-lines-per-function -- the cases of one response
export function checkResponse(
  answer: { readonly status: number; readonly headers: IncomingHttpHeaders },
  wanted: ByteRange,
  known: ExpectedBlob,
  { operation, host }: { readonly operation: string; readonly host: string },
): BlobResponse {
  const { status, headers } = answer;
  const fail = (code: FailureCode, detail: string): Failure =>
    new Failure({ operation, side: 'source', code, detail: `${host} ${detail}`, status });
  const checkTotal = (total: number | undefined): void => {
    if (total === undefined) return;
    if (known.size !== undefined && total !== known.size)
      throw fail('size-mismatch', `has a blob of another size: expected ${known.size} bytes, got ${total}`);
    if (known.total !== undefined && total !== known.total)
      throw fail('source-changed', `changed the size of the blob from ${known.total} to ${total} bytes`);
  };

  const range = rangeHeader(wanted);
  const contentRange = parseContentRange(headers['content-range']);
  const contentLength = parseContentLength(headers['content-length']);
  if (status === 416) {
    checkTotal(contentRange?.total);
    throw fail('range-mismatch', `cannot satisfy ${range ?? 'a request without a range'}`);
  }
  // The digest identifies the blob; the backends of one host often have different ETags.
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
    throw fail('range-mismatch', `sent bytes ${start}-${end - 1} for ${range ?? 'a request without a range'}`);
  if (contentLength !== undefined && contentLength !== end - start)
    throw fail('range-mismatch', `sent ${contentLength} bytes as bytes ${start}-${end - 1}`);
  return { ranged: true, end, total, etag };
}
