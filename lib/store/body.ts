/**
 * A body that can be released before its first chunk: returning a generator that has not begun runs no `finally` of it.
 *
 * @param chunks releases what it holds itself, once it has begun
 * @param release releases it otherwise
 */
export function bodyOf(chunks: AsyncGenerator<Uint8Array, void, void>, release: () => void): AsyncIterable<Uint8Array> {
  let isHeld = true;
  return {
    [Symbol.asyncIterator]: () => ({
      next() {
        isHeld = false;
        return chunks.next();
      },
      return() {
        if (isHeld) release();
        isHeld = false;
        return chunks.return();
      },
    }),
  };
}
