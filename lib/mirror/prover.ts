/**
 * The proof of a blob, in one pass over its bytes: the digest and the size of what was stored, and, for a layer, the
 * diffID, the digest of its uncompressed bytes (OCI image spec, config.md, "Layer DiffID").
 */
import type { Hash } from 'node:crypto';
import { asFailure, Failure } from '../base/failure.ts';
import { digestParts, hasher, toDigest, type Digest } from '../oci/digest.ts';
import { compressionOf } from '../oci/mediatype.ts';
import { createInflater, type Inflater } from './inflate.ts';

export type Compression = 'gzip' | 'zstd' | 'none';

export interface Expected {
  readonly digest: Digest;
  readonly mediaType: string;
  /** Bytes; schema1 does not say. */
  readonly size?: number | undefined;
}

export interface Proof {
  readonly digest: Digest;
  /** Bytes as stored. */
  readonly size: number;
  readonly diffId: Digest;
  readonly compression: Compression;
}

/** Uncompressed bytes beyond which a layer is refused: no real one is that large, a decompression bomb is. */
const MAX_UNCOMPRESSED_BYTES = 128 * 1024 ** 3;

/** A blob from this size on is inflated on a thread: below, handing it over takes longer than inflating. */
const LARGE_BYTES = 4 * 1024 * 1024;

export class Prover {
  readonly #expected: Expected;
  readonly #compression: Compression;
  readonly #maxUncompressed: number;
  readonly #stored: Hash;
  readonly #unpacked: Hash | undefined;
  readonly #inflater: Inflater | undefined;
  #size = 0;
  #uncompressed = 0;
  #unreadable: Failure | undefined;

  constructor(expected: Expected, options: { readonly maxUncompressed?: number } = {}) {
    this.#expected = expected;
    this.#maxUncompressed = options.maxUncompressed ?? MAX_UNCOMPRESSED_BYTES;
    this.#compression = compressionOf(expected.mediaType);
    const { algorithm } = digestParts(expected.digest);
    this.#stored = hasher(algorithm);
    if (this.#compression === 'none') {
      // What is not compressed is its own diffID, which is always SHA-256 here.
      this.#unpacked = algorithm === 'sha256' ? undefined : hasher('sha256');
    } else {
      this.#unpacked = hasher('sha256');
      const large = (expected.size ?? Infinity) >= LARGE_BYTES;
      this.#inflater = createInflater(this.#compression, (chunk) => this.#take(chunk), { large });
    }
  }

  get size(): number {
    return this.#size;
  }

  /** The next bytes, in order. They may be reused once it has resolved; the next ones may be written before. Throws as soon as there are too many. */
  async write(chunk: Uint8Array): Promise<void> {
    this.#size += chunk.length;
    const { size } = this.#expected;
    if (size !== undefined && this.#size > size) throw this.#refuse('size-mismatch', this.#longer(size));
    const inflated = this.#unreadable === undefined ? this.#inflater?.write(chunk) : undefined;
    this.#stored.update(chunk);
    if (this.#inflater === undefined) this.#unpacked?.update(chunk);
    await this.#readable(inflated);
  }

  /** The proof, or what is wrong: first the size, then the digest, and only then what the bytes unpack to. */
  async finish(): Promise<Proof> {
    const { digest: expected, size } = this.#expected;
    if (size !== undefined && this.#size !== size)
      throw this.#refuse('size-mismatch', `it has ${this.#size} bytes, its descriptor says ${size}`);
    const digest = toDigest(digestParts(expected).algorithm, this.#stored.digest('hex'));
    if (digest !== expected)
      throw this.#refuse('digest-mismatch', `its ${this.#size} bytes hash to ${digest}; they are not what was named`);
    if (this.#unreadable === undefined) await this.#readable(this.#inflater?.end());
    if (this.#unreadable !== undefined)
      throw this.#refuse('not-as-declared', `${this.#expected.mediaType} does not hold: ${this.#unreadable.message}`);
    const diffId = this.#unpacked === undefined ? digest : toDigest('sha256', this.#unpacked.digest('hex'));
    return { digest, size: this.#size, diffId, compression: this.#compression };
  }

  /** Resolves when nothing reads any more what was written. */
  async destroy(): Promise<void> {
    await this.#inflater?.destroy();
  }

  /**
   * Bytes that do not decompress are remembered and not thrown: whether they are the wrong bytes (a digest mismatch) or
   * the right ones wrongly declared is known at the end only.
   */
  async #readable(work: Promise<void> | undefined): Promise<void> {
    if (work === undefined) return;
    try {
      await work;
    } catch (error) {
      const failure = asFailure(error, 'unpack', 'source');
      if (failure.code !== 'not-as-declared') throw failure;
      this.#unreadable = failure;
    }
  }

  #take(chunk: Uint8Array): void {
    this.#uncompressed += chunk.length;
    if (this.#uncompressed > this.#maxUncompressed)
      throw this.#refuse('too-large', `it unpacks to more than ${this.#maxUncompressed} bytes, which is the limit`);
    this.#unpacked?.update(chunk);
  }

  #longer(size: number): string {
    return `it is longer than the ${size} bytes that its descriptor says`;
  }

  #refuse(code: 'size-mismatch' | 'digest-mismatch' | 'not-as-declared' | 'too-large', detail: string): Failure {
    return new Failure({ operation: `verify blob ${this.#expected.digest}`, side: 'source', code, detail });
  }
}
