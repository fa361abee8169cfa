/** The uncompressed bytes of a layer: their digests (OCI image spec, config.md, "Layer DiffID") and their limits. */
import type { Hash } from 'node:crypto';
import { Failure } from '../core/failure.ts';
import { type Algorithm, type Digest, hasher, toDigest } from '../oci/digest.ts';

/** Digests of the same uncompressed bytes, by algorithm. */
export type DiffIds = Partial<Readonly<Record<Algorithm, Digest>>>;

/** A plain object, which can be posted to a thread. */
export interface ContentOptions {
  /** The digest of the stored bytes, for messages. */
  readonly digest: Digest;
  readonly algorithms: readonly Algorithm[];
  /** Uncompressed bytes above which the blob is refused. */
  readonly maxUncompressed: number;
  /** The number of uncompressed bytes from which their ratio to the stored bytes is limited. */
  readonly ratioFrom: number;
}

/**
 * Uncompressed bytes per stored byte, at most. A gzip stream has at most 1,032, which a large file of zeros reaches. Real
 * zstd layers stay far below, and decompression bombs exceed it.
 */
const MAX_RATIO = 1100;

export class Content {
  readonly #options: ContentOptions;
  readonly #hashes: readonly (readonly [Algorithm, Hash])[];
  #size = 0;

  constructor(options: ContentOptions) {
    this.#options = options;
    this.#hashes = options.algorithms.map((algorithm) => [algorithm, hasher(algorithm)]);
  }

  /**
   * Takes the next uncompressed bytes, which may be overwritten afterwards.
   *
   * @param stored the number of stored bytes so far
   * @throws Failure `too-large`
   */
  update(chunk: Uint8Array, stored: number): void {
    const { maxUncompressed, ratioFrom } = this.#options;
    this.#size += chunk.length;
    if (this.#size > maxUncompressed)
      throw this.#tooLarge(`it unpacks to more than the limit of ${maxUncompressed} bytes`);
    if (this.#size > ratioFrom && this.#size > MAX_RATIO * stored)
      throw this.#tooLarge(
        `its first ${stored} bytes unpack to more than ${MAX_RATIO} times as many, which is the limit`,
      );
    for (const [, hash] of this.#hashes) hash.update(chunk);
  }

  /** Ends the digests; call it once. */
  diffIds(): DiffIds {
    return Object.fromEntries(
      this.#hashes.map(([algorithm, hash]) => [algorithm, toDigest(algorithm, hash.digest('hex'))]),
    );
  }

  #tooLarge(detail: string): Failure {
    return new Failure({ operation: `verify blob ${this.#options.digest}`, side: 'source', code: 'too-large', detail });
  }
}
