/**
 * The layer role: brings one blob per message from the registry into the archive, and writes one receipt as proof.
 *
 * The object store is its only memory. The objects in it decide the work:
 *
 * | found                          | work                                                             |
 * |--------------------------------|------------------------------------------------------------------|
 * | a receipt                      | none                                                             |
 * | the object, but no receipt     | reads it back; then writes a receipt, or deletes and fetches it  |
 * | an unfinished multipart upload | fetches the missing parts, completes, reads back                 |
 * | nothing                        | streams the blob: proves, completes, writes a receipt            |
 */
import { defined } from '../../core/defined.ts';
import { asFailure, type Failure, type FailureCode } from '../../core/failure.ts';
import { parseRepository } from '../../oci/reference.ts';
import type { LayerMessage } from '../../queue/messages.ts';
import { continuationOf, finalizeMessage } from '../../queue/outgoing.ts';
import type { LayerContext } from '../context.ts';
import type { Deadline } from '../deadline.ts';
import { type DeliveryOptions, isRecorded } from '../delivery.ts';
import { type BlobEvent, blobEvent } from '../events.ts';
import { resumedWrong, tooSlow, wrongSize } from '../failures.ts';
import type { Proof } from '../../proof/prover.ts';
import { readBack } from './read-back.ts';
import { provenBy, receiptFor } from '../receipts.ts';
import { download } from '../transfer/download.ts';
import { resume } from '../transfer/resume.ts';
import type { Transfer } from '../transfer/transfer.ts';
import { type Unfinished, UnfinishedUploads } from './unfinished.ts';
import { failLayer } from './fail-layer.ts';

/** Restarts of a blob in one invocation; after them the queue delivers the message again. */
const MAX_RESTARTS = 3;

/** A blob that is still incomplete after so many invocations does not progress fast enough. */
const MAX_CONTINUATIONS = 200;

/**
 * Consecutive continuations that store no new part, before the layer gives up. A slow registry can occupy each
 * continuation for a whole invocation of 15 minutes. At 10 kB/s a part of 8 MiB arrives within that time.
 */
const MAX_STALLED = 2;

const MORE_TIME = 'give the layer function more time or memory';

export interface LayerOptions extends DeliveryOptions {
  readonly deadline: Deadline;
}

/**
 * Copies a message's blob and notifies the finalizer, or sends a continuation when time runs short. A failure that a
 * retry cannot fix is sent to the finalizer as well; a temporary one is thrown, so that the queue delivers the message
 * again.
 */
export async function copyLayer(context: LayerContext, message: LayerMessage, options: LayerOptions): Promise<void> {
  const { queues } = context;
  const { signal } = options;
  if (context.failedImages?.skips(message) === true) return;
  try {
    const outcome = await new LayerCopy(context, message, options).run();
    if (outcome !== 'done') {
      const lanes = context.lanes(parseRepository(message.source).host);
      await queues.send('layer', [continuationOf(message, lanes, outcome.stalled)], { signal });
    } else {
      await queues.send('finalize', [finalizeMessage(message, message.image, message.blob.digest)], { signal });
    }
  } catch (error) {
    const operation = `copy blob ${message.blob.digest} of ${message.source}`;
    const failure = asFailure(error, operation, 'source');
    if (!isRecorded(failure, options)) throw failure;
    await failLayer(context, message, failure.within(operation), signal);
  }
}

/** The counters that the next continuation needs. */
interface Continued {
  readonly stalled: number;
}

class LayerCopy {
  readonly #context: LayerContext;
  readonly #message: LayerMessage;
  readonly #options: LayerOptions;
  readonly #key: string;
  readonly #uploads: UnfinishedUploads;
  #fetched = 0;
  /** Parts that this invocation has stored. */
  #stored = 0;
  /** Whether ranges of the blob have failed, so that it is fetched from the first byte in one response. */
  #inOnePiece = false;

  constructor(context: LayerContext, message: LayerMessage, options: LayerOptions) {
    this.#context = context;
    this.#message = message;
    this.#options = options;
    this.#key = context.archive.layout.blob(message.blob.digest);
    this.#uploads = new UnfinishedUploads({
      store: context.archive.store,
      key: this.#key,
      size: message.blob.size,
      now: context.now,
      signal: options.signal,
    });
  }

  async run(): Promise<'done' | Continued> {
    let lookFor = this.#again ? 'everything' : this.#message.look;
    for (let attempt = 1; ; attempt += 1) {
      try {
        const outcome = await this.#attempt(lookFor, attempt);
        if (outcome === 'done') await this.#uploads.abortOthers();
        return outcome;
      } catch (error) {
        const failure = asFailure(error, `copy blob ${this.#message.blob.digest}`, 'source');
        const beginAnew = failure.remedy === 'restart' || failure.code === 'precondition-failed';
        if (failure.remedy === 'never') await this.#uploads.abortRefused();
        if (!beginAnew || attempt >= MAX_RESTARTS) throw failure;
        lookFor = 'everything';
        this.#inOnePiece ||= isOfRanges(failure);
      }
    }
  }

  /** Whether an earlier attempt may have left something: a repeated delivery, or a continuation. */
  get #again(): boolean {
    return this.#options.receiveCount > 1 || this.#message.continuation > 0;
  }

  // eslint-disable-next-line max-lines-per-function -- the cases of the table above, in order
  async #attempt(lookFor: LayerMessage['look'], attempt: number): Promise<'done' | Continued> {
    const { archive } = this.#context;
    const { blob } = this.#message;
    const { signal } = this.#options;
    const receipt = await archive.receipt(blob.digest, { signal });
    if (receipt !== undefined && provenBy(receipt, blob) !== undefined) {
      this.#tell('present');
      // The last attempt may have ended between its receipt and its cleanup.
      if (this.#again) await this.#uploads.abortAll();
      return 'done';
    }
    // A receipt exists that proves less than this message claims, so the blob exists as well.
    const look = receipt === undefined ? lookFor : 'everything';
    if (look === 'everything') {
      const found = await archive.store.head(this.#key, { signal });
      if (found !== undefined) {
        const outcome = await this.#proveFound();
        // Only a first attempt had the whole invocation for it.
        if (outcome === 'late' && attempt === 1)
          return this.#giveUp('archive', `a whole invocation is too short to read back its ${found.size} bytes`);
        if (outcome === 'late') return this.#continue();
        if (outcome === 'done') {
          await this.#uploads.abortAll();
          return outcome;
        }
      }
    }
    this.#tell('started');
    // The missing parts of an unfinished upload can only be fetched with ranges.
    const canResume = look === 'everything' && !this.#inOnePiece;
    const unfinished = canResume ? await this.#uploads.furthest() : undefined;
    const done = unfinished === undefined ? await download(this.#transfer()) : await this.#resume(unfinished);
    switch (done.kind) {
      case 'continue':
        if (!done.resumable && this.#message.continuation > 0)
          return this.#giveUp(
            'source',
            'a whole invocation is too short for the blob, because the registry does not support ranges',
          );
        return this.#continue(this.#stalled());
      case 'assembled':
        return this.#proveAssembled();
      case 'proven':
        await this.#writeReceipt(done.proof);
        return 'done';
    }
  }

  async #resume(unfinished: Unfinished): ReturnType<typeof resume> {
    try {
      return await resume({ ...this.#transfer(), ...unfinished });
    } catch (error) {
      const failure = asFailure(error, `resume blob ${this.#message.blob.digest}`, 'source');
      if (failure.remedy === 'never') await this.#uploads.abort(unfinished.upload);
      if (failure.remedy === 'restart') this.#uploads.refuse(unfinished.upload);
      throw failure;
    }
  }

  /** Reads back an object whose parts this invocation did not see; the proof may need an invocation of its own. */
  async #proveAssembled(): Promise<'done' | Continued> {
    if (this.#options.deadline.near()) return this.#continue();
    const outcome = await this.#proveFound();
    if (outcome === 'wrong') throw resumedWrong(this.#message);
    if (outcome === 'done') return outcome;
    // A hash state cannot be passed on: the next invocation has its whole time for the proof.
    return this.#continue();
  }

  /**
   * @param stalled 0 where this invocation stored a new part
   */
  async #continue(stalled = 0): Promise<Continued> {
    // The uploads stay: another message may be filling them, and the next run continues with their parts.
    if (stalled >= MAX_STALLED)
      throw tooSlow(
        this.#message,
        'source',
        `${stalled} continuations in a row stored no new part; check the speed of the registry, or ${MORE_TIME}`,
      );
    if (this.#message.continuation >= MAX_CONTINUATIONS)
      return this.#giveUp('source', `it is not complete after ${MAX_CONTINUATIONS} invocations`);
    this.#tell('continued');
    return { stalled };
  }

  /** Consecutive continuations, up to this one, that stored no new part. A first invocation is not a continuation. */
  #stalled(): number {
    const { continuation, stalled = 0 } = this.#message;
    return this.#stored > 0 || continuation === 0 ? 0 : stalled + 1;
  }

  /** A retry would fail again, so the stored parts are aborted. */
  async #giveUp(side: Failure['side'], detail: string): Promise<never> {
    await this.#uploads.abortAll();
    throw tooSlow(this.#message, side, `${detail}; ${MORE_TIME}`);
  }

  /** Proves the object in the store. */
  async #proveFound(): Promise<'done' | 'late' | 'wrong'> {
    const { archive, maxUncompressed, now } = this.#context;
    const { blob, strictMediaTypes: strict } = this.#message;
    const { signal, deadline } = this.#options;
    this.#tell('verifying');
    const found = await readBack({ archive, blob, maxUncompressed, strict, now, signal, deadline });
    if (found.kind !== 'proven') return found.kind;
    const { proof } = found;
    if (blob.size !== undefined && proof.size !== blob.size) throw wrongSize(this.#message, proof.size);
    await this.#writeReceipt(proof);
    return 'done';
  }

  async #writeReceipt(proof: Proof): Promise<void> {
    const { archive, now } = this.#context;
    const receipt = receiptFor(proof, this.#message.source, now());
    await archive.putReceipt(receipt, { signal: this.#options.signal });
    this.#tell('stored');
  }

  #transfer(): Transfer {
    const { archive, sources, buffers, maxUncompressed } = this.#context;
    const { blob, source, strictMediaTypes: strict } = this.#message;
    const { signal, deadline } = this.#options;
    const { digest, size, urls } = blob;
    const repository = parseRepository(source);
    this.#fetched = 0;
    return {
      store: archive.store,
      key: this.#key,
      expected: blob,
      source: sources.repository(repository).blob(digest, { signal, ...defined({ size, urls }) }),
      registry: repository.host,
      inOnePiece: this.#inOnePiece,
      buffers,
      deadline,
      signal,
      maxUncompressed,
      strict,
      onBytes: (count) => {
        this.#fetched += count;
        this.#tell('progress');
      },
      onPart: () => {
        this.#stored += 1;
      },
    };
  }

  #tell(phase: BlobEvent['phase']): void {
    this.#context.observe(blobEvent(this.#message, phase, this.#fetched));
  }
}

/** The registry does not serve ranges, or serves ranges that do not fit together. */
const OF_RANGES: ReadonlySet<FailureCode> = new Set(['range-ignored', 'range-mismatch', 'digest-mismatch-resumed']);

function isOfRanges({ side, code }: Failure): boolean {
  return side === 'source' && OF_RANGES.has(code);
}
