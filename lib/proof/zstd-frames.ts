/**
 * Finds the ends of zstd frames (RFC 8878, section 3.1), without decompressing them. Node's decompressor drops bytes
 * that follow a frame in the same write, and before 24.20 it reports no error for an incomplete frame. So each write
 * ends with a frame at the latest, and the end of a stream is checked here.
 */

const MAGIC = 0xfd2fb528;
/** Skippable frames have 16 magic numbers, which differ in the lowest four bits. */
const SKIPPABLE_MAGIC = 0x184d2a50;

type State = 'magic' | 'skippable-size' | 'descriptor' | 'block-header';

/** Bytes to collect in each state. */
const BYTES: Readonly<Record<State, number>> = { magic: 4, 'skippable-size': 4, descriptor: 1, 'block-header': 3 };

export class ZstdFrames {
  #state: State = 'magic';
  /** The bytes of the current state so far, as a little-endian number, and their count. */
  #value = 0;
  #count = 0;
  /** Bytes before the next state begins. */
  #skip = 0;
  #hasChecksum = false;
  /** The frame ends after the bytes to skip. */
  #isLast = false;
  #isInFrame = false;

  /** Whether the bytes so far end where a frame ends. */
  get isComplete(): boolean {
    return !this.#isInFrame;
  }

  /**
   * Returns the end of the first frame that ends in `bytes`, or the length of `bytes` where none does. The next call must
   * continue at that position. Bytes that are not a frame count as one that does not end: the decompressor reports them.
   */
  next(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length) {
      this.#isInFrame = true;
      const skipped = Math.min(this.#skip, bytes.length - at);
      this.#skip -= skipped;
      at += skipped;
      if (this.#skip === 0 && this.#isLast) return this.#end(at);
      if (at === bytes.length) break;
      this.#value += (bytes[at] ?? 0) * 256 ** this.#count;
      this.#count += 1;
      at += 1;
      if (this.#count < BYTES[this.#state]) continue;
      this.#enter(this.#value);
      this.#value = 0;
      this.#count = 0;
      if (this.#skip === 0 && this.#isLast) return this.#end(at);
    }
    return at;
  }

  #end(at: number): number {
    this.#isLast = false;
    this.#isInFrame = false;
    this.#state = 'magic';
    return at;
  }

  /** Reads the collected bytes of the current state, and sets the next one. */
  #enter(value: number): void {
    switch (this.#state) {
      case 'magic':
        if (value === MAGIC) this.#state = 'descriptor';
        else if (value - (value % 16) === SKIPPABLE_MAGIC) this.#state = 'skippable-size';
        else this.#skip = Infinity;
        return;
      case 'skippable-size':
        this.#skip = value;
        this.#isLast = true;
        return;
      case 'descriptor':
        this.#skip = headerBytes(value);
        this.#hasChecksum = (value & 4) !== 0;
        this.#state = 'block-header';
        return;
      case 'block-header': {
        // A run-length block stores one byte, whatever its size (section 3.1.1.2.2).
        const isRun = ((value >> 1) & 3) === 1;
        this.#isLast = (value & 1) !== 0;
        this.#skip = (isRun ? 1 : value >> 3) + (this.#isLast && this.#hasChecksum ? 4 : 0);
      }
    }
  }
}

/** The bytes of a frame's header after its descriptor: window, dictionary ID and content size (section 3.1.1.1). */
function headerBytes(descriptor: number): number {
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const sizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  return (isSingleSegment ? 0 : 1) + dictionaryBytes + sizeBytes;
}
