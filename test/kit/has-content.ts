import type { Archive } from '../../lib/archive/archive.ts';
import type { Digest } from '../../lib/oci/digest.ts';

/** Whether an archive has content under a digest; its bytes are not read. */
export async function hasContent({ store, layout }: Archive, digest: Digest): Promise<boolean> {
  return (await store.head(layout.blob(digest))) !== undefined;
}
