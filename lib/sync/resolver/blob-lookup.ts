import type { Archive } from '../../archive/archive.ts';
import type { LayerMessage } from '../../queue/messages.ts';
import { storeKnown } from './known-blob.ts';
import { once } from './once.ts';
import { proofKey, provenBy } from '../receipts.ts';
import type { NeededBlob } from './walk.ts';

export type Look = LayerMessage['look'];

/** Looks up the blobs of a slice in the archive. */
export class BlobLookup {
  readonly #archive: Archive;
  readonly #signal: AbortSignal;
  readonly #found = new Map<string, Promise<Look | undefined>>();
  readonly #unfinished = new Map<string, Promise<ReadonlySet<string>>>();

  readonly #known: Omit<Parameters<typeof storeKnown>[2], 'signal'>;

  /** @param known for the proof of blobs whose content is known without a request */
  constructor(archive: Archive, signal: AbortSignal, known: Omit<Parameters<typeof storeKnown>[2], 'signal'>) {
    this.#archive = archive;
    this.#signal = signal;
    this.#known = known;
  }

  /**
   * Looks up a blob; undefined where the archive has its proof. Once per slice: its images share most of their blobs.
   */
  find(blob: NeededBlob): Promise<Look | undefined> {
    return once(this.#found, proofKey(blob), () => this.#lookFor(blob));
  }

  async #lookFor(blob: NeededBlob): Promise<Look | undefined> {
    const archive = this.#archive;
    const signal = this.#signal;
    const receipt = await archive.receipt(blob.digest, { signal });
    if (receipt !== undefined) return provenBy(receipt, blob) === undefined ? 'everything' : undefined;
    if (await storeKnown(archive, blob, { ...this.#known, signal })) return undefined;
    const key = archive.layout.blob(blob.digest);
    const begun =
      (await this.#unfinishedUploads()).has(key) || (await archive.store.head(key, { signal })) !== undefined;
    return begun ? 'everything' : 'receipt';
  }

  /** The listing of unfinished uploads: requested once per slice, when the first blob is missing. */
  #unfinishedUploads(): Promise<ReadonlySet<string>> {
    const archive = this.#archive;
    const signal = this.#signal;
    return once(this.#unfinished, archive.layout.blobs, async () => {
      const keys = new Set<string>();
      for await (const { key } of archive.store.uploads(archive.layout.blobs, { signal })) keys.add(key);
      return keys;
    });
  }
}
