import { type Digest, digestOf } from '../../../lib/oci/digest.ts';
import type { Inflater } from '../../../lib/proof/inflater.ts';
import { BriefInflater } from '../../../lib/proof/brief-inflater.ts';
import { ThreadInflater } from '../../../lib/proof/inflating-threads.ts';
import { StreamInflater } from '../../../lib/proof/stream-inflater.ts';

/** Cuts `bytes` into chunks of these sizes, repeatedly; each has a buffer of its own. */
export function chunked(bytes: Uint8Array, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? bytes.length;
    chunks.push(Buffer.from(bytes.subarray(at, at + size)));
    at += size;
  }
  return chunks;
}

/** `brief` inflates in one call, `stream` on this thread, and `thread` on one of its own. */
const KINDS = { brief: BriefInflater, stream: StreamInflater, thread: ThreadInflater } as const;

export function createInflater(
  compression: 'gzip' | 'zstd',
  { kind, maxUncompressed = Infinity }: { readonly kind: keyof typeof KINDS; readonly maxUncompressed?: number },
): Inflater {
  const limits = { maxUncompressed, ratioFrom: Infinity, windowLog: 27, size: Infinity };
  const options = { compression, digest: digestOf(Buffer.from('blob')), algorithms: ['sha256'], ...limits } as const;
  return new KINDS[kind](options);
}

/** The digest of the uncompressed bytes. Each chunk is overwritten after its write, as a reused buffer would be. */
export async function inflate(
  compression: 'gzip' | 'zstd',
  chunks: readonly Buffer[],
  options: { readonly kind: keyof typeof KINDS } = { kind: 'stream' },
): Promise<Digest | undefined> {
  const inflater = createInflater(compression, options);
  try {
    for (const chunk of chunks) {
      await inflater.write(chunk);
      chunk.fill(0xff);
    }
    return (await inflater.end()).sha256;
  } finally {
    await inflater.destroy();
  }
}
