/**
 * Unpacks a layer by its actual compression: its first bytes decide (`oci/compression.ts`). The window of a zstd stream
 * is counted in a memory budget of the process before it is allocated.
 */
import { Budget } from '../core/budget.ts';
import { Failure } from '../core/failure.ts';
import { type Compression, detectCompression, HEAD_BYTES, MAX_WINDOW_LOG, windowLogOf } from '../oci/compression.ts';
import { createInflater } from './inflate.ts';
import type { Inflater, Sink } from './inflater.ts';

/** Memory for the windows of all concurrent zstd streams, in bytes: one of the largest, or 16 usual ones. */
const windows = new Budget(2 ** MAX_WINDOW_LOG);

/** Blobs of this size and above are inflated on a thread: below, handing them over takes longer than inflating. */
const LARGE_BYTES = 4 * 1024 * 1024;

export interface UnpackerOptions {
  /** Bytes of the blob, where known. */
  readonly size: number | undefined;
  /** See `ProverOptions`. */
  readonly patient: { readonly signal: AbortSignal; readonly window: 'as-announced' | 'largest' } | undefined;
  readonly sink: Sink;
}

/** `deferred`: there is not enough memory for the window now; nothing more needs to be written. */
type Written = Promise<'deferred' | undefined>;

export class Unpacker {
  readonly #declared: Compression;
  readonly #o: UnpackerOptions;
  /** Bytes that arrived before the compression was known. */
  #head: Uint8Array = new Uint8Array(0);
  #compression: Compression | undefined;
  #inflater: Inflater | undefined;
  #reserved = 0;
  #deferred = false;
  #destroyed = false;

  constructor(declared: Compression, options: UnpackerOptions) {
    this.#declared = declared;
    this.#o = options;
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

  /** Resolves when all output has come out. */
  async end(): Written {
    if (this.#compression === undefined) {
      const isEmpty = this.#head.length === 0;
      const found = isEmpty ? 'none' : detectCompression(this.#head, this.#declared, { whole: true });
      if ((await this.#begin(found ?? this.#declared, this.#head)) === 'deferred') return 'deferred';
    }
    return deferring(this.#inflater?.end());
  }

  /** Resolves when the written bytes are not read any more. */
  async destroy(): Promise<void> {
    this.#destroyed = true;
    await this.#inflater?.destroy();
    windows.give(this.#reserved);
    this.#reserved = 0;
  }

  #begin(compression: Compression, head: Uint8Array): Written {
    this.#compression = compression;
    this.#head = new Uint8Array(0);
    if (compression === 'none') return this.#pass(head);
    if (compression === 'gzip') return this.#inflate('gzip', head);
    const { patient } = this.#o;
    const log = patient?.window === 'largest' ? MAX_WINDOW_LOG : windowLogOf(head);
    if (patient !== undefined) return this.#inflatePatiently(log, head, patient.signal);
    this.#deferred = !windows.tryTake(2 ** log);
    if (this.#deferred) return Promise.resolve('deferred');
    this.#reserved = 2 ** log;
    return this.#inflate('zstd', head, log);
  }

  async #inflatePatiently(log: number, head: Uint8Array, signal: AbortSignal): Written {
    await windows.take(2 ** log, signal);
    this.#reserved = 2 ** log;
    if (!this.#destroyed) return this.#inflate('zstd', head, log);
    await this.destroy();
    return undefined;
  }

  #inflate(compression: 'gzip' | 'zstd', head: Uint8Array, windowLog?: number): Written {
    const { size, sink } = this.#o;
    const large = (size ?? Infinity) >= LARGE_BYTES;
    this.#inflater = createInflater(compression, sink, { large, ...(windowLog === undefined ? {} : { windowLog }) });
    return this.#pass(head);
  }

  #pass(chunk: Uint8Array): Written {
    if (this.#inflater !== undefined) return deferring(this.#inflater.write(chunk));
    return this.#plain(chunk);
  }

  /** An async function turns the sink's error into a rejection. */
  async #plain(chunk: Uint8Array): Written {
    this.#o.sink(chunk);
    return Promise.resolve(undefined);
  }
}

/** A frame that needs a larger window than was reserved is not wrong: it is unpacked when the memory is available. */
async function deferring(work: Promise<void> | undefined): Written {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof Failure && error.code === 'no-space') return 'deferred';
    throw error;
  }
}
