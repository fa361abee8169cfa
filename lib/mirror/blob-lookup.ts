import type { Archive } from '../archive/archive.ts';
import { compressionOf } from '../oci/mediatype.ts';
import type { LayerMessage } from '../queue/messages.ts';
import type { Blob } from './closure.ts';
import { once } from './once.ts';
import { provenDiffId } from './receipts.ts';

export type Look = LayerMessage['look'];

/** What the archive has of the blobs of a slice. */
export class BlobLookup {
  readonly #archive: Archive;
  readonly #signal: AbortSignal;
  readonly #found = new Map<string, Promise<Look | undefined>>();
  readonly #unfinished = new Map<string, Promise<ReadonlySet<string>>>();

  constructor(archive: Archive, signal: AbortSignal) {
    this.#archive = archive;
    this.#signal = signal;
  }

  /** Whether the archive lacks a blob, and what there is of it. Once a slice: its images have most of their blobs in common. */
  find(blob: Blob): Promise<Look | undefined> {
    const key = `${blob.digest} ${compressionOf(blob.mediaType)}`;
    return once(this.#found, key, () => this.#lookFor(blob));
  }

  async #lookFor(blob: Blob): Promise<Look | undefined> {
    const archive = this.#archive;
    const signal = this.#signal;
    const receipt = await archive.receipt(blob.digest, { signal });
    if (receipt !== undefined)
      return provenDiffId(receipt, compressionOf(blob.mediaType)) === undefined ? 'everything' : undefined;
    const key = archive.layout.blob(blob.digest);
    const begun =
      (await this.#unfinishedUploads()).has(key) || (await archive.store.head(key, { signal })) !== undefined;
    return begun ? 'everything' : 'nothing';
  }

  /** Listed once for all blobs of the slice, and only when one is missing. */
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
