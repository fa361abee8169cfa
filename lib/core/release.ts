/**
 * Frees the memory of bytes that nobody reads any more, at once, instead of leaving it to the garbage collector. What goes
 * by in chunks would make it run for nothing but these chunks: a fifth of the processor time of a layer.
 *
 * Only where `bytes` is all there is in its buffer: zlib fills what is left of one with its next chunk. And never where it
 * is empty: such views are of buffers that others still have (undici's, of what it has read to the end).
 */
export function release(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (bytes.byteLength === 0 || bytes.byteLength !== buffer.byteLength) return;
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
