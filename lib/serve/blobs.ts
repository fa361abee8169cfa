import type { Archive } from '../archive/archive.ts';
import { Failure } from '../core/failure.ts';
import { Lru } from '../core/lru.ts';
import type { Digest } from '../oci/digest.ts';
import { IMMUTABLE, type Open, ranged } from './answers.ts';
import { RegistryError } from './errors.ts';
import type { Links } from './links.ts';
import type { Answer } from './served.ts';

const MiB = 1024 * 1024;

/** The maximum size of a blob without a receipt, such as a config, which is hashed for each request. */
const MAX_UNPROVEN_BYTES = 4 * MiB;
/**
 * The size of a chunk; each response from a folder holds one in memory. A single client is slower with 128 KiB, and
 * hardly faster with 512 KiB.
 */
const CHUNK_BYTES = 256 * 1024;
/** The number of proven blobs whose sizes are kept, so that each range costs one read. */
const KNOWN = 10_000;

/** Serves blobs that are proven: by a receipt, or by their bytes. */
export class Blobs {
  readonly #archive: Archive;
  readonly #links: Links;
  readonly #onFault: (text: string) => void;
  readonly #proven = new Lru<Digest, number>(KNOWN);

  constructor(archive: Archive, links: Links, onFault: (text: string) => void) {
    this.#archive = archive;
    this.#links = links;
    this.#onFault = onFault;
  }

  /** @throws RegistryError for a blob that the archive lacks, or that is not proven */
  async answer(request: Request, digest: Digest): Promise<Answer> {
    const { signal } = request;
    const headers = {
      'content-type': 'application/octet-stream',
      'docker-content-digest': digest,
      etag: `"${digest}"`,
      'cache-control': IMMUTABLE,
    };
    const size = await this.#provenSize(digest, request);
    if (size !== undefined) {
      const open: Open = (start) => this.#open(digest, size, start, signal);
      const redirect = await this.#links.layer(request, { digest, size }, headers);
      return redirect ?? { response: await ranged(request, size, open, headers) };
    }
    const bytes = await this.#small(digest, signal);
    if (bytes === undefined) throw unknown(digest);
    // eslint-disable-next-line @typescript-eslint/require-await -- the body is in memory
    const open: Open = async (start) => once(bytes.subarray(start));
    const redirect = await this.#links.large(request, { digest, size: bytes.length }, headers);
    return redirect ?? { response: await ranged(request, bytes.length, open, headers) };
  }

  async #provenSize(digest: Digest, { method, signal }: Request): Promise<number | undefined> {
    const known = this.#proven.get(digest);
    // A GET opens the object, and so detects a removed blob; HEAD needs the lookup below.
    if (known !== undefined && method === 'GET') return known;
    const receipt = await this.#archive.receipt(digest, { signal });
    if (receipt === undefined) return undefined;
    const { store, layout } = this.#archive;
    const there = await store.head(layout.blob(digest), { signal });
    if (there?.size !== receipt.size) {
      this.#onFault(`serve blob ${digest}: ${there === undefined ? 'it is missing' : 'its size is wrong'}; run verify`);
      throw unknown(digest);
    }
    this.#proven.set(digest, receipt.size);
    return receipt.size;
  }

  async #open(digest: Digest, size: number, start: number, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { store, layout } = this.#archive;
    const key = layout.blob(digest);
    const found = await (store.stream?.(key, { start, chunkBytes: CHUNK_BYTES, signal }) ??
      store.read(key, { start, signal }));
    if (found?.size === size) return found.body;
    this.#onFault(`serve blob ${digest}: it was removed or replaced after its proof was read`);
    this.#proven.delete(digest);
    await found?.body[Symbol.asyncIterator]().return?.();
    throw unknown(digest);
  }

  /** The bytes, if they match the digest; undefined if they are missing, or too many to hash. */
  async #small(digest: Digest, signal: AbortSignal): Promise<Uint8Array | undefined> {
    try {
      return await this.#archive.content(digest, { maxBytes: MAX_UNPROVEN_BYTES, signal });
    } catch (error) {
      if (!(error instanceof Failure) || !(error.code === 'corrupt' || error.code === 'too-large')) throw error;
      this.#onFault(`serve blob ${digest}: it is not proven (${error.detail}); the next sync proves it`);
      return undefined;
    }
  }
}

// eslint-disable-next-line @typescript-eslint/require-await -- a body is an async iterable, also one that need not wait
async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}

function unknown(digest: Digest): RegistryError {
  return new RegistryError(404, 'BLOB_UNKNOWN', `the archive has no proven blob ${digest}`);
}
