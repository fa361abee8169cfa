/**
 * The unfinished uploads of one blob. A listing does not say who writes an upload, nor whether anybody does: one that was
 * begun a minute ago may be what a killed process left behind, or what another function (the same blob comes from another
 * registry, or for another run) is filling right now.
 *
 * So until the blob is there, nobody takes away an upload that may be somebody's: two writers who did would both begin
 * anew until their images fail. Once the blob's receipt is written, every upload of it is aborted: whoever still writes one
 * hears `no-such-upload`, looks again, finds the receipt, and has nothing left to do.
 *
 * | an upload of this blob                             | until the blob is there      | once its receipt is written |
 * |----------------------------------------------------|------------------------------|-----------------------------|
 * | has parts that fit, and the most of all            | is gone on with, and is ours | was completed               |
 * | has parts that fit, but fewer                      | is left alone                | is aborted                  |
 * | has none (or of another plan), begun within LIVE_MS | is left alone               | is aborted                  |
 * | has none, and is older                             | is aborted                   |                             |
 * | was gone on with in vain ("restart")               | is not tried again           | is aborted                  |
 * | was gone on with, and the blob cannot be had       | is aborted                   |                             |
 *
 * To go on with an upload that somebody else is writing harms nobody. Both put the same bytes into the same parts, the
 * first to complete it wins, and the other hears `no-such-upload`, or that a part was replaced, and looks again: it finds
 * the object, or all of its parts. What is left of a blob that nobody completes goes by
 * its age (clean.ts, and the bucket's lifecycle rule).
 */
import { Failure } from '../../core/failure.ts';
import { landed, partSizeFor } from '../../store/parts.ts';
import type { ObjectStore, Part, Upload } from '../../store/store.ts';

/**
 * How long an upload without a part may still be somebody's: the longest time that a Lambda function has, 15 minutes,
 * and what its clock and the store's may differ. A process of hours has landed a part by then.
 */
export const LIVE_MS = 20 * 60 * 1000;

/** An upload to go on with, and what of it fits. */
export interface Unfinished {
  readonly upload: Upload;
  readonly landed: readonly Part[];
}

export interface UnfinishedOptions {
  readonly store: ObjectStore;
  readonly key: string;
  /** Bytes of the blob; one of unknown size is not gone on with. */
  readonly size: number | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly signal: AbortSignal;
}

export class UnfinishedUploads {
  readonly #options: UnfinishedOptions;
  /** Those that were seen and left alone. */
  readonly #others = new Map<string, Upload>();
  readonly #refused = new Set<string>();

  constructor(options: UnfinishedOptions) {
    this.#options = options;
  }

  /** The one that has come furthest. */
  async furthest(): Promise<Unfinished | undefined> {
    const { store, size } = this.#options;
    const partSize = partSizeFor(size, store.limits);
    let best: Unfinished | undefined;
    for await (const upload of this.#all()) {
      const parts = await this.#partsOf(upload);
      if (parts === undefined) continue;
      const fitting = size === undefined ? [] : landed(size, partSize, parts);
      if (fitting.length === 0 && this.#isOld(upload)) await this.abort(upload);
      else this.#others.set(upload.id, upload);
      if (!this.#refused.has(upload.id) && fitting.length > (best?.landed.length ?? 0))
        best = { upload, landed: fitting };
    }
    if (best !== undefined) this.#others.delete(best.upload.id);
    return best;
  }

  /** It was gone on with in vain: not again. */
  refuse(upload: Upload): void {
    this.#refused.add(upload.id);
    this.#others.set(upload.id, upload);
  }

  /** Of a blob that is proven, nobody needs them. Costs nothing where none were seen. */
  async abortOthers(): Promise<void> {
    for (const upload of this.#others.values()) await this.abort(upload);
    this.#others.clear();
  }

  /** Those too that nobody has looked for: of a blob that is proven, or given up. */
  async abortAll(): Promise<void> {
    try {
      for await (const upload of this.#all()) await this.abort(upload);
    } catch {
      // As below.
    }
  }

  /** Best effort: that it could not be aborted is not worth failing for, and its age will see to it. */
  async abort(upload: Upload): Promise<void> {
    const { store, signal } = this.#options;
    await store.abortUpload(upload, { signal }).catch(() => undefined);
  }

  /** Those of this very key. */
  async *#all(): AsyncGenerator<Upload, void, void> {
    const { store, key, signal } = this.#options;
    for await (const upload of store.uploads(key, { signal })) if (upload.key === key) yield upload;
  }

  /** `undefined` where it is gone since it was listed. */
  async #partsOf(upload: Upload): Promise<Part[] | undefined> {
    const { store, signal } = this.#options;
    try {
      return await Array.fromAsync(store.parts(upload, { signal }));
    } catch (error) {
      if (error instanceof Failure && error.code === 'no-such-upload') return undefined;
      throw error;
    }
  }

  #isOld({ initiated }: Upload): boolean {
    return this.#options.now() - initiated.getTime() > LIVE_MS;
  }
}
