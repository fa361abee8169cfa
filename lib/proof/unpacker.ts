/**
 * Unpacks a layer by its actual compression: its first bytes decide (`oci/compression.ts`). The window of a zstd stream
 * is counted in a memory budget of the process before it is allocated.
 */
import { Failure } from '../core/failure.ts';
import { type Compression, detectCompression, HEAD_BYTES, MAX_WINDOW_LOG, windowLogOf } from '../oci/compression.ts';
import { BRIEF_BYTES, BriefInflater } from './brief-inflater.ts';
import { Content, type ContentOptions, type DiffIds } from './content.ts';
import type { Compressed, Inflater, InflateOptions } from './inflater.ts';
import { ThreadInflater } from './inflating-threads.ts';
import { StreamInflater } from './stream-inflater.ts';
import { type Window, Windows } from './windows.ts';

/** The time for which a blob in the store waits for the windows of arriving blobs, in milliseconds. */
const PATIENCE_MS = 30_000;

/** Memory for one of the largest windows, or for 16 usual ones. */
const windows = new Windows(2 ** MAX_WINDOW_LOG, PATIENCE_MS);

/** Blobs of this size and above are inflated on a thread. For smaller ones, starting a thread takes longer. */
const LARGE_BYTES = 4 * 1024 * 1024;

export interface UnpackerOptions extends ContentOptions {
  /** Bytes of the blob, where known. */
  readonly size: number | undefined;
  /** See `ProverOptions`. */
  readonly patient: { readonly signal: AbortSignal; readonly window: 'as-announced' | 'largest' } | undefined;
}

/** `deferred`: there is not enough memory for the window, or not any more; nothing more needs to be written. */
type Written = Promise<'deferred' | undefined>;

export class Unpacker {
  readonly #declared: Compression;
  readonly #o: UnpackerOptions;
  /** Bytes that arrived before the compression was known. */
  #head: Uint8Array = new Uint8Array(0);
  #compression: Compression | undefined;
  #inflater: Inflater | undefined;
  /** Takes the bytes of a blob that is not compressed. */
  readonly #plain: Content;
  #stored = 0;
  #window: Window | undefined;
  #deferred = false;
  #destroyed = false;

  constructor(declared: Compression, options: UnpackerOptions) {
    this.#declared = declared;
    this.#o = options;
    this.#plain = new Content(options);
  }

  /** The compression of the bytes; undefined until enough of them have arrived. */
  get compression(): Compression | undefined {
    return this.#compression;
  }

  /** Resolves when the bytes may be reused. The next may be written before, unless the options say `patient`. */
  write(chunk: Uint8Array): Written {
    if (this.#deferred) return Promise.resolve('deferred');
    if (this.#compression !== undefined) return this.#pass(chunk);
    const head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
    const found = detectCompression(head.subarray(0, HEAD_BYTES), this.#declared, { whole: false });
    if (found !== undefined) return this.#begin(found, head);
    this.#head = Uint8Array.from(head);
    return Promise.resolve(undefined);
  }

  /** Resolves to the digests of the uncompressed bytes. */
  async end(): Promise<'deferred' | DiffIds> {
    if (this.#compression === undefined) {
      const isEmpty = this.#head.length === 0;
      const found = isEmpty ? 'none' : detectCompression(this.#head, this.#declared, { whole: true });
      if ((await this.#begin(found ?? this.#declared, this.#head)) === 'deferred') return 'deferred';
    }
    if (this.#deferred) return 'deferred';
    return this.#deferring(this.#inflater?.end() ?? Promise.resolve(this.#plain.diffIds()));
  }

  /** Resolves when the written bytes are not read any more. */
  async destroy(): Promise<void> {
    this.#destroyed = true;
    await this.#free();
  }

  /** Frees the window, and then gives its memory back. */
  async #free(): Promise<void> {
    await this.#inflater?.destroy();
    this.#window?.give();
    this.#window = undefined;
  }

  /** Leaves the window to a blob in the store. */
  #stop(): void {
    this.#deferred = true;
    void this.#free();
  }

  #begin(compression: Compression, head: Uint8Array): Written {
    this.#compression = compression;
    this.#head = new Uint8Array(0);
    if (compression === 'none') return this.#pass(head);
    if (compression === 'gzip') return this.#inflate('gzip', head);
    const { patient } = this.#o;
    const log = patient?.window === 'largest' ? MAX_WINDOW_LOG : windowLogOf(head);
    if (patient !== undefined) return this.#inflatePatiently(log, head, patient.signal);
    this.#window = windows.tryTake(2 ** log, () => {
      this.#stop();
    });
    this.#deferred = this.#window === undefined;
    return this.#deferred ? Promise.resolve('deferred') : this.#inflate('zstd', head, log);
  }

  async #inflatePatiently(log: number, head: Uint8Array, signal: AbortSignal): Written {
    this.#window = await windows.take(2 ** log, signal);
    if (!this.#destroyed) return this.#inflate('zstd', head, log);
    await this.destroy();
    return undefined;
  }

  #inflate(compression: Compressed, head: Uint8Array, windowLog = MAX_WINDOW_LOG): Written {
    const { size = Infinity, digest, algorithms, maxUncompressed, ratioFrom } = this.#o;
    const options: InflateOptions = { digest, algorithms, maxUncompressed, ratioFrom, compression, windowLog, size };
    this.#inflater = inflaterFor(options);
    return this.#pass(head);
  }

  async #pass(chunk: Uint8Array): Written {
    if (this.#inflater !== undefined)
      return (await this.#deferring(this.#inflater.write(chunk))) === 'deferred' ? 'deferred' : undefined;
    this.#stored += chunk.length;
    this.#plain.update(chunk, this.#stored);
    return undefined;
  }

  /** A frame that needs a larger window than was reserved is valid: it is unpacked when the memory is available. */
  async #deferring<T>(work: Promise<T>): Promise<T | 'deferred'> {
    try {
      return await work;
    } catch (error) {
      if (this.#deferred || (error instanceof Failure && error.code === 'no-space')) return 'deferred';
      throw error;
    }
  }
}

function inflaterFor(options: InflateOptions): Inflater {
  const { compression, size } = options;
  if (size >= LARGE_BYTES) return new ThreadInflater(options);
  return compression === 'gzip' && size <= BRIEF_BYTES ? new BriefInflater(options) : new StreamInflater(options);
}
