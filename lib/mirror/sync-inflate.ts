/**
 * Decompression in one go: what is written has come out when the call returns. Node's own streams hand each piece over to
 * another thread and back, and where that thread or this one sleeps in between, waking up takes longer than inflating;
 * whoever wants a thread for it has a whole one to give (`inflating-threads.ts`).
 *
 * Nothing is allocated on the way: what comes out is written where the caller says (decision 0007).
 */
import { constants, createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from 'node:zlib';
import { Failure } from '../base/failure.ts';

export type Compressed = 'gzip' | 'zstd';

/** Where uncompressed bytes go: into memory that is asked for, is filled from its beginning, and is then the other's again. */
export interface Output {
  /** At least one byte long; called before anything is known to come out. */
  readonly room: () => Uint8Array;
  /** The first `length` bytes of the room that was asked for last are there. What it throws ends the work. */
  readonly filled: (length: number) => void;
}

/**
 * The largest window that a zstd frame may ask for: 128 MiB, zstd's own limit for a decoder that was not told otherwise
 * (`ZSTD_WINDOWLOG_LIMIT_DEFAULT`); it bounds what a hostile layer makes us allocate.
 */
const ZSTD_WINDOW_LOG = 27;

const NOTHING = new Uint8Array(0);

const FLUSH = {
  gzip: { go: constants.Z_NO_FLUSH, end: constants.Z_FINISH },
  zstd: { go: constants.ZSTD_e_continue, end: constants.ZSTD_e_end },
} as const;

export class SyncInflater {
  readonly #name: Compressed;
  readonly #output: Output;
  readonly #codec: Codec;
  #failure: unknown;

  constructor(compression: Compressed, output: Output) {
    this.#name = compression;
    this.#output = output;
    this.#codec = new Codec(compression);
  }

  /** Throws `not-as-declared`, or what the output threw; from then on always the same. */
  write(chunk: Uint8Array): void {
    this.#work(chunk, FLUSH[this.#name].go);
  }

  /** Throws where the stream was cut short. */
  end(): void {
    this.#work(NOTHING, FLUSH[this.#name].end);
  }

  destroy(): void {
    this.#codec.close();
    this.#failure ??= this.#refusal('it has been given up');
  }

  #work(input: Uint8Array, flush: number): void {
    if (this.#failure === undefined)
      try {
        this.#inflate(input, flush);
        return;
      } catch (error) {
        this.#failure = error;
        this.#codec.close();
      }
    throw this.#failure as Error;
  }

  /**
   * Each call of the codec ends where its room is full, its input used up, or a zstd frame at its end; all members and
   * frames of the input are read.
   */
  #inflate(input: Uint8Array, flush: number): void {
    for (let at = 0; ;) {
      const room = this.#output.room();
      const { read, written, error } = this.#codec.run(flush, input, at, room);
      if (error !== undefined) throw this.#refusal(error);
      if (written > 0) this.#output.filled(written);
      at += read;
      if (written === room.length) continue;
      if (at === input.length) return;
      // Zeros behind a gzip member end the stream. GNU gzip ignores such padding; Go's reader, and so Docker and
      // containerd, fails on it, and so do we.
      if (read === 0) throw this.#refusal('there are other bytes behind its end');
    }
  }

  #refusal(detail: string): Failure {
    return new Failure({ operation: `read ${this.#name}`, side: 'input', code: 'not-as-declared', detail });
  }
}

/** What is behind Node's zlib streams, as of Node.js 24; not in its documented interface. */
interface Handle {
  onerror: (message: string) => void;
  writeSync: (
    flush: number,
    input: Uint8Array,
    inputOffset: number,
    inputLength: number,
    output: Uint8Array,
    outputOffset: number,
    outputLength: number,
  ) => void;
}

/** The only code that knows of Node's internals. */
class Codec {
  readonly #stream: Gunzip | ZstdDecompress;
  readonly #handle: Handle;
  /** Written by each call: room and input that are left, in bytes. */
  readonly #left: Uint32Array;
  #error: string | undefined;

  constructor(compression: Compressed) {
    // A buffer that each makes for itself, and that is not used here: the smallest.
    const options = { chunkSize: constants.Z_MIN_CHUNK };
    this.#stream =
      compression === 'gzip'
        ? createGunzip(options)
        : createZstdDecompress({ ...options, params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } });
    const { _handle: handle, _writeState: left } = this.#stream as unknown as {
      readonly _handle?: Handle;
      readonly _writeState?: Uint32Array;
    };
    if (typeof handle?.writeSync !== 'function' || !(left instanceof Uint32Array))
      throw new Error(`Node.js ${process.version} decompresses in another way than Node.js 24, which is needed here`);
    handle.onerror = (message): void => {
      this.#error = message;
    };
    this.#handle = handle;
    this.#left = left;
  }

  /** Reads from `input`, from `at` on, and writes to `room`; never after `close`. */
  run(
    flush: number,
    input: Uint8Array,
    at: number,
    room: Uint8Array,
  ): { readonly read: number; readonly written: number; readonly error: string | undefined } {
    const length = input.length - at;
    this.#handle.writeSync(flush, input, at, length, room, 0, room.length);
    const [roomLeft = 0, inputLeft = 0] = this.#left;
    return { read: length - inputLeft, written: room.length - roomLeft, error: this.#error };
  }

  close(): void {
    this.#stream.destroy();
  }
}
