/**
 * The layer role: one blob a message, from the registry into the archive, and one receipt as proof.
 *
 * The object store is its only memory. What it finds there decides what it does:
 *
 * | found                          | does                                                             |
 * |--------------------------------|------------------------------------------------------------------|
 * | a receipt                      | nothing                                                          |
 * | the object, but no receipt     | reads it back: a receipt, or it is deleted and fetched           |
 * | an unfinished multipart upload | fetches what is missing, completes, reads back                   |
 * | nothing                        | streams it: proves, completes, receipt                           |
 */
import { asFailure, Failure } from '../base/failure.ts';
import type { Receipt } from '../archive/receipt.ts';
import type { Part, Upload } from '../archive/store.ts';
import { parseRepository } from '../oci/reference.ts';
import type { LayerMessage } from '../queue/messages.ts';
import { continuationOf, finalizeMessage } from '../queue/outgoing.ts';
import type { LayerContext } from './context.ts';
import type { Deadline } from './deadline.ts';
import type { BlobEvent } from './events.ts';
import { recorded } from './failures.ts';
import { compressionOf } from '../oci/mediatype.ts';
import type { Proof } from './prover.ts';
import { readBack } from './read-back.ts';
import { provenDiffId } from './receipts.ts';
import { download } from './download.ts';
import { resume } from './resume.ts';
import type { Transfer } from './transfer.ts';

/** Times that a blob is begun anew in one invocation before the queue's own patience takes over. */
const MAX_RESTARTS = 3;

/** A blob that is still not there after so many invocations makes no progress worth waiting for. */
const MAX_CONTINUATIONS = 200;

const MORE_TIME = 'give the layer function more time or memory';

export interface LayerOptions {
  /** How often this message was delivered, 1 for the first time. */
  readonly receiveCount: number;
  /** There will be no other delivery: what fails is recorded, with its reason, instead of thrown. */
  readonly last: boolean;
  readonly deadline: Deadline;
  readonly signal: AbortSignal;
}

/**
 * Copies a message's blob and tells the finalizer, or sends its own continuation when time runs short. A failure that no
 * retry mends is told to the finalizer as well; one that may pass is thrown, for the queue to deliver the message again.
 */
export async function copyLayer(context: LayerContext, message: LayerMessage, options: LayerOptions): Promise<void> {
  const { queues } = context;
  const { signal } = options;
  try {
    const outcome = await new LayerCopy(context, message, options).run();
    if (outcome === 'continue') {
      if (message.continuation >= MAX_CONTINUATIONS) {
        const detail = `it is not complete after ${MAX_CONTINUATIONS} invocations; ${MORE_TIME}`;
        throw tooSlow(message, 'source', detail);
      }
      const lanes = context.lanes(parseRepository(message.source).host);
      await queues.send('layer', [continuationOf(message, lanes)], { signal });
    } else {
      await queues.send('finalize', [finalizeMessage(message, message.image, message.blob.digest)], { signal });
    }
  } catch (error) {
    const operation = `copy blob ${message.blob.digest} of ${message.source}`;
    const failure = asFailure(error, operation, 'source');
    if (failure.code === 'aborted' || (failure.remedy !== 'never' && !options.last)) throw failure;
    await failLayer(context, message, failure.within(operation), signal);
  }
}

/** Tells the finalizer that an image cannot be had because of this layer. Also what becomes of a dead letter. */
export async function failLayer(
  context: Pick<LayerContext, 'queues' | 'observe'>,
  message: LayerMessage,
  failure: Failure,
  signal?: AbortSignal,
): Promise<void> {
  const { image, blob } = message;
  context.observe({
    type: 'blob',
    phase: 'failed',
    run: message.run,
    source: message.source,
    tag: image.tag,
    digest: image.digest,
    blob: blob.digest,
    size: blob.size,
    fetched: 0,
    reason: failure.message,
  });
  const outgoing = finalizeMessage(message, image, blob.digest, recorded(failure));
  await context.queues.send('finalize', [outgoing], { signal });
}

class LayerCopy {
  readonly #context: LayerContext;
  readonly #message: LayerMessage;
  readonly #options: LayerOptions;
  readonly #key: string;
  #fetched = 0;

  constructor(context: LayerContext, message: LayerMessage, options: LayerOptions) {
    this.#context = context;
    this.#message = message;
    this.#options = options;
    this.#key = context.archive.layout.blob(message.blob.digest);
  }

  async run(): Promise<'done' | 'continue'> {
    const { look, continuation } = this.#message;
    // Whoever delivers a message again, or continues one, does not know how far the last attempt came.
    const again = this.#options.receiveCount > 1 || continuation > 0;
    let lookFor = again ? 'everything' : look;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#attempt(lookFor, attempt);
      } catch (error) {
        const failure = asFailure(error, `copy blob ${this.#message.blob.digest}`, 'source');
        const beginAnew = failure.remedy === 'restart' || failure.code === 'precondition-failed';
        if (!beginAnew || attempt >= MAX_RESTARTS) throw failure;
        lookFor = 'everything';
      }
    }
  }

  async #attempt(lookFor: LayerMessage['look'], attempt: number): Promise<'done' | 'continue'> {
    const { archive } = this.#context;
    const { blob } = this.#message;
    const { signal } = this.#options;
    if (lookFor !== 'nothing') {
      const receipt = await archive.receipt(blob.digest, { signal });
      if (receipt !== undefined && provenDiffId(receipt, compressionOf(blob.mediaType)) !== undefined) {
        this.#tell('present');
        return 'done';
      }
    }
    if (lookFor === 'everything') {
      const found = await archive.store.head(this.#key, { signal });
      if (found !== undefined) {
        const outcome = await this.#proveFound();
        // Only a first attempt had the whole invocation for it.
        if (outcome === 'late' && attempt === 1) {
          const detail = `a whole invocation is too short to read back its ${found.size} bytes; ${MORE_TIME}`;
          throw tooSlow(this.#message, 'archive', detail);
        }
        if (outcome === 'late') return this.#continue();
        if (outcome === 'done') {
          await this.#abortUploads();
          return outcome;
        }
      }
    }
    this.#tell('started');
    const unfinished = lookFor === 'everything' ? await this.#unfinished() : undefined;
    const done = unfinished === undefined ? await download(this.#transfer()) : await this.#resume(unfinished);
    switch (done.kind) {
      case 'continue':
        if (!done.resumable && this.#message.continuation > 0) {
          const detail = `a whole invocation is too short for what the registry sends in one piece only; ${MORE_TIME}`;
          throw tooSlow(this.#message, 'source', detail);
        }
        return this.#continue();
      case 'assembled':
        return this.#proveAssembled();
      case 'proven':
        await this.#writeReceipt(done.proof);
        return 'done';
    }
  }

  async #resume(unfinished: Unfinished): ReturnType<typeof resume> {
    const { store } = this.#context.archive;
    try {
      return await resume({ ...this.#transfer(), ...unfinished });
    } catch (error) {
      const failure = asFailure(error, `resume blob ${this.#message.blob.digest}`, 'source');
      if (failure.remedy !== 'retry' || failure.code === 'precondition-failed')
        await store.abortUpload(unfinished.upload).catch(() => undefined);
      throw failure;
    }
  }

  /** The unfinished upload that has come furthest. The others of this blob have no future: they are aborted. */
  async #unfinished(): Promise<Unfinished | undefined> {
    const { store } = this.#context.archive;
    const { signal } = this.#options;
    let best: Unfinished | undefined;
    for await (const upload of store.uploads(this.#key, { signal })) {
      if (upload.key !== this.#key) continue;
      const candidate = { upload, landed: await collect(store.parts(upload, { signal })) };
      const better = candidate.landed.length > (best?.landed.length ?? 0) && this.#message.blob.size !== undefined;
      const worse = better ? best : candidate;
      if (better) best = candidate;
      if (worse !== undefined) await store.abortUpload(worse.upload, { signal });
    }
    return best;
  }

  /** Of a blob that is proven, nobody goes on with an upload. */
  async #abortUploads(): Promise<void> {
    const { store } = this.#context.archive;
    const { signal } = this.#options;
    for await (const upload of store.uploads(this.#key, { signal }))
      if (upload.key === this.#key) await store.abortUpload(upload, { signal });
  }

  /** Reads back what was put together from parts that this invocation did not see; its proof may need one of its own. */
  async #proveAssembled(): Promise<'done' | 'continue'> {
    if (this.#options.deadline.near()) return this.#continue();
    const outcome = await this.#proveFound();
    if (outcome === 'wrong') throw resumedWrong(this.#message);
    if (outcome === 'done') return outcome;
    // A hash cannot be carried over: what did not fit into the rest of this invocation gets a whole one to itself.
    return this.#continue();
  }

  #continue(): 'continue' {
    this.#tell('continued');
    return 'continue';
  }

  /** Proves the object that is there. */
  async #proveFound(): Promise<'done' | 'late' | 'wrong'> {
    const { archive, maxUncompressed } = this.#context;
    const { blob } = this.#message;
    const { signal, deadline } = this.#options;
    this.#tell('verifying');
    const found = await readBack({ archive, blob, maxUncompressed, signal, deadline });
    if (found.kind !== 'proven') return found.kind;
    const { proof } = found;
    if (blob.size !== undefined && proof.size !== blob.size) throw wrongSize(this.#message, proof.size);
    await this.#writeReceipt(proof);
    return 'done';
  }

  async #writeReceipt(proof: Proof): Promise<void> {
    const { archive, now } = this.#context;
    const receipt: Receipt = {
      version: 1,
      digest: proof.digest,
      size: proof.size,
      diffId: proof.diffId,
      compression: proof.compression,
      source: this.#message.source,
      verifiedAt: new Date(now()).toISOString(),
    };
    await archive.putReceipt(receipt, { signal: this.#options.signal });
    this.#tell('stored');
  }

  #transfer(): Transfer {
    const { archive, sources, window, maxUncompressed } = this.#context;
    const { blob, source } = this.#message;
    const { signal, deadline } = this.#options;
    const { digest, size, urls } = blob;
    const upstream = sources.repository(parseRepository(source));
    this.#fetched = 0;
    return {
      store: archive.store,
      key: this.#key,
      expected: blob,
      source: upstream.blob(digest, {
        signal,
        ...(size === undefined ? {} : { size }),
        ...(urls === undefined ? {} : { urls }),
      }),
      window,
      deadline,
      signal,
      maxUncompressed,
      onBytes: (count) => {
        this.#fetched += count;
        this.#tell('progress');
      },
    };
  }

  #tell(phase: BlobEvent['phase']): void {
    const { run, source, image, blob } = this.#message;
    this.#context.observe({
      type: 'blob',
      phase,
      run,
      source,
      tag: image.tag,
      digest: image.digest,
      blob: blob.digest,
      size: blob.size,
      fetched: this.#fetched,
    });
  }
}

interface Unfinished {
  readonly upload: Upload;
  readonly landed: readonly Part[];
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

function resumedWrong(message: LayerMessage): Failure {
  return new Failure({
    operation: `verify blob ${message.blob.digest} of ${message.source}`,
    side: 'archive',
    code: 'digest-mismatch-resumed',
    detail: 'what was put together from a resumed upload is not what was named; it was deleted',
  });
}

/** The object is what it is named; it is the descriptor that is wrong. */
function wrongSize(message: LayerMessage, size: number): Failure {
  return new Failure({
    operation: `verify blob ${message.blob.digest} of ${message.source}`,
    side: 'source',
    code: 'size-mismatch',
    detail: `it has ${size} bytes, its descriptor says ${message.blob.size}`,
  });
}

/** What more of the same would not mend; the remedy stands in `detail`. */
function tooSlow(message: LayerMessage, side: Failure['side'], detail: string): Failure {
  const operation = `${side === 'archive' ? 'verify' : 'copy'} blob ${message.blob.digest} of ${message.source}`;
  return new Failure({ operation, side, code: 'timeout', remedy: 'never', detail });
}
