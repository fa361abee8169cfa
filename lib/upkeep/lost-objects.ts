import type { Archive } from '../archive/archive.ts';
import { scopesOf, type TagEntry } from '../archive/tag-index/tag-index.ts';
import { Failure } from '../core/failure.ts';
import type { Digest } from '../oci/digest.ts';
import type { Scope } from '../queue/messages.ts';
import { cachedReader } from '../sync/cached-reader.ts';
import { type ClosureReader, held, readClaims, traverse } from '../sync/closure.ts';

/** Objects that were found wrong or missing; finds out whether a reference leads to one of them. */
export class LostObjects {
  readonly #archive: Archive;
  readonly #lost: ReadonlySet<Digest>;
  readonly #signal: AbortSignal;
  readonly #content: ClosureReader['content'];

  constructor(archive: Archive, lost: ReadonlySet<Digest>, signal: AbortSignal) {
    this.#archive = archive;
    this.#lost = lost;
    this.#signal = signal;
    this.#content = cachedReader({
      has: () => Promise.resolve(false),
      proof: () => Promise.resolve(undefined),
      content: (digest, maxBytes) => held(archive, digest, { maxBytes, signal }),
    }).content;
  }

  /** Whether the closure of an entry contains one of the objects that no sync has restored. */
  async isBelow(entry: TagEntry): Promise<boolean> {
    for (const scope of scopesOf(entry)) if (await this.#isBelow(entry.digest, scope)) return true;
    return false;
  }

  async #isBelow(root: Digest, scope: Scope): Promise<boolean> {
    try {
      for await (const { digest, manifest, optional } of traverse(root, scope.platforms, this.#content)) {
        if (manifest === undefined) {
          if (!optional && this.#lost.has(digest)) return true;
          continue;
        }
        const read = await readClaims(digest, manifest, scope, this.#content);
        if ('missing' in read) {
          if (this.#lost.has(read.missing)) return true;
          continue;
        }
        for (const { digest: blob } of read.claims.blobs) if (await this.#isLost(blob)) return true;
      }
    } catch (error) {
      // The next verification reports an image whose objects contradict each other.
      if (!(error instanceof Failure) || error.remedy !== 'never') throw error;
    }
    return false;
  }

  async #isLost(blob: Digest): Promise<boolean> {
    return this.#lost.has(blob) && (await this.#archive.receipt(blob, { signal: this.#signal })) === undefined;
  }
}
