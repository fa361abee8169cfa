import type { Archive } from '../archive/archive.ts';
import type { WritesSince } from '../archive/own-writes.ts';
import type { Receipt } from '../archive/receipt.ts';
import type { Digest } from '../oci/digest.ts';
import type { VersionedReader } from './cached-reader.ts';
import { provenBy } from './receipts.ts';

/**
 * The reader of the finalizer, which accepts receipts as proof. It reads nothing back that this process has written
 * since the reader began with a version of the tag index.
 */
export function receiptReader(archive: Archive, signal: AbortSignal): VersionedReader {
  let own: WritesSince | undefined;
  const revoked = new Map<Digest, number>();
  const readReceipt = async (digest: Digest): Promise<Receipt | undefined> => {
    const found = await archive.findReceipt(digest, { signal });
    if (found?.revoked !== undefined) revoked.set(digest, found.revoked);
    return found?.receipt;
  };
  return {
    begin() {
      own = archive.ownWrites().sinceNow();
    },
    has: async (digest) => own?.hasReceipt(digest) === true || (await readReceipt(digest)) !== undefined,
    async content(digest, maxBytes) {
      const written = own?.takeContent(digest);
      return written !== undefined && written.length <= maxBytes
        ? written
        : archive.content(digest, { maxBytes, signal });
    },
    async proof(blob) {
      const written = own?.takeReceipt(blob.digest);
      const proven = written === undefined ? undefined : provenBy(written, blob);
      if (proven !== undefined) return proven;
      // Another process may have proven more of the blob.
      const receipt = await readReceipt(blob.digest);
      return receipt === undefined ? undefined : provenBy(receipt, blob);
    },
    revoked: (digest) => revoked.get(digest),
  };
}
