/**
 * Synchronous decompression: the output is complete when a call returns. Node's own streams hand each piece to another
 * thread and back. If that thread or this one sleeps in between, waking it takes longer than inflating. A caller that
 * wants a thread gives it a whole one (`inflating-threads.ts`).
 *
 * Nothing is allocated per call: the caller provides the output memory (decision 0007).
 */
import { randomBytes } from 'node:crypto';
import { constants, createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from 'node:zlib';
import { Failure, type FailureCode } from '../core/failure.ts';

import { MAX_WINDOW_LOG } from '../oci/compression.ts';

export type Compressed = 'gzip' | 'zstd';

/**
 * The destination of uncompressed bytes. Each piece of memory is requested, filled from its beginning, and given back.
 */
export interface Output {
  /** Returns at least one byte of room; called before it is known whether output follows. */
  readonly room: () => Uint8Array;
  /** Takes the first `length` bytes of the room that was requested last. An error from it ends the work. */
  readonly filled: (length: number) => void;
}

const NOTHING = new Uint8Array(0);

/** Size of the frame that detects the end of a zstd stream: so many random bytes do not occur by chance. */
const PROBE_BYTES = 16;

/** The decoder continues with the next input. The value is the same for zstd (`ZSTD_e_continue`). */
const GO_ON = constants.Z_NO_FLUSH;

export class SyncInflater {
  readonly #name: Compressed;
  readonly #output: Output;
  readonly #windowLog: number;
  readonly #codec: Codec;
  #empty = true;
  #failure: unknown;

  /** @param windowLog the largest window that a zstd frame may ask for, as the base-2 logarithm of its bytes */
  constructor(compression: Compressed, output: Output, windowLog = MAX_WINDOW_LOG) {
    this.#name = compression;
    this.#output = output;
    this.#windowLog = windowLog;
    this.#codec = new Codec(compression, windowLog);
  }

  /**
   * Throws `not-as-declared`, or the output's error, and throws the same from then on. Throws `no-space` where a frame
   * needs a window that is larger than the given one, and not larger than the largest.
   */
  write(chunk: Uint8Array): void {
    this.#empty &&= chunk.length === 0;
    this.#work(() => {
      this.#inflate(chunk, GO_ON, this.#output);
    });
  }

  /** Throws where the stream was cut short. */
  end(): void {
    this.#work(() => {
      if (this.#name === 'gzip') this.#inflate(NOTHING, constants.Z_FINISH, this.#output);
      else this.#endZstd();
    });
  }

  destroy(): void {
    this.#codec.close();
    this.#failure ??= this.#refusal('it has been given up');
  }

  #work(work: () => void): void {
    if (this.#failure === undefined)
      try {
        work();
        return;
      } catch (error) {
        this.#failure = error;
        this.#codec.close();
      }
    throw this.#failure as Error;
  }

  /**
   * Node reports a truncated zstd stream only since 24.20. So one more frame is written: its content comes out only if
   * it follows a complete frame. An incomplete frame takes it for its own missing bytes.
   */
  #endZstd(): void {
    if (this.#empty) throw this.#refusal('there is nothing in it');
    const content = randomBytes(PROBE_BYTES);
    const out: Uint8Array[] = [];
    const room = new Uint8Array(PROBE_BYTES);
    try {
      const filled = (length: number): number => out.push(room.slice(0, length));
      this.#inflate(frameOf(content), GO_ON, { room: () => room, filled });
    } catch {
      out.length = 0;
    }
    if (!Buffer.concat(out).equals(content)) throw this.#refusal('it ends inside a frame');
  }

  /**
   * Each call of the codec ends when its room is full, its input is used up, or a zstd frame ends; all members and
   * frames of the input are read.
   */
  #inflate(input: Uint8Array, flush: number, output: Output): void {
    for (let at = 0; ;) {
      const room = output.room();
      const { read, written, error } = this.#codec.run(flush, input, at, room);
      if (error !== undefined) {
        const isShort = error.code === WINDOW_TOO_LARGE && this.#windowLog < MAX_WINDOW_LOG;
        throw this.#refusal(error.message, isShort ? 'no-space' : 'not-as-declared');
      }
      if (written > 0) output.filled(written);
      at += read;
      if (written === room.length) continue;
      if (at === input.length) return;
      // Zeros behind a gzip member end the stream. GNU gzip ignores such padding; Go's reader, and so Docker and
      // containerd, fails on it, and so do we.
      if (read === 0) throw this.#refusal('there are other bytes behind its end');
    }
  }

  #refusal(detail: string, code: FailureCode = 'not-as-declared'): Failure {
    return new Failure({ operation: `read ${this.#name}`, side: 'input', code, detail });
  }
}

/** A zstd frame of one raw block (RFC 8878, section 3.1.1): a single segment, its content size, no checksum. */
function frameOf(content: Uint8Array): Uint8Array {
  const header = [0x28, 0xb5, 0x2f, 0xfd, 0x20, content.length];
  const blockHeader = [1 | (content.length << 3), 0, 0];
  return Buffer.concat([Uint8Array.from([...header, ...blockHeader]), content]);
}

/** The handle behind Node's zlib streams, as of Node.js 24; not in its documented interface. */
interface Handle {
  onerror: (message: string, errno: number, code: string) => void;
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

const WINDOW_TOO_LARGE = 'ZSTD_error_frameParameter_windowTooLarge';

interface CodecError {
  readonly message: string;
  readonly code: string;
}

/** The only code that uses Node's internals. */
class Codec {
  readonly #stream: Gunzip | ZstdDecompress;
  readonly #handle: Handle;
  /** Written by each call: room and input that are left, in bytes. */
  readonly #left: Uint32Array;
  #error: CodecError | undefined;

  constructor(compression: Compressed, windowLog: number) {
    // Node allocates this buffer for each stream. It is not used here, so it has the smallest size.
    const options = { chunkSize: constants.Z_MIN_CHUNK };
    this.#stream =
      compression === 'gzip'
        ? createGunzip(options)
        : createZstdDecompress({ ...options, params: { [constants.ZSTD_d_windowLogMax]: windowLog } });
    const { _handle: handle, _writeState: left } = this.#stream as unknown as {
      readonly _handle?: Handle;
      readonly _writeState?: Uint32Array;
    };
    if (typeof handle?.writeSync !== 'function' || !(left instanceof Uint32Array))
      throw new Error(`Node.js ${process.version} decompresses in another way than Node.js 24, which is needed here`);
    handle.onerror = (message, _, code): void => {
      this.#error = { message, code };
    };
    this.#handle = handle;
    this.#left = left;
  }

  /** Reads from `input`, starting at `at`, and writes to `room`; never after `close`. */
  run(
    flush: number,
    input: Uint8Array,
    at: number,
    room: Uint8Array,
  ): { readonly read: number; readonly written: number; readonly error: CodecError | undefined } {
    const length = input.length - at;
    this.#handle.writeSync(flush, input, at, length, room, 0, room.length);
    const [roomLeft = 0, inputLeft = 0] = this.#left;
    return { read: length - inputLeft, written: room.length - roomLeft, error: this.#error };
  }

  close(): void {
    this.#stream.destroy();
  }
}
