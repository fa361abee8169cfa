import { Lru } from '../core/lru.ts';
import type { Digest } from '../oci/digest.ts';
import type { ClosureReader } from './closure.ts';
import { proofKey, type Proven } from './receipts.ts';

/** Bytes of manifests and configs that are kept; images of one repository share most of theirs. */
const CONTENT_BYTES = 4 * 1024 * 1024;
const PROOFS = 5_000;

/**
 * Keeps what was found: content and proofs never change once they exist. Missing content is looked up again. A
 * finalizer that gets one message per layer reads every manifest once instead of once per layer.
 */
export function cachedReader(reader: ClosureReader): ClosureReader {
  const contents = new Lru<Digest, Uint8Array>(CONTENT_BYTES, (bytes) => bytes.length);
  const proofs = new Lru<string, Proven>(PROOFS);
  const present = new Lru<Digest, true>(PROOFS);
  return {
    async has(digest) {
      if (present.get(digest) === true) return true;
      const found = await reader.has(digest);
      if (found) present.set(digest, true);
      return found;
    },
    async content(digest, maxBytes) {
      const known = contents.get(digest);
      if (known !== undefined && known.length <= maxBytes) return known;
      const found = await reader.content(digest, maxBytes);
      if (found !== undefined) contents.set(digest, found);
      return found;
    },
    async proof(blob) {
      const key = proofKey(blob);
      const known = proofs.get(key);
      if (known !== undefined) return known;
      const found = await reader.proof(blob);
      if (found !== undefined) proofs.set(key, found);
      return found;
    },
  };
}
