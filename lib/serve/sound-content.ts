import type { Archive } from '../archive/archive.ts';
import { Failure } from '../core/failure.ts';
import type { Digest } from '../oci/digest.ts';

/** The content of a digest; undefined if it is missing, corrupt or too large. */
export async function soundContent(
  archive: Archive,
  digest: Digest,
  options: { readonly maxBytes: number; readonly signal: AbortSignal | undefined },
): Promise<Uint8Array | undefined> {
  try {
    return await archive.content(digest, options);
  } catch (error) {
    if (error instanceof Failure && (error.code === 'corrupt' || error.code === 'too-large')) return undefined;
    throw error;
  }
}
