/**
 * The unfinished uploads of one blob. A listing does not show whether an upload still has a writer. An upload that
 * began a minute ago may belong to a killed process, or to another function that is filling it now (the same blob from
 * another registry, or for another run).
 *
 * So an upload that may have a writer is kept until the blob exists: two writers that abort each other's uploads would
 * both restart until their images fail. Once the blob's receipt is written, every upload of it is aborted. A remaining
 * writer gets `no-such-upload`, looks again, finds the receipt, and is done.
 *
 * | an upload of this blob                              | until the blob exists          | once its receipt is written |
 * |-----------------------------------------------------|--------------------------------|-----------------------------|
 * | has fitting parts, and more than the others         | is continued                   | was completed               |
 * | has fitting parts, but fewer                        | is left alone                  | is aborted                  |
 * | has none (or of another plan), begun within LIVE_MS | is left alone                  | is aborted                  |
 * | has none, and is older                              | is aborted                     |                             |
 * | was continued without success ("restart")           | is not tried again             | is aborted                  |
 * | was continued, and the blob is not available        | is aborted                     |                             |
 *
 * Two writers may continue one upload safely. Both put the same bytes into the same parts, and the first to complete it
 * wins. The other one gets `no-such-upload`, or an error for a replaced part, and looks again: it finds the object, or
 * all of its parts. Uploads that no process completes are removed by age (clean.ts, and the bucket's lifecycle rule).
 */
import { Failure } from '../../core/failure.ts';
import { landed, partSizeFor } from '../../store/parts.ts';
import type { ObjectStore, Part, Upload } from '../../store/store.ts';

/**
 * How long an upload without a part may still have a writer: 15 minutes, the longest time of a Lambda function, plus
 * the difference between its clock and the store's. A process that runs for hours has stored a part by then.
 */
export const LIVE_MS = 20 * 60 * 1000;

/** An upload to continue, and its fitting parts. */
export interface Unfinished {
  readonly upload: Upload;
  readonly landed: readonly Part[];
}

export interface UnfinishedOptions {
  readonly store: ObjectStore;
  readonly key: string;
  /** Bytes of the blob; a blob of unknown size is not continued. */
  readonly size: number | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly signal: AbortSignal;
}

export class UnfinishedUploads {
  readonly #options: UnfinishedOptions;
  /** Uploads that were seen and left alone. */
  readonly #others = new Map<string, Upload>();
  readonly #refused = new Map<string, Upload>();

  constructor(options: UnfinishedOptions) {
    this.#options = options;
  }

  /** The upload with the most fitting parts. */
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

  /** Marks an upload whose continuation failed, so that it is not continued again. */
  refuse(upload: Upload): void {
    this.#refused.set(upload.id, upload);
    this.#others.set(upload.id, upload);
  }

  /** Aborts the uploads whose continuation failed, because the blob is not available. */
  async abortRefused(): Promise<void> {
    for (const upload of this.#refused.values()) await this.abort(upload);
  }

  /** Aborts the uploads of a proven blob. It sends no request if no listing had such an upload. */
  async abortOthers(): Promise<void> {
    for (const upload of this.#others.values()) await this.abort(upload);
    this.#others.clear();
  }

  /** Aborts all uploads of a blob that is proven or has failed, including uploads that were not listed before. */
  async abortAll(): Promise<void> {
    try {
      for await (const upload of this.#all()) await this.abort(upload);
    } catch {
      // As below.
    }
  }

  /** Best effort: an upload that cannot be aborted is removed by age later. */
  async abort(upload: Upload): Promise<void> {
    const { store, signal } = this.#options;
    await store.abortUpload(upload, { signal }).catch(() => undefined);
  }

  /** The uploads of exactly this key. */
  async *#all(): AsyncGenerator<Upload, void, void> {
    const { store, key, signal } = this.#options;
    for await (const upload of store.uploads(key, { signal })) if (upload.key === key) yield upload;
  }

  /** `undefined` if the upload no longer exists. */
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
