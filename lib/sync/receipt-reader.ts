import type { Archive } from '../archive/archive.ts';
import type { Receipt } from '../archive/receipt.ts';
import type { Digest } from '../oci/digest.ts';
import type { ClosureReader } from './closure.ts';
import { provenBy } from './receipts.ts';

/** The reader of the finalizer, which accepts receipts as proof. */
export function receiptReader(archive: Archive, signal: AbortSignal): ClosureReader {
  const revoked = new Map<Digest, number>();
  const receiptOf = async (digest: Digest): Promise<Receipt | undefined> => {
    const found = await archive.findReceipt(digest, { signal });
    if (found?.revoked !== undefined) revoked.set(digest, found.revoked);
    return found?.receipt;
  };
  return {
    has: async (digest) => (await receiptOf(digest)) !== undefined,
    content: (digest, maxBytes) => archive.content(digest, { maxBytes, signal }),
    async proof(blob) {
      const receipt = await receiptOf(blob.digest);
      return receipt === undefined ? undefined : provenBy(receipt, blob);
    },
    revoked: (digest) => revoked.get(digest),
  };
}
