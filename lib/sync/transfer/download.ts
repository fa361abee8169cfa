/**
 * A fresh download. Ranges are fetched concurrently and hashed in order as they arrive. Each part is uploaded as soon
 * as it is full, and the upload is completed only after the digest matched.
 */
import { asFailure, Failure } from '../../core/failure.ts';
import { digestParts } from '../../oci/digest.ts';
import { type Expected, type Proof, Prover } from '../../proof/prover.ts';
import type { BlobBody } from '../../registry/source.ts';
import { ranges } from '../../store/parts.ts';
import type { Upload } from '../../store/store.ts';
import { PartFetcher } from './fetch-parts.ts';
import type { PartBuffer } from './part-buffer.ts';
import { extentOf, partSizeOf, type Transfer, type Transferred } from './transfer.ts';

/**
 * Fetches the whole blob. After a temporary failure the stored parts are kept; after any other failure they are
 * aborted.
 *
 * One connection from the first byte to the last serves a blob of a single part, one of unknown size, and one whose
 * registry ignores or refuses ranges. Other blobs are fetched in as many concurrent ranges as the memory and the host allow.
 */
export async function download(t: Transfer): Promise<Transferred> {
  return new Download(t).run();
}

class Download {
  readonly #t: Transfer;
  readonly #partSize: number;
  readonly #prover: Prover;
  readonly #fetcher: PartFetcher;
  #upload: Upload | undefined;
  /** The whole blob, if it fits in one part: it is proven, and then written with one PUT. */
  #only: PartBuffer | undefined;
  /** Whether the blob supports ranges, assumed until a body is open. */
  #resumable = true;

  constructor(t: Transfer) {
    this.#t = t;
    this.#partSize = partSizeOf(t);
    this.#prover = new Prover(t.expected, { maxUncompressed: t.maxUncompressed, strict: t.strict });
    this.#fetcher = new PartFetcher(t, this.#prover);
  }

  async run(): Promise<Transferred> {
    try {
      const isDone = await this.#fetcher.run(() => this.#fetch());
      if (!isDone) return { kind: 'continue', resumable: this.#resumable };
      const proof = await this.#prove();
      await this.#finish(proof);
      return proof.deferred === true ? { kind: 'assembled' } : { kind: 'proven', proof };
    } catch (error) {
      const failure = asFailure(error, `copy blob ${this.#t.expected.digest}`, 'source');
      // If the archive requires a restart, another writer uses the same upload, which is left to that writer.
      const isTheirs = failure.remedy === 'restart' && failure.side === 'archive';
      if (failure.remedy !== 'retry' && !isTheirs) await this.#abandon();
      throw failure;
    } finally {
      await this.#fetcher.close();
      // The prover may still be reading buffers that are given back.
      await this.#prover.destroy();
      this.#fetcher.inFlight.giveBack();
    }
  }

  async #fetch(): Promise<void> {
    const { expected, inOnePiece = false } = this.#t;
    const { size } = expected;
    const plan = inOnePiece || size === undefined || size <= this.#partSize ? [] : ranges(size, this.#partSize);
    const [range] = plan;
    const part = await this.#fetcher.inFlight.take({ number: 1, size: Math.min(size ?? Infinity, this.#partSize) });
    const body = await this.#fetcher.open(range === undefined ? { start: 0 } : extentOf([range]));
    this.#resumable = range !== undefined && body.ranged;
    if (this.#resumable) await this.#fetcher.fetch(await this.#createUpload(), plan, { part, body });
    else await this.#stream(body, part, size ?? body.total);
  }

  /** Receives the whole blob from one body. */
  async #stream(body: BlobBody, first: PartBuffer, size = Infinity): Promise<void> {
    const fetcher = this.#fetcher;
    let upload: Upload | undefined;
    const last = await fetcher.pour(body, first, async (part) => {
      const until = part.number * this.#partSize;
      if (until >= size) throw tooLong(this.#t.expected, size);
      if (part.number >= this.#t.store.limits.maxParts) throw tooLarge(this.#t.expected, until);
      upload ??= await this.#createUpload();
      fetcher.store(upload, part);
      if (fetcher.isLate()) return undefined;
      return fetcher.inFlight.following({ number: part.number + 1, size: Math.min(this.#partSize, size - until) });
    });
    if (last === undefined) return;
    if (upload !== undefined) fetcher.store(upload, last);
    else {
      fetcher.inFlight.complete(last);
      this.#only = last;
    }
  }

  async #createUpload(): Promise<Upload> {
    const { store, key } = this.#t;
    this.#upload = await store.createUpload(key, { partSize: this.#partSize, signal: this.#fetcher.signal });
    return this.#upload;
  }

  async #prove(): Promise<Proof> {
    try {
      return await this.#prover.finish();
    } catch (error) {
      const failure = asFailure(error, `verify blob ${this.#t.expected.digest}`, 'source');
      // Several responses may contain different versions of the blob, so the download starts once more from the first
      // byte.
      const { bodies } = this.#fetcher;
      const isMixed = bodies.length > 1 || bodies.some((body) => body.resumed() > 0);
      if (failure.code !== 'digest-mismatch' || !isMixed) throw failure;
      const { operation, side, detail } = failure;
      throw new Failure({ operation, side, code: 'digest-mismatch-resumed', detail, cause: failure });
    }
  }

  async #finish(proof: Proof): Promise<void> {
    const { store, key, signal } = this.#t;
    if (this.#only !== undefined) {
      const { algorithm, hex } = digestParts(proof.digest);
      await store.put(key, this.#only.bytes, { signal, ...(algorithm === 'sha256' ? { sha256: hex } : {}) });
    } else if (this.#upload !== undefined) {
      // The write has no condition, because proven bytes may replace any object.
      const parts = this.#fetcher.stored.toSorted((a, b) => a.number - b.number);
      await store.completeUpload(this.#upload, parts, { signal });
    }
  }

  /** Aborts the upload, so that its parts are not continued. Best effort: the rest is removed by age. */
  async #abandon(): Promise<void> {
    if (this.#upload !== undefined) await this.#t.store.abortUpload(this.#upload).catch(() => undefined);
  }
}

function tooLong(expected: Expected, size: number): Failure {
  return new Failure({
    operation: `verify blob ${expected.digest}`,
    side: 'source',
    code: 'size-mismatch',
    detail: `expected ${size} bytes, got more`,
  });
}

/** The failure of a blob that declares no size and needs more parts than an upload can have. */
function tooLarge(expected: Expected, most: number): Failure {
  return new Failure({
    operation: `copy blob ${expected.digest}`,
    side: 'archive',
    code: 'too-large',
    detail: `it declares no size, and has more than ${most} bytes, the most that the parts of an upload can hold`,
  });
}
