/** Pieces whose sum is at most this are joined. Servers that send much at a time send larger ones, which are not copied. */
const BLOCK_BYTES = 16 * 1024;

/**
 * Received bytes. A piece takes at least 100 bytes of memory, and a server can send each byte as a piece of its own, so
 * small pieces are joined.
 */
export class Pieces {
  #pieces: Buffer[] = [];
  /** The memory behind the last piece, if that has been joined from others. */
  #block: Buffer | undefined;

  push(piece: Buffer): void {
    const last = this.#pieces.at(-1);
    if (last === undefined || last.length + piece.length > BLOCK_BYTES) {
      this.#pieces.push(piece);
      this.#block = undefined;
      return;
    }
    if (this.#block === undefined) {
      this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
      last.copy(this.#block);
    }
    piece.copy(this.#block, last.length);
    this.#pieces[this.#pieces.length - 1] = this.#block.subarray(0, last.length + piece.length);
  }

  /** Removes the first piece, which does not change any more. */
  shift(): Buffer | undefined {
    return this.#pieces.shift();
  }

  clear(): void {
    this.#pieces = [];
  }

  joined(): Buffer {
    return Buffer.concat(this.#pieces);
  }
}
