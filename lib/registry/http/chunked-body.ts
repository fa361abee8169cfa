const LINE_END = Buffer.from('\r\n');

/** A longer line is passed to the parser unchanged. */
const MAX_LINE_BYTES = 4096;

/** The size of a chunk, white space, and extensions, which a recipient ignores (RFC 9112, section 7.1.1). */
const SIZE_LINE = /^([\da-f]{1,12})[ \t]*(?:;|$)/i;

/**
 * Normalises the lines before the chunks of a body, and drops its trailer. The parser still checks the framing, because it
 * gets all other bytes, and those of a line that is not understood, unchanged.
 */
export class ChunkedBody {
  /** The received part of a line. */
  #line: Buffer = Buffer.alloc(0);
  /** The bytes of the current chunk and its line end that have not arrived. */
  #left = 0;
  #isComplete = false;

  /** The bytes for the parser, in as few pieces as possible, because each costs time. */
  *normalise(bytes: Buffer): Generator<Buffer> {
    if (this.#isComplete) return;
    const all: Buffer = this.#line.length === 0 ? bytes : Buffer.concat([this.#line, bytes]);
    this.#line = Buffer.alloc(0);
    let [from, at] = [0, 0];
    while (at < all.length && !this.#isComplete) {
      if (this.#left > 0) {
        const length = Math.min(this.#left, all.length - at);
        this.#left -= length;
        at += length;
        continue;
      }
      const end = all.indexOf(LINE_END, at);
      if (end === -1 && all.length - at < MAX_LINE_BYTES) {
        this.#line = all.subarray(at);
        break;
      }
      const line = end === -1 || end - at > MAX_LINE_BYTES ? '' : all.toString('latin1', at, end);
      const size = SIZE_LINE.exec(line)?.[1];
      this.#left = size === undefined ? Infinity : parseInt(size, 16) + LINE_END.length;
      if (size === undefined) continue;
      if (line !== size) {
        yield all.subarray(from, at);
        yield Buffer.from(`${size}\r\n`);
        from = end + LINE_END.length;
      }
      at = end + LINE_END.length;
      this.#isComplete = this.#left === LINE_END.length;
    }
    yield all.subarray(from, at);
    if (this.#isComplete) yield LINE_END;
  }
}
