/**
 * Reads the objects of an archive, and relies on no earlier proof. A wrong object is a fault. A temporary read error
 * (the store is busy, a file may not be opened) proves nothing about the object, and is thrown.
 */
import { asFailure, Failure } from '../core/failure.ts';
import { Semaphore } from '../core/semaphore.ts';
import type { Archive } from '../archive/archive.ts';
import type { Receipt } from '../archive/receipt.ts';
import type { FoundReceipt } from '../archive/receipts.ts';
import { ALGORITHMS, type Digest, digestOf, digestParts } from '../oci/digest.ts';
import type { Blob } from '../sync/claims.ts';
import { type Proof, Prover } from '../proof/prover.ts';
import { proofKey, provenBy } from '../sync/receipts.ts';

export interface Fault {
  readonly reason: string;
  readonly repair: Repair;
}

/** The steps that remove a fault from an archive; empty if only a person can repair it. */
export interface Repair {
  /** The references to the object are removed, since they cannot be pulled as named. */
  readonly drop?: true;
  /** The bytes are proven, and the receipt is rewritten with this proof. */
  readonly receipt?: Proof;
  /** The receipt of this version is wrong, and is revoked. */
  readonly revoke?: string;
  /** The object does not match its digest. It is deleted, unless it has been replaced by then. */
  readonly etag?: string;
  /** The file that other tools need beside the tag index is written again. */
  readonly marker?: true;
  /** The times of the tag index that are in the future become the present. */
  readonly times?: true;
}

/** The proven properties of an object, and its fault: both where only its receipt is wrong. */
export interface Inspected {
  readonly proof?: Proof;
  readonly fault?: Fault;
}

export interface InspectorOptions {
  readonly signal: AbortSignal;
  /** Blobs that are hashed concurrently; the number of cores is a good value. */
  readonly concurrency: number;
}

/** The fault of the file that other tools need beside the tag index; they refuse a repository without it. */
export async function markerFault(
  { layout, store }: Archive,
  repository: string,
  signal: AbortSignal,
): Promise<Fault | undefined> {
  const { key, content } = layout.marker(repository);
  const found = await store.get(key, { maxBytes: MAX_MARKER_BYTES, signal }).catch((error: unknown) => {
    if (error instanceof Failure && error.code === 'too-large') return { bytes: Buffer.of() };
    throw error;
  });
  if (found === undefined) return { reason: `${key} is missing, and other tools need it`, repair: { marker: true } };
  const isSound = Buffer.from(found.bytes).toString().replaceAll(/\s/g, '') === content;
  return isSound ? undefined : { reason: `expected ${content} in ${key}`, repair: { marker: true } };
}

/** Far more than any tool writes. */
const MAX_MARKER_BYTES = 4096;

export class Inspector {
  readonly #archive: Archive;
  readonly #o: InspectorOptions;
  readonly #onRead: () => void;
  readonly #permits: Semaphore;
  /** By digest and compression: each blob is hashed once, however many images share it. */
  readonly #blobs = new Map<string, Promise<Inspected>>();
  readonly #hashed = new Set<Digest>();
  readonly #documents = new Set<Digest>();
  #bytes = 0;

  /** @param onRead called after each change of `bytes` */
  constructor(archive: Archive, options: InspectorOptions, onRead: () => void) {
    this.#archive = archive;
    this.#o = options;
    this.#onRead = onRead;
    this.#permits = new Semaphore(options.concurrency);
  }

  /** The number of objects that were read and hashed. */
  get objects(): number {
    return this.#documents.size + this.#hashed.size;
  }

  /** The bytes of these objects. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Reads a manifest or a config. The method of `Archive` does not return the ETag, which a deletion needs. */
  async document(digest: Digest, maxBytes: number): Promise<Uint8Array | Fault> {
    const found = await this.#document(digest, maxBytes);
    if (!('repair' in found)) return found;
    // It may be a blob of another image as well. Its receipt is read before the bytes that disprove it.
    const revoke = revocationOf(await this.#archive.findReceipt(digest, { signal: this.#o.signal }));
    const again = await this.#document(digest, maxBytes);
    return 'repair' in again && revoke !== undefined ? { ...again, repair: { ...again.repair, ...revoke } } : again;
  }

  async #document(digest: Digest, maxBytes: number): Promise<Uint8Array | Fault> {
    const { store, layout } = this.#archive;
    const { signal } = this.#o;
    const key = layout.blob(digest);
    const found = await store.get(key, { maxBytes, signal }).catch(async (error: unknown) => {
      const isTooLarge = error instanceof Failure && error.code === 'too-large';
      const there = isTooLarge ? await store.head(key, { signal }) : undefined;
      if (there === undefined || there.size <= maxBytes) throw error;
      return corrupt(`the object has ${there.size} bytes, too many for a manifest or a config`, there.etag);
    });
    if (found === undefined) return ABSENT;
    if (!('bytes' in found)) return found;
    const actual = digestOf(found.bytes, digestParts(digest).algorithm);
    if (actual !== digest) return corrupt(`its ${found.size} bytes hash to ${actual}`, found.etag);
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
      inspected = this.#permits.with(() => this.#inspect(blob), this.#o.signal);
      // Every caller gets the rejection. Without a caller, an unhandled rejection would end the process.
      inspected.catch(() => undefined);
      this.#blobs.set(key, inspected);
    }
    return inspected;
  }

  /** A wrong result may come from a read error, so the object is read once more before it counts as corrupt. */
  async #inspect(blob: Blob): Promise<Inspected> {
    const inspected = await this.#prove(blob);
    return inspected.fault?.repair.etag === undefined ? inspected : this.#prove(blob);
  }

  async #prove(blob: Blob): Promise<Inspected> {
    const inspected = await this.#hash(blob, 'as-announced');
    // A later zstd frame needs a larger window than the first one announced.
    return inspected.proof?.deferred === true ? this.#hash(blob, 'largest') : inspected;
  }

  async #hash(blob: Blob, window: 'as-announced' | 'largest'): Promise<Inspected> {
    const { store, layout } = this.#archive;
    const { signal } = this.#o;
    const { digest, mediaType, diffIds } = blob;
    const there = await this.#archive.findReceipt(digest, { signal });
    const receipt = there?.receipt;
    const revoke = revocationOf(there);
    const object = await store.read(layout.blob(digest), { signal });
    if (object === undefined)
      return { fault: revoke === undefined ? ABSENT : { ...ABSENT, repair: { ...ABSENT.repair, ...revoke } } };
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
      if (failure.code === 'digest-mismatch') return { fault: corrupt(failure.detail, object.etag, revoke) };
      if (!isVerdict(failure)) throw error;
      // The bytes match their digest, but not the claims of this image; another image may make the right claims.
      const lies = receipt !== undefined && provenBy(receipt, blob) !== undefined;
      return { fault: { reason: failure.detail, repair: { drop: true, ...(lies ? revoke : {}) } } };
    } finally {
      await prover.destroy();
    }
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#onRead();
  }
}

/**
 * Whether a failure is a fact about the archive's content: about documents and their relations, or about the proof of a
 * blob. Failures of the store itself may be temporary.
 */
export function isVerdict({ side, remedy }: Failure): boolean {
  return side !== 'archive' && remedy === 'never';
}

/** Whether neither the object nor a receipt of it exists: a receipt without its object is always wrong. */
export function isAbsent(fault: Fault): boolean {
  return fault === ABSENT;
}

const ABSENT: Fault = { reason: 'it is not in the archive', repair: { drop: true } };

function corrupt(reason: string, etag: string, revoke?: Pick<Repair, 'revoke'>): Fault {
  return { reason, repair: { drop: true, ...revoke, etag } };
}

function revocationOf(found: FoundReceipt | undefined): Pick<Repair, 'revoke'> | undefined {
  return found?.receipt === undefined ? undefined : { revoke: found.etag };
}

/** The claims of a receipt that the proof contradicts. A receipt that claims less than the proof is not wrong. */
function faultOf(receipt: Receipt | undefined, proof: Proof): { readonly fault?: Fault } {
  const wrong = (reason: string): { readonly fault: Fault } => ({ fault: { reason, repair: { receipt: proof } } });
  if (receipt === undefined) return wrong('the blob has no receipt');
  if (receipt.size !== proof.size) return wrong(`expected ${receipt.size} bytes as in its receipt, got ${proof.size}`);
  if (receipt.compression === undefined || proof.compression === undefined) return {};
  if (receipt.compression !== proof.compression)
    return receipt.assumed === true
      ? {}
      : wrong(`expected ${receipt.compression} as in its receipt, got ${proof.compression}`);
  for (const algorithm of ALGORITHMS) {
    const [said, found] = [receipt.diffIds[algorithm], proof.diffIds[algorithm]];
    if (said !== undefined && found !== undefined && said !== found)
      return wrong(`expected the unpacked digest ${said} as in its receipt, got ${found}`);
  }
  return {};
}
