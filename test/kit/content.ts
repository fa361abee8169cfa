import { createCipheriv, createHash, hash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '../../lib/oci/digest.ts';

/** Bytes that can be read from any offset and need not be in memory: the blobs of a registry. */
export interface Content {
  /** Bytes. */
  readonly size: number;
  /** The bytes from `start` to `end` (exclusive). */
  read(start: number, end: number): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

const CHUNK = 256 * 1024;

export function sha256(bytes: Uint8Array): Digest {
  return `sha256:${hash('sha256', bytes)}` as Digest;
}

export function contentOf(bytes: Uint8Array): Content {
  return {
    size: bytes.length,
    *read(start, end) {
      for (let at = start; at < end; at += CHUNK) yield bytes.subarray(at, Math.min(end, at + CHUNK));
    },
  };
}

/**
 * A deterministic blob of any size: the key stream of AES in counter mode, which can be entered at any block. With
 * `compressible` it is that in hexadecimal digits, which deflate halves.
 */
export function generated(options: { size: number; seed: number; compressible?: boolean }): Content {
  const { size, seed, compressible = false } = options;
  return {
    size,
    *read(start, end) {
      for (let at = start; at < end; at += CHUNK) {
        const until = Math.min(end, at + CHUNK);
        yield compressible ? hexStream(seed, at, until) : keyStream(seed, at, until);
      }
    },
  };
}

/** The same bytes, at a limited rate per connection: a distant registry. */
export function dripping(content: Content, bytesPerSecond: number): Content {
  return {
    size: content.size,
    async *read(start, end) {
      for await (const chunk of content.read(start, end)) {
        await sleep((1000 * chunk.length) / bytesPerSecond);
        yield chunk;
      }
    },
  };
}

/** The first `size` bytes of `generated` for `seed`. */
export function randomBytes(size: number, seed: number): Buffer {
  return keyStream(seed, 0, size);
}

function keyStream(seed: number, start: number, end: number): Buffer {
  const block = Math.floor(start / 16);
  const key = createHash('md5').update(`seed ${seed}`).digest();
  const counter = Buffer.alloc(16);
  counter.writeBigUInt64BE(BigInt(block), 8);
  const cipher = createCipheriv('aes-128-ctr', key, counter);
  return cipher.update(Buffer.alloc(end - block * 16)).subarray(start - block * 16);
}

function hexStream(seed: number, start: number, end: number): Buffer {
  const first = Math.floor(start / 2);
  const digits = keyStream(seed, first, Math.ceil(end / 2)).toString('hex');
  return Buffer.from(digits, 'latin1').subarray(start - first * 2, end - first * 2);
}

/**
 * `unit`, repeated `times` times. A gzip member or a zstd frame repeated is a valid stream again, so this is a
 * compressed layer of any size that costs the memory of one member.
 */
export function repeated(unit: Uint8Array, times: number): Content {
  return {
    size: unit.length * times,
    *read(start, end) {
      for (let at = start; at < end;) {
        const within = at % unit.length;
        const until = Math.min(unit.length, within + end - at);
        yield unit.subarray(within, until);
        at += until - within;
      }
    },
  };
}

export async function digestOfContent(content: Content): Promise<Digest> {
  const hashing = createHash('sha256');
  for await (const chunk of content.read(0, content.size)) hashing.update(chunk);
  return `sha256:${hashing.digest('hex')}` as Digest;
}
