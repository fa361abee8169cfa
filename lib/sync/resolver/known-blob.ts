import type { Archive } from '../../archive/archive.ts';
import { knownContent } from '../../oci/known-content.ts';
import { type StoreOptions, storeBytes } from '../store-bytes.ts';
import type { NeededBlob } from './walk.ts';

/** Proves and stores a blob whose content is known without a request. Resolves to whether it is known. */
export async function storeKnown(archive: Archive, blob: NeededBlob, options: StoreOptions): Promise<boolean> {
  const bytes = knownContent(blob);
  return bytes !== undefined && storeBytes(archive, blob, bytes, options);
}
