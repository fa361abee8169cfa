/**
 * Where the frames of a zstd stream begin and end (RFC 8878, section 3), found without decompressing anything.
 *
 * Node's decompressor finishes with the frame that ends inside a write and drops the rest of that write without a word,
 * so whoever feeds it must cut its input at the ends of frames. Skippable frames (zstd:chunked and pzstd write them)
 * hold no content and are left out.
 */
import { Failure } from '../base/failure.ts';

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
const SKIPPABLE_MASK = 0xfffffff0;
const BLOCK_RAW_OR_COMPRESSED = [true, false, true] as const;

type State =
  /** Collecting the four bytes that tell a frame from a skippable one; they are held back until that is known. */
  'magic' | 'descriptor' | 'header' | 'block-header' | 'block' | 'checksum' | 'skip-size' | 'skip';

/** Cuts a stream into pieces of which none reaches beyond the end of a frame. Feed it in order; ask `end` at the end. */
export class ZstdFrameCutter {
  #state: State = 'magic';
  /** Bytes of the current state that are still to come. */
  #left = 4;
  /** The number that the current state's bytes spell, little-endian. */
  #value = 0;
  #read = 0;
  #hasChecksum = false;
  #lastBlock = false;
  #frames = 0;
  #offset = 0;

  /** The pieces of `chunk` that belong to frames, in order; each is to be written to the decompressor on its own. */
  cut(chunk: Uint8Array): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    let from = 0;
    let at = 0;
    while (at < chunk.length) {
      const take = Math.min(this.#left, chunk.length - at);
      if (this.#spellsNumber())
        for (let i = 0; i < take; i += 1) {
          this.#value += (chunk[at + i] ?? 0) * 2 ** (8 * this.#read);
          this.#read += 1;
        }
      at += take;
      this.#offset += take;
      this.#left -= take;
      if (this.#left > 0) continue;
      const was = this.#state;
      const ended = this.#advance();
      if (was === 'magic') {
        from = at;
        if (this.#state === 'descriptor') {
          // Where the magic began in an earlier chunk, those bytes were held back: it is handed on anew.
          if (at >= 4) from = at - 4;
          else pieces.push(magicBytes());
        }
      } else if (was === 'skip-size' || was === 'skip') {
        from = at;
      } else if (ended) {
        if (at > from) pieces.push(chunk.subarray(from, at));
        from = at;
      }
    }
    const held = this.#state === 'magic' || this.#state === 'skip-size' || this.#state === 'skip';
    if (!held && at > from) pieces.push(chunk.subarray(from, at));
    return pieces;
  }

  /** Throws where the stream stops inside a frame, or holds none. */
  end(): void {
    if (this.#state !== 'magic' || this.#left !== 4)
      throw malformed(`the stream ends inside a frame, at byte ${this.#offset}`);
    if (this.#frames === 0) throw malformed('there is no frame in it');
  }

  #spellsNumber(): boolean {
    return this.#state !== 'header' && this.#state !== 'block' && this.#state !== 'checksum' && this.#state !== 'skip';
  }

  #enter(state: State, bytes: number): void {
    this.#state = state;
    this.#left = bytes;
    this.#value = 0;
    this.#read = 0;
  }

  /** Moves on from a state whose bytes have all come; true when that ended a frame. */
  #advance(): boolean {
    const value = this.#value;
    switch (this.#state) {
      case 'magic':
        if (value === MAGIC) this.#enter('descriptor', 1);
        else if ((value & SKIPPABLE_MASK) >>> 0 === SKIPPABLE) this.#enter('skip-size', 4);
        else throw malformed(`no frame begins at byte ${this.#offset - 4}`);
        return false;
      case 'descriptor': {
        // Section 3.1.1.1.1: how long the rest of the header is.
        const singleSegment = (value & 0x20) !== 0;
        const contentSize = [singleSegment ? 1 : 0, 2, 4, 8][value >> 6] ?? 0;
        const dictionaryId = [0, 1, 2, 4][value & 3] ?? 0;
        this.#hasChecksum = (value & 4) !== 0;
        const rest = (singleSegment ? 0 : 1) + dictionaryId + contentSize;
        if (rest === 0) this.#enter('block-header', 3);
        else this.#enter('header', rest);
        return false;
      }
      case 'header':
        this.#enter('block-header', 3);
        return false;
      case 'block-header': {
        // Section 3.1.1.2: an RLE block is one byte long, whatever its size says.
        this.#lastBlock = (value & 1) === 1;
        const sized = BLOCK_RAW_OR_COMPRESSED[(value >> 1) & 3];
        if (sized === undefined) throw malformed(`a block of the reserved type before byte ${this.#offset}`);
        const size = sized ? value >> 3 : 1;
        if (size > 0) {
          this.#enter('block', size);
          return false;
        }
        return this.#afterBlock();
      }
      case 'block':
        return this.#afterBlock();
      case 'checksum':
        return this.#frameEnded();
      case 'skip-size':
        this.#frames += 1;
        if (value === 0) this.#enter('magic', 4);
        else this.#enter('skip', value);
        return false;
      case 'skip':
        this.#enter('magic', 4);
        return false;
    }
  }

  #afterBlock(): boolean {
    if (!this.#lastBlock) this.#enter('block-header', 3);
    else if (this.#hasChecksum) this.#enter('checksum', 4);
    else return this.#frameEnded();
    return false;
  }

  #frameEnded(): boolean {
    this.#frames += 1;
    this.#enter('magic', 4);
    return true;
  }
}

function magicBytes(): Uint8Array {
  return Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);
}

function malformed(detail: string): Failure {
  return new Failure({ operation: 'read zstd', side: 'input', code: 'not-as-declared', detail });
}
