import { createInflater } from '../../../lib/proof/inflate.ts';

/** `bytes` cut into chunks of these sizes, over and over; each in a buffer of its own. */
export function chunked(bytes: Uint8Array, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? bytes.length;
    chunks.push(Buffer.from(bytes.subarray(at, at + size)));
    at += size;
  }
  return chunks;
}

/** What the chunks unpack to. Each is overwritten once it has been written, as a buffer that is reused would be. */
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
