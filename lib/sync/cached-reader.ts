import { Lru } from '../core/lru.ts';
import type { Digest } from '../oci/digest.ts';
import type { ClosureReader } from './closure.ts';
import { proofKey, type Proven } from './receipts.ts';

/** Bytes of manifests and configs that are kept; images of one repository share most of theirs. */
const CONTENT_BYTES = 4 * 1024 * 1024;
const PROOFS = 5_000;

/**
 * Keeps the content that it found for one version of the tag index, until that version changes. Missing content is
 * looked up again. A finalizer that gets one message per layer reads every manifest once instead of once per layer.
 */
export interface CachedReader extends ClosureReader {
  /**
   * Forgets everything that was read for another version of the tag index. A repair removes content and proofs, and
   * changes the versions.
   */
  readonly begin: (version: string | undefined) => void;
  /** The caller has written this version of the tag index itself. */
  readonly written: (version: string) => void;
}

export interface VersionedReader extends ClosureReader {
  /** Called before the first read for another version of the tag index. */
  readonly begin?: () => void;
}

/** The state before the first version; a repository without a tag index has the version `undefined`. */
const NONE = Symbol('no version yet');

export function cachedReader(reader: VersionedReader): CachedReader {
  let found = caches();
  let current: string | undefined | typeof NONE = NONE;
  return {
    begin(version) {
      if (version === current) return;
      current = version;
      found = caches();
      reader.begin?.();
    },
    written(version) {
      current = version;
    },
    async has(digest) {
      const { present } = found;
      if (present.get(digest) === true) return true;
      const isThere = await reader.has(digest);
      if (isThere) present.set(digest, true);
      return isThere;
    },
    async content(digest, maxBytes) {
      const { contents } = found;
      const known = contents.get(digest);
      if (known !== undefined && known.length <= maxBytes) return known;
      const bytes = await reader.content(digest, maxBytes);
      if (bytes !== undefined) contents.set(digest, bytes);
      return bytes;
    },
    async proof(blob) {
      const { proofs } = found;
      const key = proofKey(blob);
      const known = proofs.get(key);
      if (known !== undefined) return known;
      const proof = await reader.proof(blob);
      if (proof !== undefined) proofs.set(key, proof);
      return proof;
    },
    revoked: (digest) => reader.revoked?.(digest),
  };
}

function caches() {
  return {
    contents: new Lru<Digest, Uint8Array>(CONTENT_BYTES, (bytes) => bytes.length),
    proofs: new Lru<string, Proven>(PROOFS),
    present: new Lru<Digest, true>(PROOFS),
  };
}
