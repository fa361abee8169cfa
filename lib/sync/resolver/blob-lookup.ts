import type { Archive } from '../../archive/archive.ts';
import { knownContent } from '../../oci/descriptor.ts';
import type { LayerMessage } from '../../queue/messages.ts';
import { Once } from './once.ts';
import { proofKey, provenBy } from '../receipts.ts';
import { storeBytes, type StoreOptions } from '../store-bytes.ts';
import type { NeededBlob } from './parsing.ts';

export type Look = LayerMessage['look'];

/** The results that a slice keeps: those of a hundred ordinary images. */
const KEPT_LOOKS = 10_000;

/** Looks up the blobs of a slice in the archive. */
export class BlobLookup {
  readonly #archive: Archive;
  readonly #options: StoreOptions;
  readonly #found = new Once<Look | undefined>(KEPT_LOOKS, () => 1);
  readonly #unfinished = new Once<ReadonlySet<string>>(1, () => 1);

  /** @param options for the proof of blobs whose content is known without a request */
  constructor(archive: Archive, options: StoreOptions) {
    this.#archive = archive;
    this.#options = options;
  }

  /**
   * Looks up a blob; undefined where the archive has its proof. Once per slice while the result is kept: its images share most of their blobs.
   */
  find(blob: NeededBlob): Promise<Look | undefined> {
    return this.#found.get(proofKey(blob), () => this.#lookFor(blob));
  }

  async #lookFor(blob: NeededBlob): Promise<Look | undefined> {
    const archive = this.#archive;
    const { signal } = this.#options;
    const receipt = await archive.receipt(blob.digest, { signal });
    if (receipt !== undefined) return provenBy(receipt, blob) === undefined ? 'everything' : undefined;
    const known = knownContent(blob);
    if (known !== undefined && (await storeBytes(archive, blob, known, this.#options))) return undefined;
    const key = archive.layout.blob(blob.digest);
    const begun =
      (await this.#unfinishedUploads()).has(key) || (await archive.store.head(key, { signal })) !== undefined;
    return begun ? 'everything' : 'receipt';
  }

  /** The listing of unfinished uploads: requested once per slice, when the first blob is missing. */
  #unfinishedUploads(): Promise<ReadonlySet<string>> {
    const { layout, store } = this.#archive;
    const { signal } = this.#options;
    return this.#unfinished.get(layout.blobs, async () => {
      const keys = new Set<string>();
      for await (const { key } of store.uploads(layout.blobs, { signal })) keys.add(key);
      return keys;
    });
  }
}
