/**
 * Reads the objects of an archive as if nobody had proven anything before. What is wrong with one is a fault; that one
 * cannot be read for now (the store is busy, a file may not be opened) says nothing of it, and is thrown.
 */
import { asFailure, Failure } from '../core/failure.ts';
import { Permits } from '../core/semaphore.ts';
import type { Archive } from '../archive/archive.ts';
import type { Receipt } from '../archive/receipt.ts';
import { ALGORITHMS, type Digest, digestOf, digestParts } from '../oci/digest.ts';
import type { Blob } from '../sync/claims.ts';
import { type Proof, Prover } from '../proof/prover.ts';
import { proofKey, provenBy } from '../sync/receipts.ts';

export interface Fault {
  readonly reason: string;
  readonly mend: Mend;
}

/** What takes a fault out of an archive; nothing of it where only a person can. */
export interface Mend {
  /** What leads to it cannot be pulled as it is named: the references go. */
  readonly drop?: true;
  /** The bytes are proven, and so is what their receipt has to say; or there is nothing that it may say. */
  readonly receipt?: Proof | 'none';
  /** The object is not what its digest says. It goes, but for one that is in its place by then. */
  readonly etag?: string;
}

/** What an object is proven to be, and what is wrong with it: both where only its receipt is. */
export interface Inspected {
  readonly proof?: Proof;
  readonly fault?: Fault;
}

export interface InspectorOptions {
  readonly signal: AbortSignal;
  /** Blobs that are hashed at once: as many as there are cores is right. */
  readonly concurrency: number;
  readonly onBytes?: ((count: number) => void) | undefined;
}

export class Inspector {
  readonly #archive: Archive;
  readonly #o: InspectorOptions;
  readonly #permits: Permits;
  /** By digest and compression: each is hashed once, however many images share it. */
  readonly #blobs = new Map<string, Promise<Inspected>>();
  readonly #hashed = new Set<Digest>();
  readonly #documents = new Set<Digest>();
  #bytes = 0;

  constructor(archive: Archive, options: InspectorOptions) {
    this.#archive = archive;
    this.#o = options;
    this.#permits = new Permits(options.concurrency);
  }

  /** Objects read and hashed, */
  get objects(): number {
    return this.#documents.size + this.#hashed.size;
  }

  /** and their bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A manifest or a config. Read here and not by the archive, since its ETag is needed where it has to go. */
  document(digest: Digest, maxBytes: number): Promise<Uint8Array | Fault> {
    return twice(
      () => this.#document(digest, maxBytes),
      (found) => 'mend' in found && isRotten(found),
    );
  }

  async #document(digest: Digest, maxBytes: number): Promise<Uint8Array | Fault> {
    const { store, layout } = this.#archive;
    const { signal } = this.#o;
    const key = layout.blob(digest);
    const found = await store.get(key, { maxBytes, signal }).catch(async (error: unknown) => {
      const there = isTooLarge(error) ? await store.head(key, { signal }) : undefined;
      if (there === undefined || there.size <= maxBytes) throw error;
      return rotten(`its ${there.size} bytes are more than such a document has`, there.etag);
    });
    if (found === undefined) return ABSENT;
    if (!('bytes' in found)) return found;
    const actual = digestOf(found.bytes, digestParts(digest).algorithm);
    if (actual !== digest) return rotten(`its ${found.size} bytes hash to ${actual}`, found.etag);
    if (!this.#documents.has(digest)) {
      this.#documents.add(digest);
      this.#count(found.size);
    }
    return found.bytes;
  }

  blob(blob: Blob): Promise<Inspected> {
    const key = proofKey(blob);
    let inspected = this.#blobs.get(key);
    if (inspected === undefined) {
      const hash = (): Promise<Inspected> => this.#prove(blob);
      inspected = this.#permits.with(
        () => twice(hash, ({ fault }) => fault !== undefined && isRotten(fault)),
        this.#o.signal,
      );
      // Whoever awaits it sees a rejection; one that nobody came to await must not end the process.
      inspected.catch(() => undefined);
      this.#blobs.set(key, inspected);
    }
    return inspected;
  }

  async #prove(blob: Blob): Promise<Inspected> {
    const inspected = await this.#hash(blob, 'as-announced');
    // A later zstd frame wants a larger window than the first one has announced.
    return inspected.proof?.deferred === true ? this.#hash(blob, 'largest') : inspected;
  }

  async #hash(blob: Blob, window: 'as-announced' | 'largest'): Promise<Inspected> {
    const { store, layout } = this.#archive;
    const { signal } = this.#o;
    const { digest, mediaType, diffIds } = blob;
    const receipt = await this.#archive.receipt(digest, { signal });
    const object = await store.read(layout.blob(digest), { signal });
    if (object === undefined) return { fault: receipt === undefined ? ABSENT : { ...ABSENT } };
    this.#hashed.add(digest);
    const prover = new Prover({ digest, mediaType, diffIds }, { patient: { signal, window } });
    try {
      for await (const chunk of object.body) {
        this.#count(chunk.length);
        await prover.write(chunk);
      }
      const proof = await prover.finish();
      return { proof, ...faultOf(receipt, proof) };
    } catch (error) {
      signal.throwIfAborted();
      const failure = asFailure(error, `verify ${digest}`, 'archive');
      if (failure.code === 'digest-mismatch') return { fault: rotten(failure.detail, object.etag) };
      if (!isVerdict(failure)) throw error;
      // The bytes are what was named, and not what this image takes them for: another may be right about them.
      const lies = receipt !== undefined && provenBy(receipt, blob) !== undefined;
      return { fault: { reason: failure.detail, mend: { drop: true, ...(lies ? { receipt: 'none' } : {}) } } };
    } finally {
      await prover.destroy();
    }
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#o.onBytes?.(bytes);
  }
}

/**
 * Whether a failure is about what is in the archive: what documents say of themselves and of each other, and what blobs
 * are proven not to be. All that a store says is its own, and may pass.
 */
export function isVerdict({ side, remedy }: Failure): boolean {
  return side !== 'archive' && remedy === 'never';
}

/** Whether neither the object nor a receipt of it is there: a receipt without its object is wrong in any case. */
export function isAbsent(fault: Fault): boolean {
  return fault === ABSENT;
}

const ABSENT: Fault = { reason: 'it is not in the archive', mend: { drop: true, receipt: 'none' } };

function rotten(reason: string, etag: string): Fault {
  return { reason, mend: { drop: true, receipt: 'none', etag } };
}

function isRotten({ mend }: Fault): boolean {
  return mend.etag !== undefined;
}

/** What was read wrong may have been bent on its way: a sound object must not go for that, so it is read once more. */
async function twice<T>(look: () => Promise<T>, isWrong: (found: T) => boolean): Promise<T> {
  const found = await look();
  return isWrong(found) ? look() : found;
}

function isTooLarge(error: unknown): boolean {
  return error instanceof Failure && error.code === 'too-large';
}

/** What a receipt says that the proof does not confirm. A receipt that says less than the proof is not wrong. */
function faultOf(receipt: Receipt | undefined, proof: Proof): { readonly fault?: Fault } {
  const wrong = (reason: string): { readonly fault: Fault } => ({ fault: { reason, mend: { receipt: proof } } });
  if (receipt === undefined) return wrong('the blob has no receipt');
  if (receipt.size !== proof.size) return wrong(`its receipt says ${receipt.size} bytes, it has ${proof.size}`);
  if (receipt.compression === undefined || proof.compression === undefined) return {};
  if (receipt.compression !== proof.compression)
    return receipt.assumed === true
      ? {}
      : wrong(`its receipt says that it is ${receipt.compression}, it is ${proof.compression}`);
  for (const algorithm of ALGORITHMS) {
    const [said, found] = [receipt.diffIds[algorithm], proof.diffIds[algorithm]];
    if (said !== undefined && found !== undefined && said !== found)
      return wrong(`its receipt says that it unpacks to ${said}, it unpacks to ${found}`);
  }
  return {};
}
