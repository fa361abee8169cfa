/**
 * Frees the memory of bytes at once, when no reader needs them any more. The garbage collector would run for streamed
 * chunks alone, which costs a fifth of the processor time of a layer.
 *
 * Does nothing unless `bytes` spans its whole buffer, since zlib fills the rest of a buffer with its next chunk. Does
 * nothing with empty bytes either, since such views belong to buffers that others still use (undici's, for a body that
 * it has read to the end).
 */
export function release(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (bytes.byteLength === 0 || bytes.byteLength !== buffer.byteLength) return;
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
