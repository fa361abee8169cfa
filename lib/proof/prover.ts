/**
 * The proof of a blob, in one pass over its bytes: the digest and the size of what was stored, and, for a layer, the
 * diffIDs, the digests of its uncompressed bytes (OCI image spec, config.md, "Layer DiffID").
 */
import type { Hash } from 'node:crypto';
import { asFailure, Failure } from '../core/failure.ts';
import type { Compression } from '../oci/compression.ts';
import { type Algorithm, type Digest, digestParts, hasher, toDigest } from '../oci/digest.ts';
import { compressionOf } from '../oci/mediatype.ts';
import { algorithmsOf } from './algorithms.ts';
import type { DiffIds } from './content.ts';
import { Unpacker, type UnpackerOptions } from './unpacker.ts';

export interface Expected {
  readonly digest: Digest;
  readonly mediaType: string;
  /** Bytes; schema1 does not say. */
  readonly size?: number | undefined;
  /** The algorithms of the diffIDs to prove; see `LayerMessage`. */
  readonly diffIds?: readonly Algorithm[] | undefined;
}

export interface Proof {
  readonly digest: Digest;
  /** Bytes as stored. */
  readonly size: number;
  /** Digests of the uncompressed bytes, by algorithm; none where the blob is opaque. */
  readonly diffIds: DiffIds;
  /** The compression of the bytes; missing where nothing was unpacked. */
  readonly compression?: Compression;
  /** The media type that declares another compression. */
  readonly declared?: string;
  /** Digest and size are proven, but not the diffIDs: there was not enough memory to unpack the bytes. */
  readonly deferred?: true;
}

export interface ProverOptions {
  readonly maxUncompressed?: number | undefined;
  /** The number of uncompressed bytes from which their ratio to the stored bytes is limited. */
  readonly ratioFrom?: number | undefined;
  /** Refuses bytes that are not compressed as declared. */
  readonly strict?: boolean | undefined;
  /**
   * Waits for the memory of a zstd window. Only for a caller that awaits each write, and that holds no resource for
   * which others wait. Without this, unpacking is deferred where the memory is not available.
   */
  readonly patient?: UnpackerOptions['patient'];
}

/** The maximum number of uncompressed bytes of a layer; real layers are smaller, and decompression bombs are larger. */
const MAX_UNCOMPRESSED_BYTES = 128 * 1024 ** 3;

/** The ratio of uncompressed to stored bytes is limited from this size on, below which unpacking takes little time. */
const RATIO_FROM_BYTES = 1024 ** 3;

export class Prover {
  readonly #expected: Expected;
  readonly #declared: Compression;
  readonly #strict: boolean;
  readonly #stored: Hash;
  readonly #unpacker: Unpacker | undefined;
  #size = 0;
  #unreadable: string | undefined;
  #deferred = false;

  constructor(expected: Expected, options: ProverOptions = {}) {
    this.#expected = expected;
    this.#strict = options.strict ?? false;
    this.#declared = compressionOf(expected.mediaType);
    const { digest, size } = expected;
    this.#stored = hasher(digestParts(digest).algorithm);
    const algorithms = algorithmsOf(expected);
    const { maxUncompressed = MAX_UNCOMPRESSED_BYTES, ratioFrom = RATIO_FROM_BYTES, patient } = options;
    if (algorithms.length > 0)
      this.#unpacker = new Unpacker(this.#declared, { digest, algorithms, maxUncompressed, ratioFrom, size, patient });
  }

  get size(): number {
    return this.#size;
  }

  /**
   * The next bytes, in order. They may be reused once it has resolved; the next ones may be written before. Throws as
   * soon as the bytes exceed the size.
   */
  async write(chunk: Uint8Array): Promise<void> {
    this.#size += chunk.length;
    const { size } = this.#expected;
    if (size !== undefined && this.#size > size)
      throw this.#refuse('size-mismatch', `expected ${size} bytes, got more`);
    const unpacked = this.#isOver ? undefined : this.#unpacker?.write(chunk);
    this.#stored.update(chunk);
    await this.#readable(unpacked);
  }

  /** Returns the proof, or throws the first problem: the size, then the digest, and only then the unpacked bytes. */
  async finish(): Promise<Proof> {
    const { digest: expected, size, mediaType } = this.#expected;
    if (size !== undefined && this.#size !== size)
      throw this.#refuse('size-mismatch', `expected ${size} bytes, got ${this.#size}`);
    const digest = toDigest(digestParts(expected).algorithm, this.#stored.digest('hex'));
    if (digest !== expected) throw this.#refuse('digest-mismatch', `its ${this.#size} bytes hash to ${digest}`);
    const diffIds = this.#isOver ? undefined : await this.#readable(this.#unpacker?.end());
    const proof = { digest, size: this.#size, diffIds: {} };
    if (this.#deferred) return { ...proof, deferred: true };
    const compression = this.#unpacker?.compression;
    const differs = compression !== undefined && compression !== this.#declared && this.#size > 0;
    if (differs && this.#strict)
      this.#unreadable ??= compression === 'none' ? 'its bytes are a plain tar' : `its bytes are ${compression}`;
    if (this.#unreadable !== undefined)
      throw this.#refuse(
        'not-as-declared',
        `it is declared as ${mediaType}, but does not unpack as that: ${this.#unreadable}`,
      );
    if (compression === undefined || diffIds === undefined) return proof;
    return { ...proof, diffIds, compression, ...(differs ? { declared: mediaType } : {}) };
  }

  /** Resolves when the written bytes are not read any more. */
  async destroy(): Promise<void> {
    await this.#unpacker?.destroy();
  }

  get #isOver(): boolean {
    return this.#deferred || this.#unreadable !== undefined;
  }

  /**
   * Remembers bytes that do not decompress, and does not throw: only the end shows whether they are the wrong bytes (a
   * digest mismatch) or the right ones with a wrong declaration.
   */
  async #readable<T>(work: Promise<T | 'deferred'> | undefined): Promise<T | undefined> {
    try {
      const done = await work;
      if (done !== 'deferred') return done;
      this.#deferred = true;
    } catch (error) {
      const failure = asFailure(error, 'unpack', 'source');
      if (failure.code !== 'not-as-declared') throw failure;
      this.#unreadable ??= failure.message;
    }
    return undefined;
  }

  #refuse(code: 'size-mismatch' | 'digest-mismatch' | 'not-as-declared', detail: string): Failure {
    return new Failure({ operation: `verify blob ${this.#expected.digest}`, side: 'source', code, detail });
  }
}
