import { gzipSync, zstdCompressSync } from 'node:zlib';

export type Compression = 'gzip' | 'zstd' | 'none';

/**
 * The structure of a compressed layer.
 * - `single`: one gzip member or zstd frame, as docker and buildah write them.
 * - `several`: the content cut in a few, one after the other, as parallel compressors and `cat a.gz b.gz` do.
 * - `chunked`: very many small ones with what lazy pullers need in between: eStargz's footer (a gzip member that is
 *   empty but for its extra field), zstd:chunked's skippable frames.
 */
export type Framing = 'single' | 'several' | 'chunked';

export function compress(bytes: Uint8Array, compression: Compression, framing: Framing = 'single', level = 6): Buffer {
  if (compression === 'none') return Buffer.from(bytes);
  const one = (piece: Uint8Array): Buffer =>
    compression === 'gzip' ? gzipSync(piece, { level }) : zstdCompressSync(piece);
  if (framing === 'single') return one(bytes);
  const size = framing === 'several' ? Math.max(1, Math.ceil(bytes.length / 5)) : 1024;
  const members = pieces(bytes, size).map(one);
  if (framing === 'several') return Buffer.concat(members);
  return Buffer.concat(compression === 'gzip' ? [...members, ESTARGZ_FOOTER] : withSkippableFrames(members));
}

function pieces(bytes: Uint8Array, size: number): Uint8Array[] {
  const count = Math.max(1, Math.ceil(bytes.length / size));
  return Array.from({ length: count }, (_, index) => bytes.subarray(index * size, (index + 1) * size));
}

/** RFC 8878, section 3.1.2: magic number 0x184D2A50 to 5F, length of the content, content. */
export function skippableFrame(content: Uint8Array): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184d2a50, 0);
  head.writeUInt32LE(content.length, 4);
  return Buffer.concat([head, content]);
}

/** At the start, now and then in between, and twice at the end, where zstd:chunked has its table of contents. */
function withSkippableFrames(frames: readonly Buffer[]): Buffer[] {
  return [
    skippableFrame(Buffer.alloc(0)),
    ...frames.flatMap((frame, index) =>
      index % 7 === 0 ? [skippableFrame(Buffer.from('in between')), frame] : [frame],
    ),
    skippableFrame(Buffer.from('{"version":1,"entries":[]}')),
    skippableFrame(Buffer.alloc(64, 'footer')),
  ];
}

/** A gzip member of 51 bytes: header with extra field `SG`, an empty stored block, CRC and length of nothing. */
const ESTARGZ_FOOTER = Buffer.concat([
  Buffer.from('1f8b08040000000000ff', 'hex'),
  Buffer.from('1a00', 'hex'),
  Buffer.from('SG'),
  Buffer.from('1600', 'hex'),
  Buffer.from(`${'0'.repeat(16)}STARGZ`),
  Buffer.from('010000ffff', 'hex'),
  Buffer.alloc(8),
]);
