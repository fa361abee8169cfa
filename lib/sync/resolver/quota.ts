import { Failure } from '../../core/failure.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Blob } from '../claims.ts';

/** The operator's limits on what registries may store in the archive. Each is optional. */
export interface Limits {
  /** Bytes of an image's layers and other blobs, each once, as its manifests declare them. */
  readonly imageBytes?: number;
  /** Images that a run asks for, unchanged ones included. */
  readonly runImages?: number;
  /** Bytes of blobs that a run fetches because the archive lacks them, each blob once. */
  readonly runBytes?: number;
}

/**
 * Counts the requests of a run against the limits. On one machine a whole run shares one quota; a function makes one
 * per message, since functions share no state. Counting is idempotent, since messages are delivered at least once.
 */
export class Quota {
  readonly #limits: Limits;
  readonly #images = new Set<string>();
  readonly #blobs = new Set<Digest>();
  #bytes = 0;

  constructor(limits: Limits = {}) {
    this.#limits = limits;
  }

  /** How many of a repository's tags may be requested. */
  get tags(): number {
    return this.#limits.runImages ?? Infinity;
  }

  /** The failure of a repository with too many wanted tags. */
  tooManyTags(source: string): Failure {
    const detail = `more than ${this.tags} of its tags are wanted; limits.runImages allows no more`;
    return exceeded(`list tags of ${source}`, detail);
  }

  /**
   * @throws Failure `limit-exceeded` for an image beyond the limit
   */
  image(name: string): void {
    const { runImages } = this.#limits;
    if (runImages === undefined || this.#images.has(name)) return;
    if (this.#images.size >= runImages)
      throw exceeded(`mirror ${name}`, `the run has ${runImages} images already; limits.runImages allows no more`);
    this.#images.add(name);
  }

  /** @throws Failure `limit-exceeded` for an image that is too large */
  size(name: string, blobs: readonly Blob[]): void {
    const { imageBytes } = this.#limits;
    const bytes = bytesOf(blobs);
    if (imageBytes !== undefined && bytes > imageBytes)
      throw exceeded(`mirror ${name}`, `it has ${bytes} bytes; limits.imageBytes allows ${imageBytes}`);
  }

  /**
   * @throws Failure `limit-exceeded` where the run would fetch more than the limit; then none of the blobs is counted
   */
  fetch(name: string, missing: readonly Blob[]): void {
    const { runBytes } = this.#limits;
    if (runBytes === undefined) return;
    const more = missing.filter(({ digest }) => !this.#blobs.has(digest));
    const bytes = bytesOf(more);
    if (bytes > runBytes - this.#bytes)
      throw exceeded(
        `mirror ${name}`,
        `it lacks ${bytes} bytes, and the run has asked for ${this.#bytes}; limits.runBytes allows ${runBytes}`,
      );
    this.#bytes += bytes;
    for (const { digest } of more) this.#blobs.add(digest);
  }
}

function bytesOf(blobs: readonly Blob[]): number {
  return blobs.reduce((sum, { size = 0 }) => sum + size, 0);
}

function exceeded(operation: string, detail: string): Failure {
  return new Failure({ operation, side: 'source', code: 'limit-exceeded', detail });
}
