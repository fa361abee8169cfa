import type { IncomingHttpHeaders } from 'undici/types/header.js';
import type { Transform } from 'node:stream';
import {
  brotliDecompressSync,
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createZstdDecompress,
  gunzipSync,
  inflateRawSync,
  inflateSync,
  zstdDecompressSync,
  type ZlibOptions,
  type ZstdOptions,
} from 'node:zlib';

/** A supported content coding (RFC 9110, section 8.4.1; RFC 8878). */
export type Coding = 'gzip' | 'deflate' | 'br' | 'zstd';

const NAMES: ReadonlyMap<string, Coding> = new Map([
  ['gzip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['deflate', 'deflate'],
  ['br', 'br'],
  ['zstd', 'zstd'],
]);

/** RFC 9659 limits the window of the zstd content coding to 8 MiB. */
const ZSTD_PARAMS = { [constants.ZSTD_d_windowLogMax]: 23 };

/** Servers apply one coding, and proxies may add one. Each further one costs a decoder, and nested ones amplify bombs. */
const MAX_CODINGS = 3;

export const TOO_MANY_CODINGS = `sent a body with more than ${MAX_CODINGS} content codings`;

/**
 * The codings of a body in the order of their application; undefined for too many. Other names (`identity`, S3's
 * `aws-chunked`) are ignored.
 */
export function codingsOf({ 'content-encoding': header }: IncomingHttpHeaders): Coding[] | undefined {
  const names = [header ?? []].flat().join(',').toLowerCase().split(',');
  const codings = names.flatMap((name) => NAMES.get(name.trim()) ?? []);
  return codings.length > MAX_CODINGS ? undefined : codings;
}

/** Whether the bytes may be the start of this coding; deflate and Brotli have no magic number. */
function mayBegin(coding: Coding, bytes: Uint8Array): boolean {
  if (coding === 'gzip') return bytes[0] === 0x1f && bytes[1] === 0x8b;
  if (coding === 'zstd') return Buffer.from(bytes.subarray(0, 4)).equals(Buffer.from([0x28, 0xb5, 0x2f, 0xfd]));
  return true;
}

export type Decoded = { readonly bytes: Uint8Array } | 'too-large' | 'too-many-codings' | 'broken';

/**
 * Decodes a short body. A body that has only the label of a coding is returned unchanged.
 *
 * @param lenient whether a truncated body is decoded as far as possible
 */
export function decodeShort(
  bytes: Uint8Array,
  headers: IncomingHttpHeaders,
  maxBytes: number,
  lenient = false,
): Decoded {
  let decoded = bytes;
  const codings = codingsOf(headers);
  if (codings === undefined) return 'too-many-codings';
  for (const coding of codings.reverse()) {
    if (!mayBegin(coding, decoded)) continue;
    try {
      decoded = decode(coding, decoded, maxBytes, lenient);
    } catch (thrown) {
      if (thrown instanceof RangeError) return 'too-large';
      const isMarked = coding === 'gzip' || coding === 'zstd';
      if (isMarked) return 'broken';
    }
  }
  return { bytes: decoded };
}

function decode(coding: Coding, bytes: Uint8Array, maxOutputLength: number, lenient: boolean): Uint8Array {
  const options: ZlibOptions = { maxOutputLength, ...(lenient ? { finishFlush: constants.Z_SYNC_FLUSH } : {}) };
  if (coding === 'gzip') return gunzipSync(bytes, options);
  if (coding === 'br') {
    const flush = lenient ? { finishFlush: constants.BROTLI_OPERATION_FLUSH } : {};
    return brotliDecompressSync(bytes, { maxOutputLength, ...flush });
  }
  if (coding === 'zstd') {
    const zstd: ZstdOptions = { maxOutputLength, params: ZSTD_PARAMS };
    return zstdDecompressSync(bytes, lenient ? { ...zstd, finishFlush: constants.ZSTD_e_flush } : zstd);
  }
  try {
    return inflateSync(bytes, options);
  } catch (thrown) {
    // Some servers omit the zlib header.
    if (thrown instanceof RangeError) throw thrown;
    return inflateRawSync(bytes, options);
  }
}

export function decoder(coding: Coding): Transform {
  if (coding === 'gzip') return createGunzip();
  if (coding === 'br') return createBrotliDecompress();
  return coding === 'zstd' ? createZstdDecompress({ params: ZSTD_PARAMS }) : createInflate();
}
