/**
 * Proves an archive from its references down, as if nobody had proven anything before: every manifest, config and blob
 * that can be reached is read and hashed once, and every image's layers are unpacked and compared with its config.
 */
import { asFailure } from '../base/failure.ts';
import { Permits } from '../base/permits.ts';
import type { Archive } from '../archive/archive.ts';
import type { Digest } from '../oci/digest.ts';
import { compressionOf } from '../oci/mediatype.ts';
import type { PlatformPolicy } from '../queue/messages.ts';
import { type Blob, blobsOf, checkConfig, type ClosureReader, type Node, traverse } from './closure.ts';
import { type Proof, Prover } from './prover.ts';

export interface Problem {
  readonly repository: string;
  /** The reference that leads to it: `host/path:tag` or `host/path@digest`. */
  readonly reference: string;
  /** What the reference names. */
  readonly root: Digest;
  /** The object that is wrong. */
  readonly digest: Digest;
  readonly reason: string;
}

export interface Verified {
  readonly references: number;
  /** Objects read and hashed, and their bytes. */
  readonly objects: number;
  readonly bytes: number;
  readonly problems: readonly Problem[];
}

export interface VerifyOptions {
  readonly signal: AbortSignal;
  /** Blobs that are hashed at once: as many as there are cores is right. */
  readonly concurrency: number;
  readonly onProblem?: (problem: Problem) => void;
  readonly onBytes?: (count: number) => void;
}

export async function verifyArchive(archive: Archive, options: VerifyOptions): Promise<Verified> {
  return new Verification(archive, options).run();
}

/** Where a walk has begun. */
type Origin = Pick<Problem, 'repository' | 'reference' | 'root'>;

type Checked = { readonly proof: Proof } | { readonly reason: string };

class Verification {
  readonly #archive: Archive;
  readonly #o: VerifyOptions;
  readonly #permits: Permits;
  /** By digest and compression: each is hashed once, however many images share it. */
  readonly #blobs = new Map<string, Promise<Checked>>();
  readonly #documents = new Set<Digest>();
  readonly #problems: Problem[] = [];
  #bytes = 0;

  constructor(archive: Archive, options: VerifyOptions) {
    this.#archive = archive;
    this.#o = options;
    this.#permits = new Permits(options.concurrency);
  }

  async run(): Promise<Verified> {
    let references = 0;
    for await (const repository of this.#archive.repositories({ signal: this.#o.signal })) {
      const index = (await this.#archive.tagIndex(repository, { signal: this.#o.signal }))?.index;
      for (const { tag, digest, platforms } of index?.entries() ?? []) {
        references += 1;
        const reference = tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`;
        await this.#reference({ repository, reference, root: digest }, platforms ?? 'all');
      }
    }
    const objects = this.#documents.size + this.#blobs.size;
    return { references, objects, bytes: this.#bytes, problems: this.#problems };
  }

  async #reference(from: Origin, platforms: PlatformPolicy): Promise<void> {
    const { root } = from;
    let at = root;
    try {
      for await (const node of traverse(root, platforms, (digest, maxBytes) => {
        at = digest;
        return this.#content(digest, maxBytes);
      }))
        await this.#node(from, node);
    } catch (error) {
      this.#o.signal.throwIfAborted();
      this.#problem(from, at, asFailure(error, `verify ${at}`, 'archive').detail);
    }
  }

  async #node(from: Origin, { digest, manifest }: Node): Promise<void> {
    if (manifest === undefined) {
      this.#problem(from, digest, 'the manifest is not in the archive');
      return;
    }
    const blobs = blobsOf(manifest);
    const checked = await Promise.all(blobs.map((blob) => this.#blob(blob)));
    let sound = true;
    for (const [i, blob] of blobs.entries()) {
      const reason = faultOf(checked[i], blob);
      if (reason === undefined) continue;
      sound = false;
      this.#problem(from, blob.digest, reason);
    }
    if (manifest.kind !== 'image' || !sound) return;
    let at = digest;
    const reader: Pick<ClosureReader, 'content' | 'proof'> = {
      content: async (config, maxBytes) => {
        at = config;
        const bytes = await this.#content(config, maxBytes);
        at = digest;
        return bytes;
      },
      proof: async (blob) => {
        const outcome = await this.#blob(blob);
        return 'proof' in outcome ? outcome.proof : undefined;
      },
    };
    try {
      const state = await checkConfig(digest, manifest, reader);
      if (!state.complete) this.#problem(from, state.missing, 'the config is not in the archive');
    } catch (error) {
      this.#o.signal.throwIfAborted();
      this.#problem(from, at, asFailure(error, `verify ${at}`, 'archive').detail);
    }
  }

  async #content(digest: Digest, maxBytes: number): Promise<Uint8Array | undefined> {
    const bytes = await this.#archive.content(digest, { maxBytes, signal: this.#o.signal });
    if (bytes !== undefined && !this.#documents.has(digest)) {
      this.#documents.add(digest);
      this.#count(bytes.length);
    }
    return bytes;
  }

  #blob(blob: Blob): Promise<Checked> {
    const key = `${blob.digest} ${compressionOf(blob.mediaType)}`;
    let checked = this.#blobs.get(key);
    if (checked === undefined) {
      checked = this.#permits.with(() => this.#hash(blob), this.#o.signal);
      // Whoever awaits it sees a rejection; one that nobody came to await must not end the process.
      checked.catch(() => undefined);
      this.#blobs.set(key, checked);
    }
    return checked;
  }

  async #hash(blob: Blob): Promise<Checked> {
    const { store, layout } = this.#archive;
    const { signal } = this.#o;
    const receipt = await this.#archive.receipt(blob.digest, { signal });
    const object = await store.read(layout.blob(blob.digest), { signal });
    if (object === undefined) return { reason: 'the blob is not in the archive' };
    const { digest, mediaType } = blob;
    const prover = new Prover({ digest, mediaType });
    try {
      for await (const chunk of object.body) {
        this.#count(chunk.length);
        await prover.write(chunk);
      }
      const proof = await prover.finish();
      if (receipt === undefined) return { reason: 'the blob has no receipt' };
      if (receipt.size !== proof.size)
        return { reason: `its receipt says ${receipt.size} bytes, it has ${proof.size}` };
      if (receipt.compression === proof.compression && receipt.diffId !== proof.diffId)
        return { reason: `its receipt says that it unpacks to ${receipt.diffId}, it unpacks to ${proof.diffId}` };
      return { proof };
    } catch (error) {
      signal.throwIfAborted();
      return { reason: asFailure(error, `verify ${digest}`, 'archive').detail };
    } finally {
      prover.destroy();
    }
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#o.onBytes?.(bytes);
  }

  #problem(from: Origin, digest: Digest, reason: string): void {
    const problem = { ...from, digest, reason };
    this.#problems.push(problem);
    this.#o.onProblem?.(problem);
  }
}

function faultOf(checked: Checked | undefined, blob: Blob): string | undefined {
  if (checked === undefined) return undefined;
  if ('reason' in checked) return checked.reason;
  const { size } = checked.proof;
  return blob.size === undefined || blob.size === size
    ? undefined
    : `it has ${size} bytes, its descriptor says ${blob.size}`;
}
