/** Detects the compression of a layer by its first bytes, as Docker, containerd and podman do. */

export type Compression = 'gzip' | 'zstd' | 'none';

/** The size of a tar header in bytes; the detection never needs more. */
export const HEAD_BYTES = 512;

/** The first bytes that identify a compression. */
const MAGIC_BYTES = 4;

/**
 * The compression of bytes that start with `head`; undefined if more bytes are needed to decide. The declared
 * compression applies if the bytes match it, and also if they match none; such bytes then fail to decompress.
 *
 * @param whole there are no more bytes
 */
export function detectCompression(
  head: Uint8Array,
  declared: Compression,
  { whole }: { readonly whole: boolean },
): Compression | undefined {
  if (head.length < MAGIC_BYTES && !whole) return undefined;
  const magic = magicOf(head);
  if (magic === declared) return declared;
  if (magic !== 'none' && declared !== 'none') return magic;
  // The bytes do not match the declaration. A tar header means that they are plain.
  if (head.length < HEAD_BYTES && !whole) return undefined;
  if (isTar(head)) return 'none';
  return declared === 'none' ? magic : declared;
}

/** RFC 1952, section 2.3.1; RFC 8878, sections 3.1.1 and 3.1.2 (a stream may start with a skippable frame). */
function magicOf(head: Uint8Array): Compression {
  const [a, b, c, d] = head;
  if (a === 0x1f && b === 0x8b && c === 0x08) return 'gzip';
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return 'zstd';
  return a !== undefined && a >> 4 === 5 && b === 0x2a && c === 0x4d && d === 0x18 ? 'zstd' : 'none';
}

/**
 * POSIX.1-1988 ustar and its predecessor: a header with its checksum, or a block of zeros, which ends an empty archive.
 */
function isTar(head: Uint8Array): boolean {
  if (head.length < HEAD_BYTES) return false;
  let sum = 0;
  let signed = 0;
  let zeros = true;
  for (let at = 0; at < HEAD_BYTES; at += 1) {
    const byte = head[at] ?? 0;
    if (byte !== 0) zeros = false;
    const counted = at >= 148 && at < 156 ? 0x20 : byte;
    sum += counted;
    signed += counted > 127 ? counted - 256 : counted;
  }
  if (zeros) return true;
  const digits = /^ *([0-7]+)[ \0]*$/.exec(Buffer.from(head.subarray(148, 156)).toString('latin1'))?.[1];
  if (digits === undefined) return false;
  const checksum = Number.parseInt(digits, 8);
  return checksum === sum || checksum === signed;
}

/**
 * The largest accepted window of a zstd frame: 128 MiB. The zstd tool has the same limit, and creates such frames with
 * `--long=27`.
 */
export const MAX_WINDOW_LOG = 27;

/** The window that every decoder accepts (RFC 8878, section 3.1.1.1.2): 8 MiB. */
const USUAL_WINDOW_LOG = 23;

/**
 * The base-2 logarithm of the memory that the first frame of a zstd stream needs. Returns the usual value if the head
 * of the stream does not state the window.
 */
export function windowLogOf(head: Uint8Array): number {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  if (bytes.length < 6 || bytes.readUInt32LE(0) !== 0xfd2fb528) return USUAL_WINDOW_LOG;
  const descriptor = bytes.readUInt8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  if (!isSingleSegment) {
    const window = bytes.readUInt8(5);
    return Math.min(10 + (window >> 3) + ((window & 7) === 0 ? 0 : 1), MAX_WINDOW_LOG);
  }
  // In a single segment, the window is as large as the whole content.
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const sizeBytes = [1, 2, 4, 8][descriptor >> 6] ?? 1;
  const at = 5 + dictionaryBytes;
  if (bytes.length < at + sizeBytes) return USUAL_WINDOW_LOG;
  const size = sizeBytes === 8 ? Number(bytes.readBigUInt64LE(at)) : bytes.readUIntLE(at, sizeBytes);
  const content = sizeBytes === 2 ? size + 256 : size;
  return Math.min(Math.max(Math.ceil(Math.log2(Math.max(content, 1))), 10), MAX_WINDOW_LOG);
}
