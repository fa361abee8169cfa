import { createInflater } from '../../../lib/proof/inflate.ts';

/** `bytes` in chunks of these sizes, which repeat, each in its own buffer. */
export function chunked(bytes: Uint8Array, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? bytes.length;
    chunks.push(Buffer.from(bytes.subarray(at, at + size)));
    at += size;
  }
  return chunks;
}

/** The unpacked chunks. Each chunk is overwritten once it has been written, as in a reused buffer. */
export async function inflate(
  compression: 'gzip' | 'zstd',
  chunks: readonly Buffer[],
  options = { large: false },
): Promise<Buffer> {
  const out: Buffer[] = [];
  const inflater = createInflater(compression, (chunk) => out.push(Buffer.from(chunk)), options);
  try {
    for (const chunk of chunks) {
      await inflater.write(chunk);
      chunk.fill(0xff);
    }
    await inflater.end();
    return Buffer.concat(out);
  } finally {
    await inflater.destroy();
  }
}
