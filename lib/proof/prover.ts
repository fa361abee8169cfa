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
import { Unpacker } from './unpacker.ts';

export interface Expected {
  readonly digest: Digest;
  readonly mediaType: string;
  /** Bytes; schema1 does not say. */
  readonly size?: number | undefined;
  /** The algorithms of the diffIDs to prove; see `LayerMessage`. */
  readonly diffIds?: readonly Algorithm[] | undefined;
}

export type DiffIds = Partial<Readonly<Record<Algorithm, Digest>>>;

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
   * Waits for the memory of a zstd window. Only for a caller that holds nothing which others wait for, and that awaits
   * each write. Without this, unpacking is deferred where the memory is not available.
   */
  readonly patient?: { readonly signal: AbortSignal; readonly window: 'as-announced' | 'largest' } | undefined;
}

/** Uncompressed bytes above which a layer is refused: real layers are smaller, decompression bombs are not. */
const MAX_UNCOMPRESSED_BYTES = 128 * 1024 ** 3;

/** Uncompressed bytes per stored byte. Checked only from a size on, below which unpacking takes little time. */
const MAX_RATIO = 1000;
const RATIO_FROM_BYTES = 1024 ** 3;

export class Prover {
  readonly #expected: Expected;
  readonly #maxUncompressed: number;
  readonly #ratioFrom: number;
  readonly #declared: Compression;
  readonly #strict: boolean;
  readonly #stored: Hash;
  readonly #hashes: ReadonlyMap<Algorithm, Hash>;
  readonly #unpacker: Unpacker | undefined;
  #size = 0;
  #uncompressed = 0;
  #unreadable: string | undefined;
  #deferred = false;

  constructor(expected: Expected, options: ProverOptions = {}) {
    this.#expected = expected;
    this.#maxUncompressed = options.maxUncompressed ?? MAX_UNCOMPRESSED_BYTES;
    this.#ratioFrom = options.ratioFrom ?? RATIO_FROM_BYTES;
    this.#strict = options.strict ?? false;
    this.#declared = compressionOf(expected.mediaType);
    this.#stored = hasher(digestParts(expected.digest).algorithm);
    const algorithms = algorithmsOf(expected);
    this.#hashes = new Map(algorithms.map((algorithm) => [algorithm, hasher(algorithm)]));
    if (algorithms.length > 0)
      this.#unpacker = new Unpacker(this.#declared, {
        size: expected.size,
        patient: options.patient,
        sink: (chunk) => {
          this.#take(chunk);
        },
      });
  }

  get size(): number {
    return this.#size;
  }

  /** The next bytes, in order. They may be reused once it has resolved; the next ones may be written before. Throws as soon as there are too many. */
  async write(chunk: Uint8Array): Promise<void> {
    this.#size += chunk.length;
    const { size } = this.#expected;
    if (size !== undefined && this.#size > size) throw this.#refuse('size-mismatch', this.#longer(size));
    const unpacked = this.#isOver ? undefined : this.#unpacker?.write(chunk);
    this.#stored.update(chunk);
    await this.#readable(unpacked);
  }

  /** Returns the proof, or throws the first problem: the size, then the digest, and only then the unpacked bytes. */
  async finish(): Promise<Proof> {
    const { digest: expected, size, mediaType } = this.#expected;
    if (size !== undefined && this.#size !== size)
      throw this.#refuse('size-mismatch', `it has ${this.#size} bytes, its descriptor says ${size}`);
    const digest = toDigest(digestParts(expected).algorithm, this.#stored.digest('hex'));
    if (digest !== expected)
      throw this.#refuse('digest-mismatch', `its ${this.#size} bytes hash to ${digest}; they are not what was named`);
    if (!this.#isOver) await this.#readable(this.#unpacker?.end());
    const proof = { digest, size: this.#size, diffIds: {} };
    if (this.#deferred) return { ...proof, deferred: true };
    const compression = this.#unpacker?.compression;
    const differs = compression !== undefined && compression !== this.#declared && this.#size > 0;
    if (differs && this.#strict)
      this.#unreadable ??= compression === 'none' ? 'its bytes are a plain tar' : `its bytes are ${compression}`;
    if (this.#unreadable !== undefined)
      throw this.#refuse('not-as-declared', `${mediaType} does not hold: ${this.#unreadable}`);
    if (compression === undefined) return proof;
    const diffIds = Object.fromEntries(
      [...this.#hashes].map(([algorithm, hash]) => [algorithm, toDigest(algorithm, hash.digest('hex'))]),
    ) as DiffIds;
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
  async #readable(work: Promise<'deferred' | undefined> | undefined): Promise<void> {
    if (work === undefined) return;
    try {
      if ((await work) === 'deferred') this.#deferred = true;
    } catch (error) {
      const failure = asFailure(error, 'unpack', 'source');
      if (failure.code !== 'not-as-declared') throw failure;
      this.#unreadable ??= failure.message;
    }
  }

  #take(chunk: Uint8Array): void {
    this.#uncompressed += chunk.length;
    if (this.#uncompressed > this.#maxUncompressed)
      throw this.#refuse('too-large', `it unpacks to more than ${this.#maxUncompressed} bytes, which is the limit`);
    if (this.#uncompressed > this.#ratioFrom && this.#uncompressed > MAX_RATIO * this.#size)
      throw this.#refuse(
        'too-large',
        `its first ${this.#size} bytes unpack to more than ${MAX_RATIO} times as many, which is the limit`,
      );
    for (const hash of this.#hashes.values()) hash.update(chunk);
  }

  #longer(size: number): string {
    return `it is longer than the ${size} bytes that its descriptor says`;
  }

  #refuse(code: 'size-mismatch' | 'digest-mismatch' | 'not-as-declared' | 'too-large', detail: string): Failure {
    return new Failure({ operation: `verify blob ${this.#expected.digest}`, side: 'source', code, detail });
  }
}
