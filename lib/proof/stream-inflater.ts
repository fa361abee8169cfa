/** Decompression with the streams of node:zlib. */
import { constants, createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from 'node:zlib';
import { Failure, type FailureCode } from '../core/failure.ts';
import { release } from '../core/release.ts';
import { MAX_WINDOW_LOG } from '../oci/compression.ts';
import { Content, type DiffIds } from './content.ts';
import type { Inflater, InflateOptions } from './inflater.ts';
import { ZstdFrames } from './zstd-frames.ts';

/**
 * The bytes of one step of zlib, input and output alike, by the size of the blob. Between two steps, zlib's thread and
 * this one wait for each other. So a large layer takes large steps, while many concurrent small ones need little memory:
 * 128 KiB for a layer of 1 MiB, 512 KiB for 16 MiB, 1 MiB for 64 MiB, and then a 64th of the layer.
 *
 * A buffer of the smallest step is not a part of Node's pool (`Buffer.poolSize`), so its memory can be freed.
 */
const MIN_STEP_BYTES = 64 * 1024;
const MAX_STEP_BYTES = 4 * 1024 * 1024;
const STEPS = 64;
/** A small layer takes steps of the geometric mean of its size and these bytes. */
const MEAN_BYTES = 16 * 1024;
/** The step for a blob of unknown size. */
const USUAL_STEP_BYTES = 512 * 1024;

function stepBytesOf(size: number): number {
  if (size === Infinity) return USUAL_STEP_BYTES;
  const bytes = Math.max(Math.sqrt(size * MEAN_BYTES), size / STEPS);
  return Math.min(Math.max(Math.ceil(bytes), MIN_STEP_BYTES), MAX_STEP_BYTES);
}

/** zlib's messages about the header of a gzip member that do not name the header (RFC 1952, section 2.3.1). */
const HEADER_FAULTS: ReadonlyMap<string, string> = new Map([
  ['unknown header flags set', 'the gzip header has a reserved flag'],
  ['header crc mismatch', 'the checksum of the gzip header is wrong'],
]);

const WINDOW_TOO_LARGE = 'ZSTD_error_frameParameter_windowTooLarge';

export class StreamInflater implements Inflater {
  readonly #options: InflateOptions;
  readonly #content: Content;
  readonly #stepBytes: number;
  readonly #stream: Gunzip | ZstdDecompress;
  readonly #frames: ZstdFrames | undefined;
  /** Bytes written so far. */
  #stored = 0;
  /** Uncompressed bytes that are not hashed yet. */
  readonly #pending: Buffer[] = [];
  /** The last piece that zlib has returned. */
  #latest: Buffer | undefined;
  #failure: Failure | undefined;
  #isEnding = false;
  /** Ends the current step; undefined between steps. */
  #endStep: (() => void) | undefined;
  /** The last call; the next one waits until it has ended. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: InflateOptions) {
    this.#options = options;
    this.#content = new Content(options);
    this.#stepBytes = stepBytesOf(options.size);
    if (options.compression === 'zstd') this.#frames = new ZstdFrames();
    this.#stream = decompressor(options)
      .on('data', (chunk: Buffer) => {
        if (this.#failure !== undefined) {
          this.#stop();
          return;
        }
        this.#latest = chunk;
        // The stream continues first, so that zlib's thread inflates while this one hashes.
        if (this.#pending.push(chunk) === 1)
          setImmediate(() => {
            this.#hash();
          });
      })
      .on('error', (error: NodeJS.ErrnoException) => {
        const isShort = error.code === WINDOW_TOO_LARGE && options.windowLog < MAX_WINDOW_LOG;
        this.#failure ??= this.#refusal(
          HEADER_FAULTS.get(error.message) ?? error.message,
          isShort ? 'no-space' : 'not-as-declared',
        );
        this.#stop();
      })
      .on('end', () => {
        // zlib ignores zeros after a gzip member, as GNU gzip does. Go's reader, and so Docker and containerd, fails on
        // them.
        if (!this.#isEnding) this.#fail(this.#refusal('other bytes follow the end of the stream'));
      });
  }

  write(chunk: Uint8Array): Promise<void> {
    return this.#afterLast(async () => {
      this.#stored += chunk.length;
      for (let at = 0; at < chunk.length;) at = await this.#writeSome(chunk, at);
    });
  }

  end(): Promise<DiffIds> {
    return this.#afterLast(async () => {
      if (this.#stored === 0) throw this.#fail(this.#refusal('the stream is empty'));
      if (this.#frames?.isComplete === false) throw this.#fail(this.#refusal('the last frame is incomplete'));
      this.#isEnding = true;
      await this.#step((resolve) => this.#stream.once('end', resolve).end());
      this.#hash();
      this.#throwFailure();
      this.#free();
      return this.#content.diffIds();
    });
  }

  async destroy(): Promise<void> {
    this.#fail(destroyed());
    await this.#last;
  }

  /** Writes the next bytes, up to the end of a zstd frame. Resolves to the position after them. */
  async #writeSome(chunk: Uint8Array, start: number): Promise<number> {
    const piece = chunk.subarray(start, start + this.#stepBytes);
    const length = this.#frames === undefined ? piece.length : this.#frames.next(piece);
    await this.#step((resolve) => this.#stream.write(piece.subarray(0, length), resolve));
    return start + length;
  }

  /** Resolves when the stream has called back. Rejects if the inflater has failed, once the stream reads no more bytes. */
  async #step(start: (resolve: () => void) => void): Promise<void> {
    this.#throwFailure();
    await new Promise<void>((resolve) => {
      this.#endStep = resolve;
      start(resolve);
    });
    this.#endStep = undefined;
    if (this.#failure !== undefined) this.#stop();
    this.#throwFailure();
  }

  #afterLast<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(() => {
      this.#throwFailure();
      return work();
    });
    this.#last = done.catch(() => undefined);
    return done;
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #hash(): void {
    for (const chunk of this.#pending.splice(0))
      try {
        if (this.#failure === undefined) this.#content.update(chunk, this.#stored);
        // The last piece of an output buffer: zlib continues with another one.
        if (chunk.byteOffset + chunk.length === chunk.buffer.byteLength) release(new Uint8Array(chunk.buffer));
      } catch (error) {
        this.#fail(error as Failure);
      }
  }

  /** Frees the last buffer of a stream that has ended. A piece of a buffer that is free already has no bytes. */
  #free(): void {
    if (this.#latest !== undefined && this.#latest.length > 0) release(new Uint8Array(this.#latest.buffer));
  }

  /**
   * Keeps the first failure, and returns it. zlib's thread reads the written bytes during a step. So the stream is
   * destroyed at its next event, when that thread is idle.
   */
  #fail(failure: Failure): Failure {
    this.#failure ??= failure;
    if (this.#endStep === undefined) this.#stop();
    return this.#failure;
  }

  #stop(): void {
    this.#stream.destroy();
    this.#endStep?.();
  }

  #refusal(detail: string, code: FailureCode = 'not-as-declared'): Failure {
    return new Failure({ operation: `read ${this.#options.compression}`, side: 'input', code, detail });
  }
}

export function destroyed(): Failure {
  return new Failure({ operation: 'inflate', side: 'archive', code: 'internal', detail: 'the inflater is destroyed' });
}

function decompressor({ compression, windowLog, size }: InflateOptions): Gunzip | ZstdDecompress {
  const chunkSize = stepBytesOf(size);
  if (compression === 'gzip') return createGunzip({ chunkSize });
  return createZstdDecompress({ chunkSize, params: { [constants.ZSTD_d_windowLogMax]: windowLog } });
}
